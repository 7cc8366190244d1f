from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_quick_run_measures_what_needs_no_data_and_says_what_it_skipped(tmp_path):
    pytest.importorskip("numba")
    environment = {name: value for name, value in os.environ.items() if name != "GENPAS_DATA_DIR"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_analysis", "--quick", "--results", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    content, text = (
        json.loads((tmp_path / "analysis.json").read_text("utf-8")),
        (tmp_path / "analysis.md").read_text("utf-8"),
    )
    assert content["quick"] is True and content["command"] == "python -m benchmarks.bench_analysis --quick"
    assert [line.split()[0] for line in content["skipped"]] == ["beauty", "ml-1m"]
    assert list(content["sections"]) == ["scale"]
    ways = {(record["backend"], record["threads"]) for record in content["sections"]["scale"]}
    assert ways == {("numpy", 1), ("numpy", 2), ("numba", 1), ("numba", 2)}
    for record in content["sections"]["scale"]:
        assert 0 < record["kl_s"]["min"] <= record["kl_s"]["median"] and record["peak_bytes"] > 0
    assert all(goal["what"] in text for goal in content["goals"])
    assert str(tmp_path) not in text and str(ROOT) not in text
