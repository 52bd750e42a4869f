"""One daemon per project, however many start at once and whatever the information file says."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from auto_dev.daemon import instance
from auto_dev.errors import AutoDevError
from auto_dev.processes import boot_id

pytestmark = pytest.mark.integration


def start(number: int, state: Path, barrier: threading.Barrier, over: threading.Event) -> str:
    barrier.wait()
    for _ in range(20):
        instance.running(state)
    try:
        with instance.hold(state, f"daemon-{number}"):
            over.wait(20)
            return "held"
    except AutoDevError as error:
        return str(error)


def test_of_a_hundred_starts_exactly_one_holds(tmp_path: Path) -> None:
    """Each one looks first, as `start` does; whoever looks holds the lock for a moment and must make nobody refuse."""
    for attempt in range(5):
        state = tmp_path / str(attempt)
        barrier, over = threading.Barrier(100), threading.Event()

        with ThreadPoolExecutor(100) as threads:
            started = [threads.submit(start, number, state, barrier, over) for number in range(100)]
            while sum(future.done() for future in started) < 99:
                over.wait(0.01)
            over.set()
        said = [future.result() for future in started]
        assert said.count("held") == 1
        assert all(text == "held" or f"already works on this project (PID {os.getpid()})" in text for text in said)


@pytest.mark.parametrize("started", [1, None])
def test_a_recycled_number_is_not_the_daemon(tmp_path: Path, started: int | None) -> None:
    facts = {"pid": os.getpid(), "started": started, "boot": boot_id(), "version": "0", "daemon_id": "x"}
    (tmp_path / "daemon.json").write_text(json.dumps(facts))
    assert instance.running(tmp_path) is None
    found = instance.read(tmp_path)
    assert found is not None
    assert not found.alive()
    with instance.hold(tmp_path, "me") as held:
        assert instance.running(tmp_path) == held
    assert instance.running(tmp_path) is None


def test_the_file_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with instance.hold(tmp_path, "me"):
        assert (tmp_path / "daemon.json").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "daemon.json").exists()
