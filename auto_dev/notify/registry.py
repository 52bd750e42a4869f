"""The configured channels, by name."""

from __future__ import annotations

from collections.abc import Callable

from auto_dev.config import NotifyConfig
from auto_dev.errors import NotifyError
from auto_dev.notify import slack_link
from auto_dev.notify.channel import Channel

Secrets = Callable[[str], str | None]


def _slack(config: NotifyConfig, secrets: Secrets, dashboard_url: str | None) -> Channel:
    from auto_dev.notify.slack import SlackChannel

    token = _secret(secrets, "SLACK_BOT_TOKEN", "the bot token of your Slack app (xoxb-…, with chat:write)")
    buttons = slack_link.plan(config, secrets).buttons
    return SlackChannel(config.slack, token, dashboard_url=dashboard_url, buttons=buttons)


def _email(config: NotifyConfig, secrets: Secrets, dashboard_url: str | None) -> Channel:
    from auto_dev.notify.email import EmailChannel

    url = _secret(secrets, "AUTO_DEV_SMTP_URL", "smtp://user:password@mail.example.com:587")
    return EmailChannel(config.email, url, dashboard_url=dashboard_url)


def _apprise(_config: NotifyConfig, secrets: Secrets, dashboard_url: str | None) -> Channel:
    from auto_dev.notify.other import SECRET, AppriseChannel

    return AppriseChannel(_secret(secrets, SECRET, "ntfy://topic"), dashboard_url=dashboard_url)


CHANNELS: dict[str, Callable[[NotifyConfig, Secrets, str | None], Channel]] = {
    "slack": _slack, "email": _email, "apprise": _apprise,
}  # fmt: skip
_CHANNEL_OF = {"SLACK_BOT_TOKEN": "slack", "AUTO_DEV_SMTP_URL": "email", "AUTO_DEV_APPRISE_URLS": "apprise"}


def make_channels(config: NotifyConfig, secrets: Secrets, *, dashboard_url: str | None = None) -> dict[str, Channel]:
    """The configured channels by name. ``dashboard_url``: where links lead unless the configuration says.

    ``secrets`` looks a secret's name up in the environment or keyring. Raises NotifyError, with the mend, for a missing
    secret or an address that does not fit: at the start, not in the night.
    """
    links = config.dashboard_url or dashboard_url
    return {name: CHANNELS[name](config, secrets, links) for name in dict.fromkeys(config.channels)}


def _secret(secrets: Secrets, name: str, example: str) -> str:
    value = (secrets(name) or "").strip()
    if not value:
        channel = _CHANNEL_OF[name]
        raise NotifyError(
            f"{name} is not set, but notify.channels has {channel!r}",
            mend=f"Set {name} in the environment or keyring ({example}), or take {channel!r} out of notify.channels.",
        )
    return value
