"""One number for what a story says, to see whether its file has changed."""

from __future__ import annotations

import hashlib
import json

from auto_dev.stories.model import Story


def fingerprint(story: Story) -> str:
    """SHA-256 (hex) of the story's canonical JSON, without its place in the folder: a new neighbour changes nothing."""
    told = story.model_dump(mode="json", exclude={"position"})
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
