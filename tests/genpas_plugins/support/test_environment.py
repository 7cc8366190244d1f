"""The circumstances of a figure."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from genpas_plugins.support.environment import commit


def test_the_commit_is_the_checkouts():
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        pytest.skip("The tests run outside of a checkout.")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True).stdout
    found = commit()
    assert found is not None
    assert found.removesuffix("+") == head.strip()
