"""Measure what only a GPU can show, in under 12 minutes, the most valuable first; JSON lines.

    python benchmarks/bench_gpu.py                    every step; on a machine without a GPU the figures are the CPU's
    python benchmarks/bench_gpu.py --quick            toy sizes: does it run?
    python benchmarks/bench_gpu.py --steps draws,losses

It needs numpy, pyarrow and torch (2.10 or newer). A step whose packages are missing is reported as not run. Each step
is a process with a time limit of its own, so that no step costs another its turn. Beauty is read from $GENPAS_DATA_DIR.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 700
"""Limit of the whole run; steps that have not begun by then are not run."""


class Step(NamedTuple):
    """A measurement: a function of `module` that yields dicts, and its limit in seconds."""

    name: str
    module: str
    limit: int
    needs: tuple[str, ...] = ()  # packages beside torch, numpy and pyarrow


_MODELS, _SHARDED = ("recbole",), ("recbole", "torchrec", "fbgemm_gpu")
STEPS = (
    Step("draws", "gpu_core", 60),
    Step("losses", "gpu_core", 60),
    Step("epochs", "gpu_models", 150, _MODELS),
    Step("beams", "gpu_models", 60, (*_MODELS, "transformers")),
    Step("sharding", "gpu_sharded", 120, _SHARDED),
    Step("resume", "gpu_sharded", 100, _SHARDED),
    Step("kernels", "gpu_models", 40, _MODELS),
    Step("quality", "gpu_models", 150, _MODELS),
)
"""The most valuable first."""


def main() -> None:
    """Run the steps and print a JSON line for each result, and to a file with --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--device", help="cuda or cpu; default: a GPU if there is one")
    parser.add_argument("--steps", default=",".join(step.name for step in STEPS), help="names, in any order")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="limit of the whole run")
    parser.add_argument("--out", type=Path, help="file for the lines")
    options = parser.parse_args()
    chosen = options.steps.split(",")
    if unknown := set(chosen) - {step.name for step in STEPS}:
        parser.error(f"unknown step {', '.join(sorted(unknown))}; known: {', '.join(step.name for step in STEPS)}")
    end = time.monotonic() + options.seconds
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a", encoding="utf-8") if options.out else contextlib.nullcontext() as file:
        for line in lines(chosen, options.device, options.quick, end):
            text = json.dumps(line)
            print(text, flush=True)
            if file is not None:
                print(text, file=file, flush=True)


def lines(chosen: list[str], device: str | None, quick: bool, end: float) -> Iterator[dict[str, Any]]:
    """Yield the description of the machine, the results of the steps and what was not run."""
    yield from run(Step("machine", "gpu_core", 60), device, quick, 600 if quick else 60)
    for step in (step for step in STEPS if step.name in chosen):
        begin = time.monotonic()
        # Toy sizes are for busy machines without a GPU, where importing alone may take most of a limit.
        yield from run(step, device, quick, min(step.limit * (10 if quick else 1), end - begin))
        yield {"step": step.name, "seconds": round(time.monotonic() - begin, 1)}


def run(step: Step, device: str | None, quick: bool, limit: float) -> Iterator[dict[str, Any]]:
    """Run a step in a process of its own and yield its lines; the last one says why it ended early."""
    if limit < 1:
        yield {"step": step.name, "not_run": "the time of the whole run is over"}
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        command = [sys.executable, "-W", "ignore", str(Path(__file__)), step.name, device or "", str(int(quick))]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, STEP: step.name}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=log, start_new_session=True)
        reason = None
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            reason = f"its limit of {limit:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the step's own session: ranks that it started
            process.wait()
        out.seek(0)
        yield from ({"step": step.name, **json.loads(line)} for line in out if line.startswith("{"))
        if reason is None and code:
            log.seek(0)
            reason = log.read().strip()[-600:] or f"exit status {code}"
        if reason is not None:
            yield {"step": step.name, "stopped": reason}


STEP = "GENPAS_GPU_STEP"  # set in the process of a step


def measure() -> None:
    """Run one step in this process and print its lines."""
    from importlib import import_module

    name, device, quick = sys.argv[1:4]
    del sys.argv[1:]  # RecBole's Config reads the command line
    (step,) = (step for step in (*STEPS, Step("machine", "gpu_core", 60)) if step.name == name)
    missing = [package for package in ("numpy", "pyarrow", "torch", *step.needs) if not _is_there(package)]
    if missing:
        print(json.dumps({"not_run": f"needs {', '.join(missing)}"}))
        return
    import torch

    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    for line in getattr(import_module(f"benchmarks.{step.module}"), name)(place, quick == "1"):
        print(json.dumps(line), flush=True)


def _is_there(package: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    measure() if STEP in os.environ else main()
