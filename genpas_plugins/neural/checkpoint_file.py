"""Files of tensors and plain values. Writing is atomic and reading runs no code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from genpas_plugins.support.atomic import clear_temporary_files, replace_file
from genpas_plugins.support.errors import InputError

T = TypeVar("T")

# What torch raises for files that are truncated, of another kind, or hold more than tensors and plain values.
_BROKEN = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, AttributeError, TypeError, ValueError)


def write(content: Any, file: str | Path) -> None:
    """Write tensors and plain values to `file` atomically.

    Temporary files that killed runs left in its folder are removed.
    """
    clear_temporary_files(Path(file).parent, Path(file).suffix)
    try:
        # To a stream: torch would write the temporary name into the file.
        with replace_file(Path(file)) as temporary, temporary.open("wb") as stream:
            torch.save(content, stream)
    except (OSError, RuntimeError) as error:
        # torch closes its archive after a failed write, and fails again.
        causes = (error, error.__cause__, error.__context__)
        failed = next((cause for cause in causes if isinstance(cause, OSError)), None)
        if failed is None:
            raise
        kept = "The earlier one is whole." if Path(file).exists() else "Nothing is left of it."
        raise InputError(
            f"The checkpoint {file} cannot be written ({failed.strerror or failed}). {kept} Free space or choose "
            "another folder."
        ) from error


def read(file: str | Path, made: Callable[[Any], T], *, advice: str, map_location: Any = None) -> T:
    """Read what `write` wrote and return it through `made`. `advice` ends an error's message."""
    path = Path(file)
    if not path.is_file():
        raise InputError(f"{path} does not exist: there is no checkpoint to load.")
    try:
        with path.open("rb") as stream:
            return made(torch.load(stream, map_location=map_location, weights_only=True))
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(
            f"{path} cannot be loaded safely: it is truncated, is not a checkpoint, or holds pickled objects. {advice}"
        ) from error
