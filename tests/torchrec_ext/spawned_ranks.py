"""Runs a script of this folder in as many processes as a world has ranks."""

from __future__ import annotations

from pathlib import Path

from benchmarks import forked

HERE = Path(__file__).parent


def run_ranks(script: str, world_size: int, directory: Path) -> None:
    """Run `python SCRIPT RANK WORLD_SIZE DIRECTORY` for every rank; an error shows the end of what each has said."""
    logs = [directory / f"log{world_size}{rank}" for rank in range(world_size)]
    ranks = [
        forked.start(str(HERE / script), str(rank), str(world_size), str(directory), log=log, cwd=directory)
        for rank, log in enumerate(logs)
    ]
    try:
        for process in ranks:
            process.join(240)
        codes = [process.exitcode for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert codes == [0] * world_size, "\n".join(log.read_text()[-3000:] for log in logs)
