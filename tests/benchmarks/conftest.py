"""One way to run a benchmark on toy sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

QuickRun = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def quick_run(tmp_path: Path) -> QuickRun:
    """Return `quick_run(name, *arguments)`: run benchmarks.bench_NAME --quick; its JSON and its Markdown.

    No data folder is given, and neither file may name a path.
    """

    def run(name: str, *arguments: str) -> tuple[dict[str, Any], str]:
        environment = {variable: value for variable, value in os.environ.items() if variable != "GENPAS_DATA_DIR"}
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.bench_{name}", "--quick", "--results", str(tmp_path), *arguments],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        content = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
        text = (tmp_path / f"{name}.md").read_text("utf-8")
        assert str(tmp_path) not in text and str(ROOT) not in text + json.dumps(content)
        return content, text

    return run
