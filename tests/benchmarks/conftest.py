"""One way to run a benchmark on toy sizes."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

QuickRun = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def quick_run(tmp_path: Path) -> QuickRun:
    """Return `quick_run(name)`: run benchmarks.bench_NAME --quick; its JSON and its Markdown.

    No data folder is given, and neither file may name a path.
    """

    def run(name: str) -> tuple[dict[str, Any], str]:
        import_module(f"benchmarks.bench_{name}").main(quick=True, results=tmp_path)
        content = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
        text = (tmp_path / f"{name}.md").read_text("utf-8")
        assert str(tmp_path) not in text and str(ROOT) not in text + json.dumps(content)
        return content, text

    return run
