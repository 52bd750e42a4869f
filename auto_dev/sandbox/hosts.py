"""Which hosts a box may reach: names in one spelling, rules over them, addresses that no name may lead to."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import idna

from auto_dev.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where packages come from. Hosts that take uploads too are a way out for data: docs/sandbox.md says so.
PRESETS: Final = {
    "pypi": ("pypi.org", "files.pythonhosted.org"),
    "npm": ("registry.npmjs.org", "registry.yarnpkg.com"),
    "crates": ("crates.io", "index.crates.io", "static.crates.io"),
    "go": ("proxy.golang.org", "sum.golang.org"),
    "rubygems": ("rubygems.org", "index.rubygems.org"),
    "maven": ("repo.maven.apache.org", "repo1.maven.org", "plugins.gradle.org", "plugins-artifacts.gradle.org"),
    "debian": ("deb.debian.org", "security.debian.org"),
    "github": (
        "github.com",
        "codeload.github.com",
        "raw.githubusercontent.com",
        "objects.githubusercontent.com",
        "release-assets.githubusercontent.com",
    ),
}
PORTS: Final = frozenset({80, 443})

_LABEL: Final = re.compile(r"^(?!-)[a-z0-9_-]{1,63}(?<!-)$")
_NUMBER: Final = re.compile(r"^(?:0x[0-9a-f]*|[0-9]+)$")
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f-\x9f%@/\\?#<>^|\"`{}\u3002\uff0e\uff61]")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.ip_network("64:ff9b:1::/48")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")


class BadHostError(ValueError):
    """This is not the name or address of a host, or not in a spelling that is safe to judge."""


def canonical(host: str) -> str:
    """The one spelling of a host: lower case, punycode, no dot at the end, addresses as ``ipaddress`` writes them.

    Addresses come without brackets. Raises BadHostError for user names, escapes, control characters, zone ids, and
    for whatever ends like a number without being an address.
    """
    if not host or len(host) > 1000 or _FORBIDDEN.search(host):
        raise BadHostError("not a host name")
    if (host.startswith("[") and host.endswith("]")) or ":" in host:
        try:
            return str(_plain(ipaddress.IPv6Address(host[1:-1] if host[0] + host[-1] == "[]" else host)))
        except ValueError:
            raise BadHostError("not an IPv6 address") from None
    name = host.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii").lower().removesuffix(".")
        except (idna.IDNAError, UnicodeError):
            raise BadHostError("not an international host name") from None
    labels = name.split(".")
    if _NUMBER.match(labels[-1]):  # 127.0.0.1, 0x7f.1, 2130706433, 0177.0.0.1: what resolvers take for an address
        try:
            return str(ipaddress.IPv4Address(socket.inet_aton(name)))
        except OSError:
            raise BadHostError("ends like a number, but is no IPv4 address") from None
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        raise BadHostError("not a host name")
    return name


def authority(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of ``host:port`` in their one spelling. Raises BadHostError; without a default a port is needed."""
    match = re.match(r"^(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?$", text)
    if match is None:
        raise BadHostError("not host:port")
    port = int(match[2]) if match[2] else default_port
    if port is None or not 0 < port < 65536:
        raise BadHostError("not a port")
    return canonical(match[1]), port


def shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed. ``exact`` and ``below`` map a host, or what it ends with, to ports.

    ``named`` holds each host:port that was allowed in just these words: only those may lead into private networks.
    """

    exact: frozenset[tuple[str, int]] = frozenset()
    below: frozenset[tuple[str, int]] = frozenset()
    named: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Rules:
        """From ``[sandbox] allow_hosts``: "pypi.org", "*.example.com", "localhost:8080", presets.

        Raises ConfigError for anything else.
        """
        exact: set[tuple[str, int]] = set()
        below: set[tuple[str, int]] = set()
        named: set[tuple[str, int]] = set()
        for entry in entries:
            if entry in PRESETS:
                exact.update((host, 443) for host in PRESETS[entry])
                exact.update((host, 80) for host in PRESETS[entry] if entry == "debian")
                continue
            rest = entry.removeprefix("*.")
            given = re.search(r"^(?:\[.*\]|[^:]*):[0-9]+$", rest) is not None
            try:
                host, port = authority(rest) if given else (canonical(rest), 0)
            except BadHostError as error:
                raise _wrong(entry, str(error)) from None
            ports = {port} if given else PORTS
            if rest != entry and ("." not in host or _is_address(host)):
                raise _wrong(entry, "a '*.' needs a name with a dot behind it")
            (exact if rest == entry else below).update((host, each) for each in ports)
            if given and rest == entry:
                named.add((host, port))
        return cls(frozenset(exact), frozenset(below), frozenset(named))

    def allow(self, host: str, port: int) -> bool:
        """Whether this host, in its one spelling, may be asked for at this port."""
        if (host, port) in self.exact:
            return True
        if _is_address(host):
            return False
        labels = host.split(".")
        return any((".".join(labels[start:]), port) in self.below for start in range(1, len(labels)))

    def allow_address(self, host: str, port: int, address: str) -> bool:
        """Whether the connection for this host may go to this address, which it resolved to."""
        return (host, port) in self.named or is_public(address)


def entries_for(refused: Iterable[str], rules: Rules) -> list[str]:
    """What would let these ``host:port`` through, as entries of ``allow_hosts``: presets where one names the host.

    A host that the rules allow already leads into a private network: that takes its name with its port. Addresses and
    this machine's own names are left out: who works in the box chooses what it asks for, and is not to suggest them.
    """
    entries: dict[str, None] = {}
    for name in refused:
        host, port = authority(name)
        if not rules.allow(host, port) and (_is_address(host) or "." not in host or host.endswith(".localhost")):
            continue
        preset = next((preset for preset, hosts in PRESETS.items() if host in hosts and port == 443), name)
        entries[name if rules.allow(host, port) else preset] = None
    return list(entries)


def is_public(address: str) -> bool:
    """Whether an address lies in the public internet, whatever it is wrapped in."""
    try:
        plain = _plain(ipaddress.ip_address(address))
    except ValueError:
        return False
    inner: list[Address] = [plain]
    if isinstance(plain, ipaddress.IPv6Address):
        if plain.sixtofour is not None:
            inner.append(plain.sixtofour)
        if plain.teredo is not None:
            inner.extend(plain.teredo)
        if plain in _NAT64 or plain in _COMPATIBLE:
            inner.append(ipaddress.IPv4Address(int(plain) & 0xFFFFFFFF))
        if plain in _NAT64_LOCAL:
            return False
    return all((each.is_global and not each.is_multicast and not each.is_reserved) or _nat64(each) for each in inner)


def _nat64(address: Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address in _NAT64  # judged by what is inside


def _plain(address: Address) -> Address:
    """IPv4 in IPv6 clothes is IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ValueError("a zone id")
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
    return address


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _wrong(entry: str, why: str) -> ConfigError:
    return ConfigError(
        f"{entry!r} is not a host: {why}",
        where="sandbox.allow_hosts",
        mend=f'Use "pypi.org", "*.example.com", "localhost:8080", or a preset: {", ".join(PRESETS)}.',
    )
