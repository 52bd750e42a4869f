"""Settings from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    database_url: str
    signing_key: str
    gateway_token: str
    debug: bool = False


def load(environment: dict[str, str] | None = None) -> Settings:
    env = os.environ if environment is None else environment
    return Settings(
        database_url=env.get("LEDGER_DATABASE_URL", "sqlite://"),
        signing_key=env["LEDGER_SIGNING_KEY"],
        gateway_token=env["LEDGER_GATEWAY_TOKEN"],
        debug=env.get("LEDGER_DEBUG", "") == "1",
    )
