"""Start processes that import nothing heavy: forks of one that has imported torch and both frameworks.

Toy runs start dozens of processes, and importing takes each longer than its work. Figures that count come from fresh
processes.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# A missing package is passed over. The first optimiser of a process imports torch._dynamo. recbole_ext comes before
# recbole, which it makes importable.
IMPORTED = (
    "numba",
    "pyarrow.parquet",
    "torch",
    "torch._dynamo",
    "torchrec",
    "transformers",
    "recbole_ext",
    "recbole.quick_start",
)


def start(what: str, *arguments: str, log: Path, cwd: Path | None = None, **environment: str) -> BaseProcess:
    """Run a module, or the script of a path, as `__main__` in a process of its own.

    Parameters
    ----------
    what : name for `python -m`, or path of a script
    arguments : sys.argv[1:]
    log : file for stdout and stderr
    cwd : its working directory
    environment : variables to set; the others are as they were when this process started the first one

    Raises
    ------
    FileNotFoundError : the folder of the log is missing
    """
    # A process that was forked forks itself. Python does not hand the first one's address down.
    context: Any = multiprocessing.get_context("fork" if multiprocessing.parent_process() else "forkserver")
    multiprocessing.set_forkserver_preload(list(IMPORTED))
    log.touch()
    process: BaseProcess = context.Process(target=_run, args=(what, arguments, str(log), cwd, environment))
    process.start()
    return process


def _run(what: str, arguments: tuple[str, ...], log: str, cwd: Path | None, environment: Mapping[str, str]) -> None:
    with Path(log).open("a", buffering=1, encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    os.chdir(cwd or Path.cwd())
    sys.argv[1:] = arguments
    if what.endswith(".py"):
        sys.path.insert(0, str(Path(what).parent))
        runpy.run_path(what, run_name="__main__")
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)
