"""A folder for one run at a time: a second one is refused instead of mixing its files with those of the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genpas_plugins.support.errors import InputError

LOCK = ".lock"
"""The empty file that stays behind: its lock, not its presence, says that a run is at work, and ends with the run."""


@contextmanager
def sole_use(folder: Path, *, wait: float = 0) -> Iterator[None]:
    """Hold a folder, made if it is not there, for this process while the block runs.

    wait : seconds that a process which holds it is given to let go

    Raises InputError where another process holds it, and where it cannot be made or written to.
    """
    from filelock import FileLock, Timeout  # of the training extras, which core commands do without

    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait)
    except Timeout:
        raise InputError(
            f"{folder}: another run is at work in this folder. Wait until it has ended, or choose another --out."
        ) from None
    except OSError as error:
        raise InputError(f"{folder} cannot be used as a folder ({error.strerror}). Choose another --out.") from error
    try:
        yield
    finally:
        lock.release()
