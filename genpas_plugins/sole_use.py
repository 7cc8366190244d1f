"""A folder for one run at a time: a second one is refused instead of mixing its files with those of the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genpas_plugins.errors import InputError

LOCK = ".lock"
"""The empty file that stays behind; the system frees its lock however a run ends."""


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Hold a folder, made if it is not there, for this process while the block runs.

    Raises InputError where another process holds it, and where a file stands in its place.
    """
    from filelock import FileLock, Timeout  # of the training extras, which core commands do without

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"{folder} is a file, where a directory is needed. Choose another --out.") from error
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(
            f"{folder}: another run is at work in this folder. Wait until it has ended, or choose another --out."
        ) from None
    try:
        yield
    finally:
        lock.release()
