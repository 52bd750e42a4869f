"""Host names in one spelling, rules over them, and addresses that no name may lead to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_dev.errors import ConfigError
from auto_dev.sandbox.hosts import PRESETS, BadHostError, Rules, authority, canonical, entries_for, is_public
from auto_dev.sandbox.proxy import parse, proxy_env

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("host", "one"),
    [
        ("PyPI.org", "pypi.org"),
        ("pypi.org.", "pypi.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0x7F000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::ffff:7f00:1]", "127.0.0.1"),
        ("[::FFFF:127.0.0.1]", "127.0.0.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
    ],
)
def test_a_host_has_one_spelling(host: str, one: str) -> None:
    assert canonical(host) == one
    assert canonical(one) == one


@pytest.mark.parametrize(
    "host",
    [
        "", ".", "..", "a..b", "pypi.org..", "user@pypi.org", "pypi.org%2eevil", "pypi.org\0.evil", "pypi.org\n", "a b",
        "pypi.org/x", "pypi.org\\x", "[fe80::1%eth0]", "[::1", "::1]x", "1.2.3.4.5", "999.1.1.1", "x.1", "0x", "-a.org",
        "a-.org", "a" * 64 + ".org", "a." * 130 + "org", "pypi\u3002org", "pypi\uff0eorg", "*.org", "[pypi.org]",
        "\u202epypi",
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(BadHostError):
        canonical(host)


@given(st.text(max_size=40))
def test_any_text_has_one_spelling_or_none(text: str) -> None:
    try:
        one = canonical(text)
    except BadHostError:
        return
    assert canonical(one) == one
    assert one.isascii()
    assert not set(one) & set("%@/\\ \r\n\0")


@pytest.mark.parametrize(
    "text", ["pypi.org", "pypi.org:", "pypi.org:0", "pypi.org:65536", "::1:80", "a:b", "a:80:80", "[::1]80"]
)
def test_a_target_needs_a_host_and_a_port(text: str) -> None:
    with pytest.raises(BadHostError):
        authority(text)


def test_rules_mean_what_they_say() -> None:
    rules = Rules.of(["pypi.org", "*.example.com", "localhost:8080", "[::1]:9000", "Bücher.example"])
    yes = [
        ("pypi.org", 443), ("pypi.org", 80), ("a.example.com", 443), ("a.b.example.com", 443), ("localhost", 8080),
        ("::1", 9000), ("xn--bcher-kva.example", 443),
    ]  # fmt: skip
    no = [
        ("pypi.org", 22), ("evilpypi.org", 443), ("pypi.org.evil.com", 443), ("example.com", 443),
        ("badexample.com", 443), ("localhost", 80), ("a.example.com", 8443), ("::1", 443), ("127.0.0.1", 8080),
    ]  # fmt: skip
    assert [pair for pair in yes if not rules.allow(*pair)] == []
    assert [pair for pair in no if rules.allow(*pair)] == []


def test_only_what_was_named_with_its_port_may_lead_into_a_private_network() -> None:
    rules = Rules.of(["mirror.corp:443", "pypi.org", "*.corp.test:443", "pypi"])
    assert rules.allow_address("mirror.corp", 443, "10.0.0.1")
    for host in ("pypi.org", "other.corp.test", "files.pythonhosted.org"):
        assert rules.allow(host, 443)
        assert not rules.allow_address(host, 443, "10.0.0.1")
        assert rules.allow_address(host, 443, "151.101.0.223")


def test_nothing_is_allowed_by_default() -> None:
    assert not Rules.of([]).allow("pypi.org", 443)


def test_what_was_refused_is_told_as_the_entries_that_would_allow_it() -> None:
    refused = ["pypi.org:443", "files.pythonhosted.org:443", "deb.debian.org:80", "a.example.com:443"]
    entries = entries_for(refused, Rules())
    assert entries == ["pypi", "deb.debian.org:80", "a.example.com:443"]
    assert all(Rules.of(entries).allow(*authority(name)) for name in refused)


def test_an_allowed_name_that_leads_into_a_private_network_is_told_with_its_port() -> None:
    assert entries_for(["pypi.org:443"], Rules.of(["pypi"])) == ["pypi.org:443"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_list_of_exact_public_names(name: str) -> None:
    rules = Rules.of([name])
    assert rules.below == rules.named == frozenset()
    assert {host for host, _ in rules.exact} == set(PRESETS[name]) == {canonical(host) for host in PRESETS[name]}
    assert all("." in host for host in PRESETS[name])


@pytest.mark.parametrize(
    "entry",
    ["*", "*.com", "*.", "https://pypi.org", "pypi.org/simple", "a b", "", "*.1.2.3.4", "x:99999", "a@b", "*x.org"],
)
def test_a_wrong_entry_is_named(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"sandbox\.allow_hosts"):
        Rules.of([entry])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
        "2002:7f00:1::", "2002:a00:1::1", "::7f00:1", "fe80::1%eth0", "nonsense", "192.0.2.1", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "151.101.0.223", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    for head in (data, b"CONNECT " + data + b" HTTP/1.1\r\n\r\n", b"GET http://" + data + b"/ HTTP/1.1\r\n\r\n"):
        try:
            asked = parse(head)
        except BadHostError:
            continue
        assert canonical(asked.host) == asked.host
        if asked.rewritten is not None:
            assert asked.rewritten.count(b"\r\n\r\n") == 1


def test_a_program_is_told_of_the_proxy_in_both_spellings() -> None:
    env = proxy_env(9)
    assert env["HTTPS_PROXY"] == env["https_proxy"] == "http://127.0.0.1:9"
    assert "127.0.0.1" in env["NO_PROXY"]


def test_what_an_agent_asks_for_inside_the_machine_is_never_suggested() -> None:
    refused = ["169.254.169.254:80", "localhost:5432", "x.localhost:80", "[::1]:80", "intranet:443", "pypi.org:443"]
    assert entries_for(refused, Rules()) == ["pypi"]
