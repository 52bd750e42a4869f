"""The email channel against a real SMTP server (aiosmtpd) on loopback."""

from __future__ import annotations

import asyncio
import re
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auto_dev.config import EmailConfig
from auto_dev.model import Scope
from auto_dev.notify import facts
from auto_dev.notify.channel import Item, Outgoing, SendError
from auto_dev.notify.email import EmailChannel

pytestmark = pytest.mark.integration

NOW = datetime(2026, 2, 9, 17, tzinfo=UTC)
USER, PASSWORD = "auto dev@example.com", "p@ss/w:rd"
LOGIN = "auto%20dev%40example.com:p%40ss%2Fw%3Ard"


@dataclass
class Server:
    """Takes mail and remembers it. ``refuse`` maps a recipient to what it is told; ``data_answer`` answers the mail."""

    port: int = 0
    refuse: dict[str, str] = field(default_factory=dict)
    data_answer: str = "250 OK"
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    hang_up: bool = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None)
        if self.hang_up:
            server.transport.abort()
        return self.data_answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.users.append(mechanism)
        # handled=False: the server itself answers 535, else a wrong password hangs.
        return AuthResult(success=right, handled=False)


class Connection(SMTP):
    """One client's connection, which leaves nothing behind however the client went away."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.__dict__.setdefault("sockets", []).append(transport)
        super().connection_made(transport)

    async def end(self) -> None:
        for transport in self.__dict__.get("sockets", []):
            transport.abort()
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
            await asyncio.gather(self._handler_coroutine, return_exceptions=True)


@asynccontextmanager
async def serving(
    *, tls: ssl.SSLContext | None = None, smtps: bool = False, auth: bool = False
) -> AsyncIterator[Server]:
    server = Server()
    loop = asyncio.get_running_loop()
    how: dict[str, Any] = {"hostname": "mail.test", "loop": loop, "enable_SMTPUTF8": True}
    if tls and not smtps:
        how["tls_context"] = tls
    if auth:
        how |= {"authenticator": server.authenticate, "auth_required": True, "auth_require_tls": tls is not None}

    connections: list[Connection] = []

    def connection() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # aiosmtpd warns about login without TLS, which is tested here
            connections.append(Connection(server, **how))
        return connections[-1]

    listening = await loop.create_server(connection, "127.0.0.1", 0, ssl=tls if smtps else None)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
        await asyncio.gather(*(made.end() for made in connections))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away certificate for 127.0.0.1 with its key, which nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "mail.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def channel(url: str, to: list[str] | None = None, **how: Any) -> EmailChannel:
    config = EmailConfig.model_validate({"from": "Äuto dev <auto-dev@example.com>", "to": to or ["me@example.com"]})
    return EmailChannel(config, url, **how)


def outgoing(fact: facts.Fact | None = None, **more: Any) -> Outgoing:
    fact = fact or facts.run_failed(
        run_id="r1", story_id="WINT-1", story_title="Größe ✓", reason="3 tests fail <b>now</b>"
    )
    return Outgoing("todo", fact.key, (Item(fact.kind, fact.payload),), NOW, **more)


async def failure(made: EmailChannel, message: Outgoing | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        await made.send(message or outgoing())
    return caught.value


async def test_a_mail_arrives_with_both_parts_and_its_headers() -> None:
    async with serving() as server:
        receipt = await channel(f"smtp://127.0.0.1:{server.port}", ["me@example.com", "Du <du@example.com>"]).send(
            outgoing()
        )
    (mail,) = server.mails
    assert server.recipients == [["me@example.com", "du@example.com"]]
    assert mail["Subject"] == "[auto-dev todo] Story failed: WINT-1 - Größe ✓"
    assert mail["From"] == "Äuto dev <auto-dev@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Id"] == "<todo.auto-dev.invalid>"
    assert mail["Date"].datetime == NOW
    assert mail["Message-ID"] == receipt.data["message_id"]
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "3 tests fail <b>now</b>" in text.get_content()
    assert "3 tests fail &lt;b&gt;now&lt;/b&gt;" in html.get_content()
    assert receipt.problem == ""
    assert receipt.data["accepted"] == ["me@example.com", "du@example.com"]


async def test_a_repeat_is_the_same_mail_byte_for_byte() -> None:
    async with serving() as server:
        made = channel(f"smtp://127.0.0.1:{server.port}")
        await made.send(outgoing())
        await made.send(outgoing(unconfirmed=True))
        await made.send(outgoing(facts.project_paused(reason="x", since="1")))
    first, again, other = (
        re.sub(r"X-Peer:.*\n|X-MailFrom:.*\n|X-RcptTo:.*\n", "", mail.as_string()) for mail in server.mails
    )
    assert first == again
    assert server.mails[2]["Message-ID"] != server.mails[0]["Message-ID"]
    assert other != first


async def test_mails_of_one_story_make_one_thread() -> None:
    async with serving() as server:
        made = channel(f"smtp://127.0.0.1:{server.port}")
        first = await made.send(outgoing())
        second = await made.send(outgoing(facts.project_paused(reason="x", since="1"), thread=first.data))
    assert server.mails[1]["References"] == server.mails[0]["Message-ID"]
    assert second.data["thread"] == first.data["thread"]


async def test_hostile_text_makes_no_headers_and_no_recipients() -> None:
    text = "x\r\nBcc: victim@example.com\r\n\r\n<script>1</script>\u202e" + "y" * 10_000
    async with serving() as server:
        await channel(f"smtp://127.0.0.1:{server.port}").send(
            outgoing(facts.run_failed(run_id=text, story_id=text, story_title=text, reason=text))
        )
    (mail,) = server.mails
    assert mail["Bcc"] is None
    assert server.recipients == [["me@example.com"]]
    assert len(mail.defects) == 0
    html = mail.get_body(("html",))
    assert html is not None
    assert "<script" not in html.get_content()


async def test_a_mail_without_8_bit_support_arrives_whole() -> None:
    async with serving() as server:
        await channel(f"smtp://127.0.0.1:{server.port}").send(
            outgoing(facts.project_paused(reason="größer als 3 € ✓\n.\n..\nnach dem Punkt", since="1"))
        )
    body = server.mails[0].get_body(("plain",))
    assert body is not None
    assert "größer als 3 € ✓\n.\n..\nnach dem Punkt" in body.get_content().replace("\r\n", "\n")


async def test_credentials_are_sent_over_starttls(server_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with serving(tls=server_tls, auth=True) as server:
        made = channel(f"smtp+starttls://{LOGIN}@127.0.0.1:{server.port}", tls_context=trusting)
        assert await made.check() == f"me@example.com by 127.0.0.1:{server.port}"
        await made.send(outgoing())
    assert server.encrypted == [True]


async def test_smtps_is_encrypted_from_the_first_byte(server_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with serving(tls=server_tls, smtps=True) as server:
        await channel(f"smtps://127.0.0.1:{server.port}", tls_context=trusting).send(outgoing())
    assert len(server.mails) == 1


async def test_starttls_is_used_when_this_machine_offers_it(server_tls: ssl.SSLContext) -> None:
    async with serving(tls=server_tls) as server:
        await channel(f"smtp://127.0.0.1:{server.port}").send(outgoing())
    assert server.encrypted == [True]


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
async def test_a_certificate_that_nobody_trusts_is_refused(scheme: str, server_tls: ssl.SSLContext) -> None:
    async with serving(tls=server_tls, smtps=scheme == "smtps") as server:
        error = await failure(channel(f"{scheme}://{LOGIN}@127.0.0.1:{server.port}"))
    assert error.permanent
    assert error.whole_channel
    assert "no trusted encrypted connection" in str(error)
    assert "p@ss" not in str(error)
    assert server.users == []


async def test_without_starttls_no_password_is_sent() -> None:
    async with serving(auth=True) as server:
        error = await failure(channel(f"smtp+starttls://{LOGIN}@127.0.0.1:{server.port}"))
    assert error.permanent
    assert "STARTTLS" in str(error)
    assert server.users == []


async def test_a_wrong_password_is_a_persons_to_mend() -> None:
    async with serving(auth=True) as server:
        error = await failure(channel(f"smtp://{LOGIN}wrong@127.0.0.1:{server.port}"))
    assert error.permanent
    assert error.whole_channel
    assert "AUTO_DEV_SMTP_URL" in str(error)
    assert "wrong" not in str(error)
    assert server.mails == []


async def test_a_right_password_is_taken_on_this_machine() -> None:
    async with serving(auth=True) as server:
        await channel(f"smtp://{LOGIN}@127.0.0.1:{server.port}").send(outgoing())
    assert len(server.mails) == 1


async def test_a_server_that_is_gone_is_tried_again() -> None:
    async with serving() as server:
        port = server.port
    error = await failure(channel(f"smtp://127.0.0.1:{port}"))
    assert not error.permanent
    assert not error.unconfirmed
    assert error.whole_channel


@pytest.mark.parametrize(("answer", "permanent"), [("552 too large", True), ("451 try later", False)])
async def test_a_refused_mail_is_permanent_only_for_5xx(answer: str, permanent: bool) -> None:
    async with serving() as server:
        server.data_answer = answer
        error = await failure(channel(f"smtp://127.0.0.1:{server.port}"))
    assert error.permanent is permanent
    assert answer in str(error)
    assert not error.whole_channel


@pytest.mark.parametrize(("answer", "permanent"), [("550 no such user", True), ("450 greylisted", False)])
async def test_refused_recipients_are_named(answer: str, permanent: bool) -> None:
    async with serving() as server:
        server.refuse = {"me@example.com": answer}
        error = await failure(channel(f"smtp://127.0.0.1:{server.port}"))
    assert error.permanent is permanent
    assert f"me@example.com is refused: {answer}" in str(error)


async def test_who_refused_for_now_gets_the_mail_later_and_nobody_twice() -> None:
    everybody = ["a@example.com", "b@example.com", "c@example.com"]
    async with serving() as server:
        made = channel(f"smtp://127.0.0.1:{server.port}", everybody)
        server.refuse = {"b@example.com": "450 greylisted", "c@example.com": "550 unknown"}
        error = await failure(made)
        assert not error.permanent
        server.refuse = {"c@example.com": "550 unknown"}
        receipt = await made.send(outgoing(earlier=error.reached))
    assert server.recipients == [["a@example.com"], ["b@example.com"]]
    assert receipt.problem == "c@example.com is refused: 550 unknown"
    assert receipt.data["accepted"] == ["a@example.com", "b@example.com"]


async def test_a_connection_lost_after_the_mail_is_unconfirmed() -> None:
    async with serving() as server:
        server.hang_up = True
        error = await failure(channel(f"smtp://127.0.0.1:{server.port}"))
    assert error.unconfirmed
    assert not error.permanent
    assert len(server.mails) == 1


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auto_dev.notify.email.TIMEOUT_S", 0.2)

    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with listening:
        error = await failure(channel(f"smtp://127.0.0.1:{listening.sockets[0].getsockname()[1]}"))
        await asyncio.wait_for(gone.wait(), 10)
    assert not error.permanent
    assert error.whole_channel


async def test_a_payload_that_is_no_message_is_an_error_of_that_message_alone() -> None:
    async with serving() as server:
        made = channel(f"smtp://127.0.0.1:{server.port}")
        bad: list[Callable[[], facts.Fact]] = [
            lambda: facts.Fact("k", "alert", {"nonsense": 1}),
            lambda: facts.Fact("k", "summary", {"day": "never"}),
        ]
        for make in bad:
            error = await failure(made, outgoing(make()))
            assert error.permanent
            assert not error.whole_channel
    assert server.mails == []


async def test_several_facts_of_one_cause_are_one_mail() -> None:
    items = tuple(
        Item(fact.kind, fact.payload)
        for fact in (
            facts.budget_reached(scope=Scope.DAY, window="2026-02-09", spent_microusd=5, cap_microusd=5),
            facts.run_paused(run_id="r", story_id="S-1", story_title="T", reason="no money", cause="budget", since="1"),
        )
    )
    async with serving() as server:
        await channel(f"smtp://127.0.0.1:{server.port}").send(Outgoing("todo", "k", items, NOW))
    assert server.mails[0]["Subject"] == "[auto-dev todo] The daily budget is reached, and 1 more"
