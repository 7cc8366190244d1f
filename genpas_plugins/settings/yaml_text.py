"""YAML as every file and every command line of this library reads it: checked files, scalars, `key=value`."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genpas_plugins.support.errors import InputError

_SETTING = re.compile(r"(?:--)?([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_HOW = "write a setting of RecBole's as --key=value, key=value or --set key=value"


def check_yaml(file: Path) -> None:
    """Raise InputError if a configuration file does not exist or is not YAML, naming the line."""
    if not file.is_file():
        raise InputError(f"{file} does not exist; check the path after --config.")
    if importlib.util.find_spec("yaml") is None:
        return  # RecBole is not installed either, and that is said next
    import yaml

    try:
        yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{file}{line}: this is not YAML: {error.problem}.") from error


def parse_settings(arguments: Sequence[str], program: str = "genpas train", how: str = _HOW) -> dict[str, Any]:
    """Turn `key=value` and `--key=value` into a dictionary, values read as YAML.

    Python's None is null and a number may be written 1e-3, as on RecBole's own command line; text that is not YAML, as
    the interval [5,inf), stays text. Raises InputError for an argument of another form, a key given twice with
    different values, and for model and dataset, which have options of their own.

    >>> parse_settings(["--learning_rate=1e-3", "metrics=[Recall, NDCG]", "--train_neg_sample_args=None"])
    {'learning_rate': 0.001, 'metrics': ['Recall', 'NDCG'], 'train_neg_sample_args': None}
    """
    parsed: dict[str, Any] = {}
    for argument in arguments:
        match = _SETTING.fullmatch(argument)
        if match is None:
            raise InputError(f"{argument!r} is no option of `{program}`; {how}.")
        key, value = match[1], read_scalar(match[2])
        if key in ("model", "dataset"):
            raise InputError(f"{argument!r}: write --{key} {match[2]}.")
        if key in parsed and parsed[key] != value:
            raise InputError(f"{key} is given as {parsed[key]!r} and as {value!r}; keep one of the two.")
        parsed[key] = value
    return parsed


def read_scalar(text: str) -> Any:
    """Return the value that `text` stands for in YAML, the text itself where it is not YAML. Nothing is evaluated."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no annotations
        """Safe YAML with the numbers and the null that RecBole's command line knows."""

    # YAML 1.1 reads 1e-3 as text, and wants a dot before inf.
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*[eE][-+]?\d+|inf)$"), list("-+0123456789i")
    )
    Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("None$"), ["N"])
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError:
        return text
