"""Mistakes in settings that RecBole finds late or reports without naming the setting."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from typing import Any

from recbole.config import Config
from recbole.evaluator.register import metric_information
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType

from genpas_plugins.settings.all_sections import SECTIONS, flat_keys
from genpas_plugins.support.errors import InputError, nearest, whole_number
from recbole_ext import temporal_split
from recbole_ext.genpas_key import Mistake

_ARGUMENT = {"mask_itemseq": "mask_ratio", "crop_itemseq": "eta", "reorder_itemseq": "beta"}
"""The setting that a transform of RecBole needs; it has no default."""

_RANGES = {
    **dict.fromkeys(("MAX_ITEM_LIST_LENGTH", "train_batch_size", "eval_batch_size"), (1, None)),
    **dict.fromkeys(("epochs", "eval_step", "stopping_step", "worker"), (0, None)),
    "seed": (0, 2**32 - 1),
}
_LEARNERS = tuple(re.findall(r'learner\.lower\(\) == "(\w+)"', inspect.getsource(Trainer._build_optimizer)))
"""RecBole trains with Adam, and one line in its log, under any other name."""
_GROUPS = ("user", "none")
_COUNTED = {"data.num_items", "data.num_users", "data.count_items", "data.count_users"}
"""What RecBole's evaluation moves to the CPU as if it were a tensor, and fails."""

_PARTS = 3  # training, validation and test


def check(config: Config) -> Iterator[Mistake]:
    """Yield values that RecBole would fail on only after it has read the data."""
    final, defaults, ours = config.final_config_dict, config.internal_config_dict, {*SECTIONS, *flat_keys()}
    for key, value in final.items():
        usual = defaults.get(key)
        if isinstance(value, str) and isinstance(usual, int | float) and not isinstance(usual, bool):
            yield [key], f"{key} is {value!r}, where {usual} would be usual. Give a number."
        if isinstance(value, float) and not math.isfinite(value) and key not in ours:
            yield [key], f"{key} is {value}. Give a finite number."
    for key, (lowest, highest) in _RANGES.items():
        try:
            whole_number(key, final.get(key, lowest), lowest, highest)
        except InputError as error:
            yield [key], str(error)
    if str(final.get("learner")).lower() not in _LEARNERS:
        yield ["learner"], f"learner {final['learner']!r} is not a choice.{nearest(final['learner'], _LEARNERS)}"
    group = final["eval_args"].get("group_by")
    if group is not None and group not in _GROUPS:
        yield ["eval_args"], f"group_by {group!r} is not a choice.{nearest(group, _GROUPS)}"
    yield from ((["eval_args"], mistake) for mistake in temporal_split.check(final["eval_args"]))
    for kind, ratios in (final["eval_args"].get("split") or {}).items():
        if kind in ("RS", "TS") and not (isinstance(ratios, list) and len(ratios) == _PARTS):
            yield ["eval_args"], f"split {kind} is {ratios!r}. Give three shares, such as {kind}: [0.8, 0.1, 0.1]."
    argument = _ARGUMENT.get(str(final.get("transform")))
    if argument is not None and final.get(argument) is None:
        yield ["transform"], f"transform {final['transform']} needs {argument}. Add it, such as {argument}: 0.2."


def check_training(trainer: Trainer, train_data: Any, valid_data: Any) -> None:
    """Raise InputError if a trainer cannot measure what it validates by."""
    config = trainer.config
    if config["eval_type"] != EvaluatorType.RANKING:
        return
    broken = [name for name in config["metrics"] if _COUNTED & set(metric_information[name.lower()])]
    if broken:
        raise InputError(f"RecBole 1.2.1 cannot compute {', '.join(broken)}. Leave it out of metrics.")
    largest, n_items = max(config["topk"]), int(train_data._dataset.item_num)
    if largest > n_items:
        raise InputError(
            f"topk is {config['topk']}, but the data have {n_items - 1} items. Set topk to at most as many."
        )
    metric, _, k = str(config["valid_metric"]).upper().partition("@")
    measured = [str(name).upper() for name in config["metrics"]]
    if valid_data is not None and (metric not in measured or (k and k not in map(str, config["topk"]))):
        raise InputError(
            f"valid_metric is {config['valid_metric']}, but metrics are {', '.join(config['metrics'])} and topk is "
            f"{config['topk']}. Set valid_metric to one of them."
        )
