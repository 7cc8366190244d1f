"""RecBole settings of `genpas compare` and `genpas reproduce`: which are theirs to make, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genpas_plugins.settings import mixing
from genpas_plugins.settings.genpas import EXPONENT_NAMES, PREFIX, SECTION, GenPASConfig
from genpas_plugins.settings.yaml_text import read_scalar
from genpas_plugins.support.errors import InputError, nearest

OURS = ("seed", "epochs", "stopping_step", "valid_metric", "checkpoint_dir", "data_path")
"""Settings that the comparison makes itself."""

METRICS = ("NDCG", "Recall", "Hit", "MRR", "MAP", "Precision")
"""What can choose the checkpoint: more is better, and the number after @ is the length of the list."""


OPTIONS = {
    "epochs": "--pairs",
    "seed": "--seeds",
    "valid_metric": "--metric",
    "pairs_per_epoch": "--pairs-per-epoch",
}
"""Where `genpas compare` takes what is no setting of RecBole's."""

OF_A_METHOD = "Write a YAML file with a genpas key, and a mixing one if wanted, as a method"

# Words of a section that no model of RecBole's has as a setting of its own; gamma is one.
_WORDS = set(GenPASConfig.model_fields) - {"strategy", *EXPONENT_NAMES}


def check_setting(key: str, where: str, instead: Mapping[str, str] = OPTIONS, method: str = OF_A_METHOD) -> None:
    """Raise InputError, naming `where`, for a setting of RecBole's that the comparison or a method makes itself.

    instead : where such settings are to be written
    method  : where those are to be written that say what is trained on
    """
    if key in OURS or key in instead:
        what = f"Write {instead[key]} instead." if key in instead else "Leave it out."
        raise InputError(f"{where}: the comparison sets that itself. {what}")
    if of_a_method(key):
        raise InputError(f"{where}: a method sets that itself. {method}.")
    if key in _WORDS:
        raise InputError(f"{where}: RecBole has no such setting. Did you mean {PREFIX + key!r}? {method}.")


def check_metric(text: str, where: str = "--metric") -> str:
    """Return a metric as RecBole writes it, NDCG@10. Raises InputError for one that cannot choose a checkpoint."""
    name, at, k = text.partition("@")
    known = {metric.upper(): metric for metric in METRICS}
    if name.upper() not in known:
        raise InputError(f"{where} {text}: {name!r} cannot choose a checkpoint.{nearest(name, METRICS)}")
    if not at or not (k.isascii() and k.isdigit()) or int(k) < 1:
        raise InputError(f"{where} {text}: write the length of the list behind an @, as {known[name.upper()]}@10.")
    return f"{known[name.upper()]}@{int(k)}"


def measures(settings: Sequence[Mapping[str, Any]], metric: str) -> dict[str, list[Any]]:
    """Return the metrics and lengths that settings ask for, later ones winning, and those of `metric` among them."""
    given: dict[str, Any] = {"metrics": ["NDCG", "Recall"], "topk": []}
    for content in settings:
        given |= {key: content[key] for key in given if content.get(key) is not None}
    lists = {key: list(value) if isinstance(value, list | tuple) else [value] for key, value in given.items()}
    name, _, k = metric.partition("@")
    if name.upper() not in (str(metric).upper() for metric in lists["metrics"]):
        lists["metrics"].append(name)
    if int(k) not in lists["topk"]:
        lists["topk"].append(int(k))
    return lists


def figure_names(measured: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the names under which RecBole reports what `measures` returned.

    >>> figure_names({"metrics": ["NDCG", "Recall"], "topk": [5]})
    ['ndcg@5', 'recall@5']
    """
    return [f"{metric.lower()}@{k}" for metric in measured["metrics"] for k in measured["topk"]]


def of_a_method(key: str) -> bool:
    """Tell whether a key says what is trained on: methods differ in that."""
    return key in (SECTION, mixing.SECTION) or key.startswith((PREFIX, mixing.PREFIX))


def content_of(file: Path) -> Mapping[str, Any]:
    """Return the keys and values of a YAML file that was checked."""
    content = read_scalar(file.read_text(encoding="utf-8"))
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}
