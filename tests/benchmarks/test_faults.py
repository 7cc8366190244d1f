"""The campaigns of faults see every kind of failure."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks.faults.children import killed, outcomes
from genpas_plugins import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def refuse(message: str) -> None:
    raise InputError(message)


def test_every_outcome_is_told_from_the_others(capfd: pytest.CaptureFixture[str]):
    uses = {
        "used": lambda: None,
        "refused": lambda: refuse("one sentence"),
        "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "traceback": lambda: refuse("two\nlines"),
    }
    assert outcomes(uses) == {name: name for name in uses}
    assert outcomes({"": lambda: 1 / 0}) == {"": "traceback"}


def test_a_child_is_killed_with_its_children(tmp_path: Path):
    def write_for_ever() -> None:
        os.fork()
        while True:
            (tmp_path / f"{os.getpid()}").write_text(f"{time.monotonic_ns()}")

    assert killed(write_for_ever, 0.5)
    before = {file: file.read_text() for file in tmp_path.iterdir()}
    time.sleep(0.1)
    assert before == {file: file.read_text() for file in tmp_path.iterdir()} != {}
    assert not killed(lambda: None, 30)
