"""Names of models and of the settings that a run reads. RecBole ignores any other key or misspelling."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import recbole
import recbole.data.transform
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.evaluator import metrics
from recbole.utils import argument_list, get_model, get_trainer

from genpas_plugins.settings.all_sections import SECTIONS, flat_keys
from genpas_plugins.settings.genpas import PREFIX, SECTION, GenPASConfig
from genpas_plugins.settings.yaml_text import key_lines
from genpas_plugins.support.errors import InputError, nearest
from recbole_ext.mask_history import KEY as MASK_HISTORY
from recbole_ext.models import MODELS

_KINDS = ("general", "training", "evaluation", "dataset")

_DERIVED = ("MODEL_TYPE", "MODEL_INPUT_TYPE", "device", "eval_type", "single_spec")
"""Keys that RecBole sets itself, whatever the user wrote."""

_READ = re.compile(r"""\bconfig\[\s*["'](\w+)["']\s*\]""")


def model_names() -> list[str]:
    """Return the names of RecBole's models and of ours."""
    files = (Path(recbole.__file__).parent / "properties" / "model").glob("*.yaml")
    return sorted({*(file.stem for file in files), *MODELS})


def check_model(model: str) -> None:
    """Raise InputError for a model that RecBole does not have or cannot import."""
    names = model_names()
    try:
        get_model(model)
    except (ValueError, AttributeError, ImportError) as error:
        # RecBole looks for a model in its optional packages last, and fails on the first missing one.
        if model in names and isinstance(error, ImportError):
            raise InputError(f"{model} needs {error.name}, which is not installed.") from error
        same = [name for name in names if name.lower() == model.lower()]
        near = f" Did you mean {same[0]!r}?" if same else nearest(model, names).partition(" Valid:")[0]
        raise InputError(
            f"RecBole has no model {model!r}.{near} Names are written as in SASRec, GRU4Rec, BERT4Rec."
        ) from error


def defaults(model: str, dataset: str) -> dict[str, Any]:
    """Return RecBole's defaults for a model and a data set. No device is looked for."""
    config = Config.__new__(Config)
    config._init_parameters_category()
    config.yaml_loader = config._build_yaml_loader()
    config._load_internal_config_dict(model, get_model(model), dataset)
    return dict(config.internal_config_dict)


def known_settings(model: str, dataset: str = "", *, transform: bool = False) -> set[str]:
    """Return the names of all settings that a run reads except SECTIONS.

    A setting is known if it has a default or is in RecBole's argument lists. It is also known if the source of the
    model, its trainer, the dataset or the metrics reads `config["…"]`.

    Parameters
    ----------
    model, dataset : names as for RecBole
    transform : whether the user sets a transform; the settings of RecBole's transforms are then known too
    """
    internal, kind = defaults(model, dataset), get_model(model)
    code = [sys.modules[kind.__module__], *kind.__mro__, *get_trainer(kind.type, model).__mro__, Dataset, metrics]
    code += [recbole.data.transform] if transform or internal.get("transform") else []
    read = chain.from_iterable(_READ.findall(inspect.getsource(part)) for part in code if _is_ours_or_recboles(part))
    listed = chain.from_iterable(getattr(argument_list, f"{name}_arguments") for name in _KINDS)
    return {*internal, *read, *listed, "model", "dataset", MASK_HISTORY} - {*SECTIONS, *_DERIVED}


def check_settings(
    model: str, dataset: str, config_files: Sequence[Path] = (), command_line: Collection[str] = ()
) -> None:
    """Raise InputError with file and line for a key that no code reads."""
    given = [(key, "the command line") for key in command_line]
    for file in config_files:
        lines = key_lines(file)
        if not lines or not isinstance(next(iter(lines))[0], str):
            raise InputError(f"{file} has no settings, such as `epochs: 10`. Add one or leave the file out.")
        given += [(path[0], f"{file}, line {line}") for path, line in lines.items() if len(path) == 1]
    known = known_settings(model, dataset, transform="transform" in dict(given))
    for key, place in given:
        _check(str(key), place, model, known)


def unknown(key: str, model: str, known: Collection[str]) -> str:
    """Return the sentence about an unknown key with the nearest known key."""
    near = nearest(key, sorted(known)).partition(" Valid:")[0]  # not all 100 of them
    return f"Neither RecBole nor {model} has a setting {key!r}.{near} Correct it or leave it out."


def _check(key: str, place: str, model: str, known: Collection[str]) -> None:
    ours = [*SECTIONS, *flat_keys()]
    if key in known or key in ours:
        return
    if key in GenPASConfig.model_fields:
        raise InputError(f"{place}: {key} belongs inside the {SECTION} key, or is written {PREFIX}{key}.")
    sentence = unknown(key, model, {*known, *ours})
    raise InputError(f"{place}: {sentence[0].lower()}{sentence[1:]}")


def _is_ours_or_recboles(code: Any) -> bool:
    module = code.__name__ if inspect.ismodule(code) else code.__module__
    return str(module).split(".")[0] in ("recbole", __name__.split(".")[0])
