"""Helpers of commands that run RecBole: quoted settings and short errors."""

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
from recbole_ext.known_settings import check_model

_READ = re.compile(r"""config\[["'](\w+)["']\]""")
"""A setting that a line of RecBole reads."""

_OF_MODEL = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError, AssertionError)
"""What a model raises for settings that it or torch cannot use."""


class CommandLine(dict[str, Any]):
    """Sealed settings from a command line for RecBole's `config_dict`. Messages about them name `place`.

    Parameters
    ----------
    given : settings that the user wrote
    made : further settings of the command itself, not sealed; given ones win
    """

    place = "the command line"

    def __init__(self, given: Mapping[str, Any], made: Mapping[str, Any] | None = None) -> None:
        super().__init__({**(made or {}), **seal(given)})
        self.written = frozenset(given)


def seal(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Quote text in settings because RecBole evaluates text as Python."""
    return {key: repr(value) if isinstance(value, str) else value for key, value in settings.items()}


def recbole_run(model: str) -> Any:
    """Return RecBole's `run`. Raises InputError for a model that RecBole does not have."""
    check_model(model)
    return quick_start.run


@contextmanager
def refusals(name: str = "RecBole") -> Iterator[None]:
    """Turn errors of RecBole's Config or of making the model `name` into InputError."""
    try:
        yield
    except InputError:
        raise
    except _OF_MODEL as error:
        raise InputError(f"{name} refuses these settings: {_reason(error)}.") from error


@contextmanager
def run_errors(model: str, files: Sequence[Path], overrides: Mapping[str, Any]) -> Iterator[None]:
    """Turn what a whole run raises for its settings or data into an InputError. Other errors stay.

    Parameters
    ----------
    model : RecBole's name of the model
    files : configuration files
    overrides : settings that win over the files
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
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _rooms(frame)]
        if any(frame.name == "__init__" and {"model", "models"} & _rooms(frame) for frame in frames):
            raise InputError(f"{model} refuses these settings: {_reason(error)}.") from error
        if not frames:
            raise
        last = frames[-1]
        read = sorted(set(_READ.findall(last.line or "")))
        if read or (_rooms(last) & {"config", "data"} and "recbole" in _rooms(last)):
            hint = (
                " Add train_neg_sample_args: ~ to the configuration." if "train_neg_sample_args" in str(error) else ""
            )
            about = f" of {' and '.join(read)}" if read else ""
            raise InputError(f"RecBole refuses these settings{about}: {_reason(error)}.{hint}") from error
        given = {key: value for file in files for key, value in (read_yaml(file).content or {}).items()} | dict(
            overrides
        )
        raise RuntimeError(
            f"RecBole failed in {Path(last.filename).name}, line {last.lineno}: {_reason(error)}. The settings were "
            f"{', '.join(f'{key}={value!r}' for key, value in given.items())}."
        ) from error


def _rooms(frame: traceback.FrameSummary) -> set[str]:
    """Return the folders of a frame's file inside RecBole or this package; the empty set for other code."""
    folders = Path(frame.filename).parts[:-1]
    roots = [place for place, folder in enumerate(folders) if folder in ("recbole", __name__.split(".")[0])]
    return set(folders[roots[-1] :]) if roots else set()


def _reason(error: BaseException) -> str:
    """Return the first line of an error. Its type is added where the text alone says little."""
    reason = str(error).strip().partition("\n")[0].rstrip(".!")
    clear = reason and isinstance(error, ValueError | NotImplementedError | RuntimeError)
    return reason if clear else f"{type(error).__name__} {reason}".strip()
