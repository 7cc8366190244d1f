"""A folder for one run at a time. A second run is refused: files never mix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genpas_plugins.support.errors import InputError

LOCK = ".lock"  # an empty file that is never deleted. Its lock means that a run is at work, and ends with the run.


@contextmanager
def lock_folder(folder: Path, *, wait: float = 0) -> Iterator[None]:
    """Hold a folder for this process while the block runs. A missing folder is made.

    Parameters
    ----------
    folder : the folder to hold
    wait : seconds to wait for another process that holds the folder

    Raises
    ------
    InputError
        If another process holds the folder or it cannot be made or written to.
    """
    from filelock import FileLock, Timeout  # of the training extras, which core commands do without

    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait)
    except Timeout:
        raise InputError(
            f"{folder}: another run is at work in this folder. Wait until it has ended, end what a killed run left, "
            "such as a rank whose torchrun is gone, or choose another --out."
        ) from None
    except OSError as error:
        raise InputError(f"{folder} cannot be used as a folder ({error.strerror}). Choose another --out.") from error
    try:
        yield
    finally:
        lock.release()
