"""Runs a script of this folder in as many processes as a world has ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_ranks(script: str, world_size: int, directory: Path) -> None:
    """Run `python SCRIPT RANK WORLD_SIZE DIRECTORY` for every rank; an error shows the end of what each has said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
    logs = [directory / f"log{world_size}{rank}" for rank in range(world_size)]
    ranks = [
        subprocess.Popen(
            [sys.executable, str(HERE / script), str(rank), str(world_size), str(directory)],
            env=environment,
            cwd=directory,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    try:
        codes = [process.wait(timeout=240) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert codes == [0] * world_size, "\n".join(log.read_text()[-3000:] for log in logs)
