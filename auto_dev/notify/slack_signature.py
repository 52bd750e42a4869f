"""Whether a request comes from Slack: its signature over the raw body, and its age. Pure.

https://docs.slack.dev/authentication/verifying-requests-from-slack. slack_sdk's verifier fails with an exception on a
time that is no number and on a body that is not UTF-8; this one says no.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from auto_dev.errors import NotifyError

WINDOW_S: Final = 300
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


class ForgedError(NotifyError):
    """The request does not come from Slack, or is too old."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that Slack made. ``digest`` is the same for a repeat of it; after ``until`` it is not taken anyway."""

    digest: str
    until: datetime


def verify(secret: str, timestamps: Sequence[str], signatures: Sequence[str], body: bytes, now: datetime) -> Signed:
    """Check the headers X-Slack-Request-Timestamp and X-Slack-Signature, once each. Raises ForgedError."""
    if len(timestamps) != 1 or len(signatures) != 1:
        raise ForgedError("not signed, or signed twice")
    if not _SECONDS.fullmatch(timestamps[0]):
        raise ForgedError("its time is no time")
    if abs(now.timestamp() - int(timestamps[0])) > WINDOW_S:
        raise ForgedError("too old, or from the future")
    signature = hmac.new(secret.encode(), b"v0:" + timestamps[0].encode() + b":" + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(f"v0={signature}".encode(), signatures[0].encode("utf-8", "surrogateescape")):
        raise ForgedError("its signature is wrong")
    until = datetime.fromtimestamp(int(timestamps[0]), UTC) + timedelta(seconds=WINDOW_S + 60)
    return Signed(hashlib.sha256(signature.encode()).hexdigest(), until)
