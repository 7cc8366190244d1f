"""Run one measurement in one process with fresh memory and one thread. The result is JSON.

    python -m benchmarks.jobs MODULE FUNCTION ARGUMENTS RESULT

calls benchmarks.MODULE.FUNCTION(**arguments) and writes what it returns to the file RESULT.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from benchmarks import forked
from benchmarks.environment import ONE_THREAD, ROOT

_SHOWN = 4000


@dataclass(frozen=True)
class Job:
    """A function to call in a process of its own.

    Parameters
    ----------
    section : the measurement that the job belongs to
    label : what identifies the job in the results, such as {"loader": "stock", "repeat": 0}
    module, function : benchmarks.<module>.<function>, which returns a dict of plain JSON types
    arguments : keyword arguments of the function, plain JSON types or dataclasses of them; not recorded
    recorded : off for a job that only makes data
    python : of another environment; this process's own if None
    """

    section: str
    label: Mapping[str, str | int]
    module: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    recorded: bool = True
    python: Path | None = None

    @property
    def title(self) -> str:
        """The label in one line, for the progress bar."""
        return f"{self.section}: " + ", ".join(str(value) for value in self.label.values())


def run(job: Job, *, fork: bool = False) -> dict[str, Any]:
    """Run a job in a process of its own and return its result. Raises RuntimeError with the end of its output.

    A fork starts cheaply, with its imports done before; memory and first calls differ from a fresh process.
    """
    with tempfile.TemporaryDirectory(prefix="genpas-bench-") as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        given = json.dumps({name: _as_json(value) for name, value in job.arguments.items()})
        words = (job.module, job.function, given, str(result))
        if fork and job.python is None:
            process = forked.start("benchmarks.jobs", *words, log=log, cwd=ROOT)
            process.join()
            status = process.exitcode
        else:
            command = [str(job.python or sys.executable), "-m", "benchmarks.jobs", *words]
            with log.open("w") as file:
                environment = {**os.environ, **ONE_THREAD}
                status = subprocess.run(
                    command, cwd=ROOT, env=environment, stdout=file, stderr=file, check=False
                ).returncode
        if status or not result.is_file():
            end = log.read_text("utf-8", "replace")[-_SHOWN:]
            raise RuntimeError(f"{job.title} failed (exit status {status}):\n{end}")
        content: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return content


def main() -> None:
    """Do what the command line says, in this process."""
    module, function, arguments, result = sys.argv[1:]
    del sys.argv[1:]  # RecBole's Config reads the command line
    content = getattr(importlib.import_module(f"benchmarks.{module}"), function)(**json.loads(arguments))
    Path(result).write_text(json.dumps(content), encoding="utf-8")


def _as_json(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value) if isinstance(value, Path) else value


if __name__ == "__main__":
    main()
