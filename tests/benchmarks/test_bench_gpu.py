"""The script for the day a GPU is there runs to its end on a CPU, with toy sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from benchmarks import bench_gpu, forked

SCRIPT = Path(bench_gpu.__file__)
WITHOUT = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torchrec", "fbgemm_gpu", "recbole", "transformers", "pydantic", "typer", "rich"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


def lines(*arguments: str, **more: str) -> list[dict[str, Any]]:
    environment = {key: value for key, value in os.environ.items() if key not in ("GENPAS_DATA_DIR", "PYTHONPATH")}
    command = [sys.executable, str(SCRIPT), "--quick", "--device", "cpu", *arguments]
    done = subprocess.run(command, env={**environment, **more}, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def step(name: str, log: Path) -> list[dict[str, Any]]:
    process = forked.start(str(SCRIPT), name, "cpu", "1", log=log, **{bench_gpu.STEP: name})
    process.join()
    assert process.exitcode == 0, log.read_text()[-3000:]
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_every_step_runs_to_its_end(tmp_path: Path):
    pytest.importorskip("torchrec")
    pytest.importorskip("recbole")
    pytest.importorskip("transformers")
    found = {name: step(name, tmp_path / name) for name in ("machine", *(step.name for step in bench_gpu.STEPS))}
    assert all(lines and "not_run" not in lines[0] for lines in found.values())
    assert all(line["equal_to_numpy"] for line in found["draws"])
    assert all(max(line["gradient_errors"]) < 0.01 for line in found["losses"])
    assert all(line["first_loss_off_the_cpu"] < 1e-6 for line in found["epochs"])
    assert found["beams"][0]["share_of_items_found"] == 1 and found["beams"][0]["score_gap"] < 1e-4
    assert {line["sharding"] for line in found["sharding"]} == {"row_wise", "table_wise", "column_wise", "planner"}
    assert found["resume"][0]["equal"] and found["resume"][0]["exit"] == 0
    assert found["quality"][-1]["reached"]


@pytest.mark.slow
def test_a_step_whose_packages_are_missing_or_whose_time_is_over_does_not_stop_the_others(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    found = lines("--steps", "losses,epochs,sharding", PYTHONPATH=str(tmp_path))
    reasons = {line["step"]: line["not_run"] for line in found if "not_run" in line}
    assert reasons == {"epochs": "needs recbole", "sharding": "needs recbole, torchrec, fbgemm_gpu"}
    assert [line["type"] for line in found if line["step"] == "losses" and "type" in line] == ["float32", "bfloat16"]
    (stopped,) = bench_gpu.run(bench_gpu.STEPS[0], "cpu", True, 1)
    assert stopped == {"step": "draws", "stopped": "its limit of 1 s"}
    (over,) = bench_gpu.run(bench_gpu.STEPS[0], "cpu", True, 0.1)
    assert over["not_run"] == "the time of the whole run is over"
