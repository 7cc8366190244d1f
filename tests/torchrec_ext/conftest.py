"""Shared by the tests of the TorchRec adapter."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

collect_ignore_glob = []
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob.append("test_*.py")
elif importlib.util.find_spec("torchrec") is None:
    collect_ignore_glob.extend(["test_batch.py", "test_stream.py", "test_stage.py", "test_pipes.py"])


@pytest.fixture(scope="session", autouse=True)
def _one_quiet_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
