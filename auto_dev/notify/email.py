"""The email channel: the daily summary and whatever is urgent, over SMTP.

A repeat of a message has the same Message-ID, date and boundary, so that mail systems and people can tell it from a
new one. Credentials never travel unencrypted, except to this machine itself.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from auto_dev.config import EmailConfig
from auto_dev.errors import NotifyError
from auto_dev.notify.channel import Outgoing, Receipt, SendError, is_loopback
from auto_dev.notify.message import merge, parse
from auto_dev.notify.render import Mail, render_email, render_mail
from auto_dev.notify.summary import from_payload
from auto_dev.text import line

if TYPE_CHECKING:
    import aiosmtplib

TIMEOUT_S = 25.0
_WHERE = "AUTO_DEV_SMTP_URL"
_EXAMPLE = "Write it like smtp://user:password@mail.example.com:587 (reserved characters percent-encoded)."
_SPEC = r"[^\s<>,;:@\"()\\\\]+@[^\s<>,;:@\"()\\\\]+"
# One address, with or without a name. The standard library's parser forgives far more, and fails on some input.
_MAILBOX = re.compile(rf"^(?:(?P<name>[^<>]*)<(?P<named>{_SPEC})>|(?P<bare>{_SPEC}))$")
_UNFIT = re.compile(r"[^A-Za-z0-9-]")
_SCHEMES = {"smtp": 587, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail goes in. ``start_tls``: True demands it, None takes it when it is offered."""

    host: str
    port: int
    use_tls: bool
    start_tls: bool | None
    verify: bool = True
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_server(url: str) -> Server:
    """The server of an SMTP address. Raises NotifyError, without repeating the address: it holds a password."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise NotifyError("not an address", where=_WHERE, mend=_EXAMPLE) from None
    if parts.scheme not in _SCHEMES:
        raise NotifyError(
            f"the scheme {line(parts.scheme, 20)!r} is not one of {', '.join(_SCHEMES)}", where=_WHERE, mend=_EXAMPLE
        )
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise NotifyError("a server's name and nothing behind it is expected", where=_WHERE, mend=_EXAMPLE)
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if (username is None) != (password is None):
        raise NotifyError("a user needs a password and the other way round", where=_WHERE, mend=_EXAMPLE)
    local = is_loopback(parts.hostname)
    start_tls: bool | None = None
    if parts.scheme == "smtps":
        start_tls = False
    elif parts.scheme == "smtp+starttls" or (username and not local):
        start_tls = True
    return Server(
        host=parts.hostname,
        port=port or _SCHEMES[parts.scheme],
        use_tls=parts.scheme == "smtps",
        start_tls=start_tls,
        # A bridge on this machine has a certificate of its own making, and without TLS it would be trusted as well.
        verify=not (local and parts.scheme == "smtp"),
        username=username,
        password=password,
    )


def parse_mailbox(text: str, where: str) -> Address:
    """``me@example.com`` or ``Name <me@example.com>``. Raises NotifyError."""
    match = _MAILBOX.match(text.strip(" "))
    try:
        if match is None or any(ord(c) < 32 or ord(c) == 127 for c in text):
            raise ValueError
        address = Address(display_name=(match["name"] or "").strip(' "'), addr_spec=match["named"] or match["bare"])
    except (ValueError, IndexError, HeaderParseError):
        raise NotifyError(f"{line(text, 100)!r} is not one mail address", where=where) from None
    return address


class EmailChannel:
    """Sends mail through one server, a connection per message."""

    name = "email"

    def __init__(
        self,
        config: EmailConfig,
        url: str,
        *,
        dashboard_url: str | None = None,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self._server = parse_server(url)
        self._sender = parse_mailbox(config.sender, "notify.email.from")
        self._to = tuple(parse_mailbox(entry, "notify.email.to") for entry in config.to)
        if not self._to:
            raise NotifyError("nobody to write to", where="notify.email.to", mend='Write to = ["you@example.com"].')
        self._dashboard_url = dashboard_url
        self._tls_context = tls_context

    async def close(self) -> None:
        """Nothing stays open between messages."""

    async def check(self) -> str:
        """Connect and log in. Raises SendError."""
        client = await self._connect()
        await _quit(client)
        return f"{', '.join(a.addr_spec for a in self._to)} by {self._server.host}:{self._server.port}"

    async def send(self, message: Outgoing) -> Receipt:
        """Send to everybody who did not get it yet. Raises SendError."""
        accepted = [str(address) for address in message.earlier.get("accepted") or []]
        left = [address.addr_spec for address in self._to if address.addr_spec not in accepted]
        mail = self._compose(message)
        client = await self._connect()
        try:
            refused, answer = await _transfer(client, mail, self._sender.addr_spec, left, accepted)
        finally:
            await _quit(client)
        accepted += [spec for spec in left if spec not in refused]
        data = {"message_id": mail["Message-ID"], "answer": line(answer), "accepted": accepted}
        later = {spec: said for spec, said in refused.items() if said.startswith("4")}
        if later:
            raise SendError(_told(later), reached={"accepted": accepted})
        thread = (message.thread or {}).get("thread") or mail["Message-ID"]
        return Receipt({**data, "thread": str(thread)}, _told(refused))

    def _render(self, message: Outgoing) -> Mail:
        try:
            if len(message.items) == 1 and message.items[0].kind == "summary":
                return render_email(from_payload(message.items[0].payload), dashboard_url=self._dashboard_url)
            merged = merge([parse(item.payload) for item in message.items])
        except ValidationError as error:
            raise SendError(f"the stored message cannot be read: {error.errors()[0]['msg']}", permanent=True) from None
        return render_mail(merged, message.project_id, dashboard_url=self._dashboard_url)

    def _compose(self, message: Outgoing) -> EmailMessage:
        mail = self._render(message)
        digest = hashlib.sha256(f"{message.project_id}\0{message.key}".encode()).hexdigest()[:32]
        domain = self._sender.domain if self._sender.domain.isascii() else "auto-dev.invalid"
        result = EmailMessage(policy=SMTP_POLICY)
        result["From"] = self._sender
        result["To"] = self._to
        result["Subject"] = line(mail.subject, 200)
        result["Date"] = format_datetime(message.created_at)
        result["Message-ID"] = f"<auto-dev.{digest}@{domain}>"
        if message.thread and message.thread.get("thread"):
            root = line(str(message.thread["thread"]), 200)
            result["In-Reply-To"] = root
            result["References"] = root
        result["Auto-Submitted"] = "auto-generated"
        result["X-Auto-Response-Suppress"] = "All"
        result["List-Id"] = f"<{_UNFIT.sub('-', message.project_id)[:60]}.auto-dev.invalid>"
        result.set_content(mail.text)
        result.add_alternative(mail.html, subtype="html")
        result.set_boundary(f"=_auto-dev-{digest}")
        return result

    async def _connect(self) -> aiosmtplib.SMTP:
        import aiosmtplib

        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.use_tls,
            start_tls=server.start_tls,
            validate_certs=server.verify,
            tls_context=self._tls_context,
            username=server.username,
            password=server.password,
            timeout=TIMEOUT_S,
        )
        place = f"{server.host}:{server.port}"
        try:
            await client.connect()
        except aiosmtplib.SMTPAuthenticationError as error:
            raise SendError(
                f"the server refused the login: {_said(error.code, error.message)}",
                where=place,
                mend=f"Check the user and password in {_WHERE}.",
                permanent=error.code >= 500,
                whole_channel=True,
            ) from None
        except aiosmtplib.SMTPResponseException as error:
            raise SendError(
                f"the server refused: {_said(error.code, error.message)}",
                where=place,
                permanent=error.code >= 500,
                whole_channel=True,
            ) from None
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError) as error:
            raise _unreachable(error, place) from None
        return client


def _unreachable(error: Exception, place: str) -> SendError:
    import aiosmtplib

    cause = error.__cause__ or error.__context__ or error
    if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        return SendError(
            f"no trusted encrypted connection: {line(str(cause), 200)}",
            where=place,
            mend="Set SSL_CERT_FILE for a private authority.",
            permanent=True,
            whole_channel=True,
        )
    if isinstance(error, aiosmtplib.SMTPNotSupported) or type(error) is aiosmtplib.SMTPException:
        return SendError(
            f"the server lacks what the address asks for: {line(str(error), 200)}",
            where=place,
            mend=f"Check the scheme and user in {_WHERE}.",
            permanent=True,
            whole_channel=True,
        )
    return SendError(f"cannot be reached: {line(str(error), 200)}", where=place, whole_channel=True)


async def _transfer(
    client: aiosmtplib.SMTP, mail: EmailMessage, sender: str, recipients: list[str], accepted: list[str]
) -> tuple[dict[str, str], str]:
    """Hand the mail over; return the refused recipients with what was said, and the server's answer."""
    import aiosmtplib

    if not recipients:
        return {}, "everybody has it"
    reached = {"accepted": accepted} if accepted else {}
    try:
        refused, answer = await client.send_message(mail, sender=sender, recipients=recipients)
    except aiosmtplib.SMTPRecipientsRefused as error:
        said = {entry.recipient: _said(entry.code, entry.message) for entry in error.recipients}
        permanent = all(entry.code >= 500 for entry in error.recipients)
        raise SendError(_told(said), permanent=permanent, reached=reached) from None
    except aiosmtplib.SMTPSenderRefused as error:
        said_it = f"the sender is refused: {_said(error.code, error.message)}"
        raise SendError(
            said_it, mend="Check notify.email.from.", permanent=error.code >= 500, whole_channel=True, reached=reached
        ) from None
    except aiosmtplib.SMTPResponseException as error:
        said_it = f"the server refused the mail: {_said(error.code, error.message)}"
        raise SendError(said_it, permanent=error.code >= 500, reached=reached) from None
    except aiosmtplib.SMTPNotSupported as error:
        raise SendError(line(str(error), 200), permanent=True, reached=reached) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        # The last dot may have arrived: the repeat has the same Message-ID.
        what = f"the connection was lost while sending: {line(str(error), 200)}"
        raise SendError(what, whole_channel=True, unconfirmed=True, reached=reached) from None
    return {spec: _said(said.code, said.message) for spec, said in refused.items()}, answer


async def _quit(client: aiosmtplib.SMTP) -> None:
    """Say goodbye; what the server says to that changes nothing any more."""
    import aiosmtplib

    if not client.is_connected:
        return
    try:
        await client.quit(timeout=5)
    except (aiosmtplib.SMTPException, OSError):
        client.close()


def _said(code: int, message: str) -> str:
    return f"{code} {line(message, 200)}"


def _told(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{spec} is refused: {said}" for spec, said in refused.items())
