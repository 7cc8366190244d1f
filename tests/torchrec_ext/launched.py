"""torchrun as a function: its agent and restarts, with ranks that are forks of a process that has imported everything.

launched.py RANKS RESTARTS LOGS SCRIPT ARGUMENT…    the ranks write below the folder LOGS
"""

from __future__ import annotations

import runpy
import sys

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def work(script: str, *arguments: str) -> None:
    sys.argv[1:] = arguments
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    ranks, restarts, logs, *words = sys.argv[1:]
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(ranks),
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=int(restarts),
        start_method="fork",
        logs_specs=DefaultLogsSpecs(log_dir=logs, redirects=Std.ALL),
    )
    elastic_launch(config, work)(*words)
