"""Private keys without the usual armour: DER, bare Base64 of it, PuTTY's files, JSON web keys. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from auto_dev.gates.credentials.values import entropy, is_fake

_ARMOUR: Final = b"PRIVATE KEY-----"
_BASE64: Final = re.compile(rb"(?<![A-Za-z0-9+/=])M[A-Za-z0-9+/]{59,20000}={0,2}")
_PUTTY: Final = re.compile(rb"Private-Lines:[ \t]*\d{1,3}\r?\n(?P<value>(?:[A-Za-z0-9+/=]{1,80}\r?\n){1,100})")
_JWK: Final = re.compile(rb'"d"\s{0,20}:\s{0,20}"(?P<value>[\w-]{42,1400})"')
_BIGGEST: Final = 16 * 1024  # bytes of a key

Keys = Iterator[tuple[str, str, int]]  # kind, value, line


def private_keys(data: bytes, path: str) -> Keys:
    """The keys in ``data``. The value of a binary one is its path and checksum: it has no text."""
    if len(data) <= _BIGGEST and _is_key(data) and _length(data) == len(data):
        yield "a private key (DER)", f"{path}:{hashlib.sha256(data).hexdigest()}", 1
        return
    if b"Private-Lines:" in data:
        yield from (_found("a private key (PuTTY)", match, data) for match in _PUTTY.finditer(data))
    if b'"kty"' in data and b'"d"' in data:
        found = (_found("a private key (JSON web key)", match, data) for match in _JWK.finditer(data))
        yield from (key for key in found if not is_fake(key[1]))
    if _ARMOUR not in data:  # with it the armour is what is found
        for match in _BASE64.finditer(data):
            if _is_key(_decoded(match[0][:64])) and entropy(match[0].decode()) > 4.0:
                yield "a private key (Base64)", match[0].decode(), data.count(b"\n", 0, match.start()) + 1


def _found(kind: str, match: re.Match[bytes], data: bytes) -> tuple[str, str, int]:
    value = match["value"].decode().strip().replace("\r", "")
    return kind, value, data.count(b"\n", 0, match.start("value")) + 1


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def _is_key(data: bytes) -> bool:
    """Whether DER begins as PKCS #8, PKCS #1 or SEC 1 have it: a sequence with the version 0 or 1, then what fits it.

    A public key and a certificate begin with two sequences, a key store with the version 3.
    """
    if len(data) < 40 or data[0] != 0x30:
        return False
    at = 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
    return (
        at < 7
        and data[at : at + 2] == b"\x02\x01"
        and data[at + 2 : at + 4] in (b"\0\x30", b"\0\x02", b"\1\x04", b"\1\x30")
    )


def _length(data: bytes) -> int:
    """How many bytes the sequence at the beginning of ``data`` takes, with its head."""
    if not data[1] & 0x80:
        return 2 + data[1]
    size = data[1] & 0x7F
    return 2 + size + int.from_bytes(data[2 : 2 + size], "big")
