"""What a daemon is started with: found by the command line, checked there, handed over as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from auto_dev.place import ProjectPlace, place_of


class Settings(BaseModel):
    """One project's daemon. ``overrides`` are the flags, by section and key; ``folder`` is the ordered story folder.

    No secret is in it: they come from the environment or the keyring of the process that needs them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    project_id: str
    root: Path
    folder: Path
    state_home: Path
    database_url_given: bool = False
    overrides: dict[str, Any] = {}
    once: bool = False
    delay_s: float = 0
    sandbox: bool = True

    @property
    def place(self) -> ProjectPlace:
        return place_of(self.state_home, self.root, self.project_id)
