"""Output that is complete under its final name, or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file name that becomes `path` when the block succeeds and vanishes when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        os.close(handle)
        temporary.chmod(0o644)
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replaced_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory that becomes `path` when the block succeeds and vanishes when it fails.

    A directory that stands at `path` is moved aside and put back if anything fails; only a kill between the two renames
    can leave it aside, whole, as `.NAME.old.…`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        if path.exists():
            _replace(path, temporary)
        else:
            temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _replace(path: Path, new: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    try:
        path.rename(aside / path.name)
        new.rename(path)
    except BaseException:
        if (aside / path.name).exists():
            (aside / path.name).rename(path)
        aside.rmdir()
        raise
    shutil.rmtree(aside)
