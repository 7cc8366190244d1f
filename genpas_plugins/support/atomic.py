"""Output that is complete under its final name or does not exist."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

# tempfile and shutil load hashes and three compressions, so the functions import them.


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file name. It becomes `path` if the block succeeds and vanishes if it fails.

    A kill leaves the temporary file. `clear_temporary_files` removes it.
    """
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        if sys.platform == "win32":
            os.close(handle)  # Windows renames no open file
        else:
            fcntl.flock(handle, fcntl.LOCK_EX)  # the system releases it when the process ends
        temporary.chmod(0o644)
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        if sys.platform != "win32":
            os.close(handle)


def clear_temporary_files(folder: Path, suffix: str) -> None:
    """Remove what killed processes left in `folder` of files with this suffix. A file that is being written stays."""
    if sys.platform == "win32" or not suffix:  # without a suffix other programs' hidden files would look alike
        return
    left = re.compile(rf"\..+{re.escape(suffix)}\.[a-z0-9_]{{8}}")  # the names that `tempfile` makes
    for file in folder.iterdir():
        if not left.fullmatch(file.name) or not file.is_file():
            continue
        try:
            with file.open("rb") as opened:
                if opened.read(1):  # an empty one may be new, and not locked yet
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    file.unlink()
        except OSError:  # another process writes or removes it
            continue


def write_text(file: Path, text: str) -> None:
    """Write a text file atomically."""
    with replace_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replace_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory. It becomes `path` if the block succeeds and vanishes if it fails.

    A kill leaves an old directory at `path` or the new one. See `exchange_directory`.
    """
    import shutil
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        exchange_directory(temporary, path)
        shutil.rmtree(temporary, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def exchange_directory(new: Path, path: Path) -> None:
    """Exchange the directories `new` and `path`. `path` may be missing.

    The files are on disk before. On Linux the exchange is one step: there is no moment without a directory at `path`.
    Elsewhere a kill between two renames leaves the old directory as `NEW.old`.
    """
    if not path.exists():
        new.rename(path)
        return
    for file in new.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    if not _exchanged(new, path):
        aside = new.with_name(f"{new.name}.old")
        path.rename(aside)
        try:
            new.rename(path)
        except BaseException:
            aside.rename(path)
            raise
        aside.rename(new)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names by Linux's renameat2; return whether the system can."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)
