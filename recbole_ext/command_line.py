"""What commands that drive RecBole share: settings, its `run`, and its errors in one sentence."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from recbole.quick_start import quick_start

from recbole_ext.known_settings import check_model
from recbole_ext.run_one import REFUSALS, refusal


class CommandLine(dict[str, Any]):
    """Settings from a command line, for RecBole's `config_dict`: messages about them name `place`.

    made : settings beside them that nobody has written; given ones win
    """

    place = "the command line"

    def __init__(self, given: Mapping[str, Any], made: Mapping[str, Any] | None = None) -> None:
        super().__init__({**(made or {}), **given})
        self.written = frozenset(given)


def recbole_run(model: str) -> Any:
    """Return RecBole's `run`, GenPAS in it. Raises InputError for a model that RecBole does not have."""
    check_model(model)
    return quick_start.run


def is_about_settings(error: BaseException) -> bool:
    """Tell whether RecBole's configuration or its data code raised the error: these are the user's to mend."""
    frames = traceback.extract_tb(error.__traceback__)
    place = Path(frames[-1].filename).parts[:-1] if frames else ()
    return "recbole" in place and ("config" in place or "data" in place)


def is_from_making(error: BaseException) -> bool:
    """Tell whether the making of a model raised the error, in its own code or torch's."""
    frames = traceback.extract_tb(error.__traceback__)
    models = [("recbole", "model"), ("recbole_ext", "models")]
    made = any(
        frame.name == "__init__" and any(set(names) <= set(Path(frame.filename).parts[:-1]) for names in models)
        for frame in frames
    )
    return made and isinstance(error, REFUSALS)


def refusal_of(error: BaseException, model: str, files: Sequence[Path], overrides: Mapping[str, Any]) -> str:
    """Return the sentence about an error from making a model under the files' settings and those that overrule them."""
    given: dict[str, Any] = {}
    for file in files:
        given |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return refusal(error, model, {**given, **overrides})


def sealed(value: Any) -> Any:
    """Return a value that RecBole takes over unchanged: it evaluates text as Python, and quoted text gives itself."""
    return repr(value) if isinstance(value, str) else value
