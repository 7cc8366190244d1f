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

ROOT = Path(__file__).resolve().parents[2]
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
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_gpu.py"), "--quick", "--device", "cpu", *arguments]
    done = subprocess.run(command, env={**environment, **more}, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_every_step_runs_to_its_end():
    pytest.importorskip("torchrec")
    pytest.importorskip("recbole")
    pytest.importorskip("transformers")
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines("--seconds", "6000"):
        assert not line.keys() & {"stopped", "not_run"}, line
        found.setdefault(line["step"], []).append(line)
    assert list(found) == ["machine", "draws", "losses", "epochs", "beams", "sharding", "resume", "kernels", "quality"]
    assert all(line["equal_to_numpy"] for line in found["draws"][:-1])
    assert all(max(line["gradient_errors"]) < 0.01 for line in found["losses"][:-1])
    assert all(line["first_loss_off_the_cpu"] < 1e-6 for line in found["epochs"][:-1])
    assert found["beams"][0]["share_of_items_found"] == 1 and found["beams"][0]["score_gap"] < 1e-4
    assert {line["sharding"] for line in found["sharding"][:-1]} == {"row_wise", "table_wise", "column_wise", "planner"}
    assert found["resume"][0]["equal"] and found["resume"][0]["exit"] == 0
    assert found["quality"][-2]["reached"]


@pytest.mark.slow
def test_a_step_whose_packages_are_missing_or_whose_time_is_over_does_not_stop_the_others(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    found = lines("--steps", "losses,epochs,sharding", PYTHONPATH=str(tmp_path))
    reasons = {line["step"]: line["not_run"] for line in found if "not_run" in line}
    assert reasons == {"epochs": "needs recbole", "sharding": "needs recbole, torchrec, fbgemm_gpu"}
    assert [line["type"] for line in found if line["step"] == "losses" and "type" in line] == ["float32", "bfloat16"]
    over = lines("--steps", "losses,draws", "--seconds", "0.1")
    assert [line["not_run"] for line in over if "not_run" in line] == ["the time of the whole run is over"] * 2
