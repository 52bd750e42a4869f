"""Every other channel, by apprise: Teams, Matrix, ntfy, Telegram and a hundred more, each an address of its own.

An optional extra. The addresses hold tokens, so they come from the environment or keyring, and are never repeated: a
receipt and an error name an address by its place in the list and what apprise shows of it.
https://github.com/caronc/apprise/wiki
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from auto_dev.errors import NotifyError
from auto_dev.notify.channel import Outgoing, Receipt, SendError
from auto_dev.notify.message import merge, parse
from auto_dev.notify.render import Mail, render_email, render_mail
from auto_dev.notify.summary import from_payload
from auto_dev.text import clean, line

if TYPE_CHECKING:
    import apprise

SECRET: Final = "AUTO_DEV_APPRISE_URLS"  # noqa: S105 (the name of one)
_EXAMPLE = "Write addresses like ntfy://topic or msteams://… with spaces between them."
_LIMIT = 8_000  # characters; apprise cuts further where a service takes less
_TONES = {"good": "success", "info": "info", "warn": "warning", "bad": "failure"}


@dataclass(frozen=True, slots=True)
class _Address:
    """One address: where it is in the list, a name for receipts that gives nothing away, and its service."""

    number: int
    name: str
    service: apprise.NotifyBase

    def __str__(self) -> str:
        return f"address {self.number} ({self.service.service_name})"


class AppriseChannel:
    """Sends to every address; those that a former attempt reached are left out of the next."""

    name = "apprise"

    def __init__(self, urls: str, *, dashboard_url: str | None = None) -> None:
        self._addresses = _addresses(urls)
        self._dashboard_url = dashboard_url

    async def close(self) -> None:
        """Nothing stays open between messages."""

    async def check(self) -> str:
        """Name the services; apprise knows no way to log in without sending."""
        return ", ".join(str(address) for address in self._addresses)

    async def send(self, message: Outgoing) -> Receipt:
        """Send to every address that did not get it yet. Raises SendError while one is left."""
        mail, tone = self._render(message)
        accepted = [str(name) for name in message.earlier.get("accepted") or []]
        missed = []
        for address in self._addresses:
            if address.name in accepted:
                continue
            if await _notify(address.service, mail, tone):
                accepted.append(address.name)
            else:
                missed.append(str(address))
        if missed:
            raise SendError(
                f"{', '.join(missed)} did not take the message", where=SECRET, reached={"accepted": accepted}
            )
        return Receipt({"accepted": accepted})

    def _render(self, message: Outgoing) -> tuple[Mail, str]:
        try:
            if len(message.items) == 1 and message.items[0].kind == "summary":
                return render_email(from_payload(message.items[0].payload), dashboard_url=self._dashboard_url), "info"
            merged = merge([parse(item.payload) for item in message.items])
        except ValidationError as error:
            raise SendError(f"the stored message cannot be read: {error.errors()[0]['msg']}", permanent=True) from None
        return render_mail(merged, message.project_id, dashboard_url=self._dashboard_url), merged.tone


async def _notify(service: apprise.NotifyBase, mail: Mail, tone: str) -> bool:
    import apprise

    return bool(
        await service.async_notify(
            body=clean(mail.text, _LIMIT),
            title=line(mail.subject, 200),
            notify_type=apprise.NotifyType(_TONES[tone]),
            body_format=apprise.NotifyFormat.TEXT,
        )
    )


def _addresses(urls: str) -> tuple[_Address, ...]:
    """The addresses in ``urls``. Raises NotifyError, without repeating one."""
    try:
        import apprise
    except ImportError:
        raise NotifyError(
            'notify.channels has "apprise", which is not installed', mend='Install "auto-dev[other-channels]".'
        ) from None
    found = []
    for number, url in enumerate(re.split(r"[\s,]+(?=[A-Za-z0-9]+://)", urls.strip()), 1):
        service: Any = apprise.Apprise.instantiate(url.strip(" ,"), suppress_exceptions=True)
        if not isinstance(service, apprise.NotifyBase):
            raise NotifyError(f"address {number} is none that apprise knows", where=SECRET, mend=_EXAMPLE)
        found.append(_Address(number, hashlib.sha256(url.encode()).hexdigest()[:16], service))
    return tuple(found)
