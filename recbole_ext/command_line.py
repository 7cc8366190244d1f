"""What commands that run RecBole share: settings that it takes unchanged, and its errors as one sentence."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole.quick_start import quick_start
from torch.multiprocessing.spawn import ProcessRaisedException

from genpas_plugins.settings.yaml_text import read_yaml
from genpas_plugins.support.errors import InputError
from recbole_ext.known_settings import check_model, defaults

_OF_MODEL = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError, AssertionError)
"""What a model raises for settings that it or torch cannot use."""


class CommandLine(dict[str, Any]):
    """Sealed settings from a command line for RecBole's `config_dict`. Messages about them name `place`.

    Parameters
    ----------
    given : mapping
        Settings that the user wrote.
    made : mapping, optional
        Further settings of the command itself, not sealed; given ones win.
    """

    place = "the command line"

    def __init__(self, given: Mapping[str, Any], made: Mapping[str, Any] | None = None) -> None:
        super().__init__({**(made or {}), **sealed(given)})
        self.written = frozenset(given)


def sealed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that RecBole takes unchanged: it evaluates text as Python, so text is quoted."""
    return {key: repr(value) if isinstance(value, str) else value for key, value in settings.items()}


def recbole_run(model: str) -> Any:
    """Return RecBole's `run`. Raises InputError for a model that RecBole does not have."""
    check_model(model)
    return quick_start.run


@contextmanager
def config_errors() -> Iterator[None]:
    """Turn what RecBole's Config raises for settings into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, NotImplementedError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(f"RecBole refuses these settings: {error}") from error


@contextmanager
def model_errors(model: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Turn what the making of a model raises into an InputError that names settings of a wrong type."""
    try:
        yield
    except InputError:
        raise
    except _OF_MODEL as error:
        raise InputError(_refusal(error, model, settings)) from error


@contextmanager
def run_errors(model: str, files: Sequence[Path], overrides: Mapping[str, Any]) -> Iterator[None]:
    """Turn what a whole run raises for its settings or data into an InputError. Other errors stay.

    Parameters
    ----------
    model : str
        RecBole's name of the model.
    files : sequence of Path
        Configuration files.
    overrides : mapping
        Settings that win over the files.
    """
    try:
        yield
    except InputError:
        raise
    except ProcessRaisedException as error:  # its text holds the traceback of a process that RecBole started
        found = re.search(r"errors\.InputError: (.+)", str(error))
        if found:
            raise InputError(found[1]) from error
        raise
    except _OF_MODEL as error:
        frames = traceback.extract_tb(error.__traceback__)
        if _is_from_making(frames):
            settings: dict[str, Any] = {}
            for file in files:
                settings |= read_yaml(file).content
            raise InputError(_refusal(error, model, {**settings, **overrides})) from error
        folders = set(Path(frames[-1].filename).parts[:-1]) if frames else set()
        if (
            isinstance(error, ValueError | NotImplementedError)
            and "recbole" in folders
            and folders & {"config", "data"}
        ):
            hint = (
                " Add train_neg_sample_args: ~ to the configuration." if "train_neg_sample_args" in str(error) else ""
            )
            raise InputError(f"RecBole refuses these settings: {error}{hint}") from error
        raise


def _is_from_making(frames: traceback.StackSummary) -> bool:
    """Tell whether the making of a model raised an error."""
    models = ({"recbole", "model"}, {"recbole_ext", "models"})
    return any(
        frame.name == "__init__" and any(names <= set(Path(frame.filename).parts[:-1]) for names in models)
        for frame in frames
    )


def _refusal(error: BaseException, model: str, settings: Mapping[str, Any]) -> str:
    """Return the sentence about an error from making a model, with torch's first line only."""
    words = [
        f"{key} is {settings[key]!r}, where {default} would be usual"
        for key, default in defaults(model, "").items()
        if isinstance(default, int | float) and isinstance(settings.get(key), str) and not _is_number(settings[key])
    ]
    reason = str(error).strip().partition("\n")[0]
    if isinstance(error, LookupError) or not reason:
        reason = f"{type(error).__name__} {reason}".strip()
    return f"{model} refuses these settings: {'; '.join(words) or reason.rstrip('.')}."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
