"""Made-up credentials in the forms of real ones, made when the corpus is built: no scanner finds them in this file."""

from __future__ import annotations

import base64
import hashlib
import json
import string
import zlib
from collections.abc import Callable, Mapping
from typing import Final

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase


def _bytes(seed: str, length: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(length)


def hexadecimal(seed: str, length: int) -> str:
    """So many digits."""
    return _bytes(seed, length).hex()[:length]


def sha512(text: str) -> str:
    """A checksum, no credential."""
    return hashlib.sha512(text.encode()).hexdigest()


def letters(seed: str, length: int, alphabet: str = _BASE62) -> str:
    """So many letters of an alphabet."""
    return "".join(alphabet[byte % len(alphabet)] for byte in _bytes(seed, length))


def _base62(number: int, length: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    return digits.rjust(length, "0")


def _checked(prefix: str, seed: str, length: int) -> str:
    """GitHub's and npm's form: the last six letters are the CRC-32 of those before, in base 62."""
    body = letters(seed, length)
    return f"{prefix}{body}{_base62(zlib.crc32(body.encode()), 6)}"


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def pem(seed: str, kind: str) -> str:
    """A private key's armour around bytes that begin like a key."""
    start = {"RSA ": b"\x30\x82\x04\xa4\x02\x01\x00\x02\x82\x01\x01\x00", "OPENSSH ": b"openssh-key-v1\x00"}.get(
        kind, b"\x30\x77\x02\x01\x01\x04\x20"
    )
    body = base64.b64encode(start + _bytes(seed, 600 if kind == "RSA " else 120)).decode()
    rows = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    name = f"{kind}PRIVATE KEY"
    return f"-----BEGIN {name}-----\n{rows}\n-----END {name}-----\n"


def jwt(seed: str) -> str:
    """A signed token of a service."""
    head = _url64(json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode())
    claims = {"sub": "svc-billing", "role": "admin", "iat": 1714550400, "exp": 2029910400}
    body = _url64(json.dumps(claims, separators=(",", ":")).encode())
    return f"{head}.{body}.{_url64(_bytes(seed, 32))}"


def service_account(seed: str) -> str:
    """A key file of a Google service account."""
    made = {
        "type": "service" + "_account",
        "project_id": "shop-prod-281533",
        "private_key_id": hexadecimal(f"{seed} id", 40),
        "private_key": pem(seed, ""),
        "client_email": "ledger@shop-prod-281533.iam.gserviceaccount.com",
        "client_id": letters(seed, 21, string.digits),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return json.dumps(made, indent=2) + "\n"


KINDS: Final[Mapping[str, Callable[[str], str]]] = {
    "aws-id": lambda seed: "AK" + "IA" + letters(seed, 16, string.ascii_uppercase + "234567"),
    "aws-secret": lambda seed: base64.b64encode(_bytes(f"{seed} secret", 30)).decode(),
    "github": lambda seed: _checked("gh" + "p_", seed, 30),
    "github-fine": lambda seed: "github" + "_pat_" + letters(seed, 22) + "_" + letters(f"{seed} b", 59),
    "gitlab": lambda seed: "glp" + "at-" + letters(seed, 20),
    "slack-bot": lambda seed: (
        "xo"
        + "xb-"
        + "-".join([letters(f"{seed} a", 12, "123456789"), letters(f"{seed} b", 13, "123456789"), letters(seed, 24)])
    ),
    "slack-hook": lambda seed: (
        "https://hooks.slack"
        + ".com/services/T"
        + letters(f"{seed} t", 8, _BASE62[:36])
        + "/B"
        + letters(f"{seed} b", 10, _BASE62[:36])
        + "/"
        + letters(seed, 24)
    ),
    "stripe": lambda seed: "sk_" + "live_" + letters(seed, 24),
    "google": lambda seed: "AI" + "za" + letters(seed, 35, _BASE62 + "-_"),
    "openai": lambda seed: (
        "sk-" + "proj-" + letters(f"{seed} a", 74, _BASE62 + "-_") + "T3" + "BlbkFJ" + letters(seed, 74, _BASE62 + "-_")
    ),
    "anthropic": lambda seed: "sk-" + "ant-api03-" + letters(seed, 93, _BASE62 + "-_") + "AA",
    "npm": lambda seed: _checked("np" + "m_", seed, 30),
    "pypi": lambda seed: "pypi-" + "AgEIcHlwaS5vcmc" + _url64(_bytes(seed, 110)),
    "sendgrid": lambda seed: (
        "S" + "G." + letters(f"{seed} a", 22, _BASE62 + "-_") + "." + letters(seed, 43, _BASE62 + "-_")
    ),
    "twilio": lambda seed: "S" + "K" + hexadecimal(seed, 32),
    "digitalocean": lambda seed: "dop" + "_v1_" + hexadecimal(seed, 64),
    "telegram": lambda seed: letters(f"{seed} n", 10, "123456789") + ":AA" + letters(seed, 33, _BASE62 + "-_"),
    "azure": lambda seed: base64.b64encode(_bytes(seed, 64)).decode(),
    "rsa": lambda seed: pem(seed, "RSA "),
    "ec": lambda seed: pem(seed, "EC "),
    "openssh": lambda seed: pem(seed, "OPENSSH "),
    "jwt": jwt,
    "service-account": service_account,
    "password": lambda seed: letters(seed, 9) + "!" + letters(f"{seed} b", 8) + "$7",
    "hex": lambda seed: hexadecimal(seed, 40),
}


def fake(kind: str, seed: str) -> str:
    """A credential of that kind; another seed gives another one."""
    return KINDS[kind](f"{kind} {seed}")
