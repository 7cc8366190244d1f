"""RecBole's multi-process run with GenPAS in every process."""

from __future__ import annotations

import copy
from typing import Any

import recbole.quick_start


def run_recboles(rank: int, *arguments: Any) -> None:
    """Run RecBole as process `rank`; arguments are (model, dataset, config files, keyword arguments with a queue).

    The first process puts the result, with what it trained on, into the queue.
    """
    keywords = dict(arguments[-1])
    queue = keywords.pop("queue", None)
    settings = copy.copy(keywords.get("config_dict") or {})  # of its own kind, which may say where they come from
    settings["local_rank"] = rank
    keywords["config_dict"] = settings
    result = recbole.quick_start.run_recbole(*arguments[:3], **keywords)
    if rank == 0 and queue is not None:
        queue.put(result)
