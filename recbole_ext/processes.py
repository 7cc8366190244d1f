"""RecBole's multi-process run with GenPAS in every process."""

from __future__ import annotations

import copy
from typing import Any

import recbole.quick_start
import torch

from genpas_plugins.support.errors import InputError


def run_recboles(rank: int, *arguments: Any) -> None:
    """Run RecBole as process `rank`; the first process puts the result into the queue.

    Parameters
    ----------
    rank : number of the process on this machine
    arguments : model, data set, configuration files, and keyword arguments of `run_recbole` with the queue
    """
    keywords = dict(arguments[-1])
    wanted, there = (keywords.get("config_dict") or {}).get("nproc", 1), torch.cuda.device_count()
    if there < wanted:
        raise InputError(
            f"RecBole runs each process on a GPU, and torch sees {there} for {wanted} processes. Lower nproc, or leave "
            "it out on a CPU."
        )
    queue = keywords.pop("queue", None)
    settings = copy.copy(keywords.get("config_dict") or {})  # keeps a CommandLine with its place
    settings["local_rank"] = rank
    keywords["config_dict"] = settings
    result = recbole.quick_start.run_recbole(*arguments[:3], **keywords)
    if rank == 0 and queue is not None:
        queue.put(result)
