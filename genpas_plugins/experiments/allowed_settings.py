"""Which settings of RecBole a table may set and which metric may choose a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from genpas_plugins.settings.genpas import EXPONENT_NAMES, PREFIX, SECTION, GenPASConfig
from genpas_plugins.settings.mixing import PREFIX as MIXING_PREFIX
from genpas_plugins.settings.mixing import SECTION as MIXING
from genpas_plugins.settings.personaliser import PREFIX as PERSONALISER_PREFIX
from genpas_plugins.settings.personaliser import SECTION as PERSONALISER
from genpas_plugins.support.errors import InputError, nearest

OWN = {
    "seed": "Write --seeds instead.",
    "epochs": "Write epochs at the top of the table, or --pairs.",
    "pairs_per_epoch": "Write pairs_per_epoch at the top of the table, or --pairs-per-epoch.",
    "valid_metric": "Write metric at the top of the table, or --metric.",
    "targets": "Write targets at the top of the table.",
    "trim": "Write trim at the top of the table.",
    "stopping_step": "Write patience at the top of the table, or leave it out: no run stops early.",
    "eval_args": "Write split at the top of the table. All tables rank all items.",
    "checkpoint_dir": "Leave it out.",
    "data_path": "Leave it out.",
}
"""Settings that a run has from the table, and what to write instead."""

METRICS = ("NDCG", "Recall", "Hit", "MRR", "MAP", "Precision")
"""What can choose a checkpoint: more is better, and the number after @ is the length of the list."""

_NOT_VARIED = tuple(PREFIX + name for name in ("strategy", *EXPONENT_NAMES, "augment", "pairs_per_epoch"))
MODEL = "model"
"""What a table has, or varies."""

_ELSEWHERE = (
    f"Write a YAML file with the key {SECTION}, and perhaps {MIXING}, as a row. Or give all rows a key {PREFIX}… in "
    "along: one point is enough"
)


def is_of_a_method(key: str) -> bool:
    """Return whether a key says what is trained on; rows differ in that."""
    prefixes = (PREFIX, MIXING_PREFIX, PERSONALISER_PREFIX)
    return key in (SECTION, MIXING, PERSONALISER) or key.startswith(prefixes)


def check_setting(key: str) -> str:
    """Return the key. Raises InputError for a setting of RecBole that the table or a row makes itself."""
    if key in OWN:
        raise InputError(f"{key}: the table sets that itself. {OWN[key]}")
    if is_of_a_method(key):
        raise InputError(f"{key}: a row sets that itself. {_ELSEWHERE}.")
    if key in GenPASConfig.model_fields.keys() - {"strategy", *EXPONENT_NAMES}:  # gamma is a setting of some models
        raise InputError(f"{key}: RecBole has no such setting. Did you mean {PREFIX + key!r}? {_ELSEWHERE}.")
    return key


def check_varied(key: str) -> None:
    """Raise InputError for a setting that `along` cannot vary."""
    if key in _NOT_VARIED:
        raise InputError(f"{key} belongs to the rows or to the budget. It is the same at every point.")
    if key != MODEL and not key.startswith(PREFIX):
        check_setting(key)


def check_metric(text: str) -> str:
    """Return a metric in RecBole's form such as NDCG@10. Raises InputError if it cannot choose a checkpoint."""
    name, _, k = text.partition("@")
    known = {metric.upper(): metric for metric in METRICS}
    if name.upper() not in known:
        raise InputError(f"the metric {name!r} cannot choose a checkpoint.{nearest(name, METRICS)}")
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", k):
        raise InputError(f"metric {text}: write the length of the list after an @, as {known[name.upper()]}@10.")
    return f"{known[name.upper()]}@{int(k)}"


def measures(settings: Mapping[str, Any], metric: str) -> dict[str, list[Any]]:
    """Return RecBole's settings metrics and topk with the name and the length of `metric` among them."""
    name, _, k = metric.partition("@")
    given = {"metrics": ["NDCG", "Recall"], "topk": [], **settings}
    metrics, topk = (list(v) if isinstance(v, list) else [v] for v in (given["metrics"], given["topk"]))
    metrics += [] if name.upper() in (str(metric).upper() for metric in metrics) else [name]
    return {"metrics": metrics, "topk": topk if int(k) in topk else [*topk, int(k)]}
