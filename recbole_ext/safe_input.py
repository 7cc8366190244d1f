"""RecBole reads settings as plain values: neither a file nor a text can run code.

Stock RecBole evaluates text as Python, reads YAML with a loader that makes objects and unpickles saved data. This
module prevents all three with or without a section of ours.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from recbole.config import Config
from recbole.model.context_aware_recommender import kd_dagfm
from torch import nn

from genpas_plugins.settings.yaml_text import loader, read_yaml
from genpas_plugins.support.errors import InputError
from recbole_ext.genpas_key import Mistake

PICKLES = ("save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path")
"""Settings by which RecBole writes and reads pickles."""


class NotPlain(InputError, NameError):
    """Text that is not a plain value. RecBole's Config expects the NameError of `eval`."""


class Loader(loader()):  # type: ignore[misc]
    """The YAML loader. RecBole keeps it in the pickled Config of workers and so it needs a name."""


def check(config: Config) -> Iterator[Mistake]:
    """Yield settings that ask for a pickle."""
    for key in PICKLES:
        if config[key]:
            yield [key], f"{key} is refused. {_WHY} Remove the key."


def refuse_pickle(*_: Any) -> NoReturn:
    """Raise InputError in place of RecBole's functions that write a pickle."""
    raise InputError(f"RecBole would save data as a pickle. {_WHY}")


_WHY = "A pickle runs code when it is read, and reading the .inter file again gives the same data."


def yaml_settings(_: Config, files: Sequence[str | Path] | None) -> dict[str, Any]:
    """Return the settings of YAML files. Later files override earlier ones. Raises InputError without settings."""
    merged: dict[str, Any] = {}
    for file in files or ():
        content = read_yaml(Path(file), "--config").content
        if not isinstance(content, dict):
            raise InputError(f"{file} has no settings, such as `epochs: 10`. Add one or leave the file out.")
        merged |= content
    return merged


def literal(text: str) -> Any:
    """Return the value of a Python literal. Raises NotPlain for other text; a Config then takes the text itself.

    Examples
    --------
    >>> literal("[1, 'NDCG', None]")
    [1, 'NDCG', None]
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise NotPlain(f"{text!r} is not a number, quoted text, list or other plain value.") from error


def numbers(file: str | Path, **_: Any) -> Any:
    """Return the array of a .npy file. Raises InputError if it holds Python objects."""
    try:
        return np.load(file, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{file} is not an array of numbers ({error}). Save one with numpy.save.") from error


def teacher(name: str) -> Any:
    """Return the class of KD_DAGFM's teacher. Raises InputError for a name that is not a network's."""
    kinds = {
        key: kind for key, kind in vars(kd_dagfm).items() if isinstance(kind, type) and issubclass(kind, nn.Module)
    }
    if name not in kinds:
        raise InputError(f"teacher is {name!r}. Give the name of a network, such as CrossNet.")
    return kinds[name]
