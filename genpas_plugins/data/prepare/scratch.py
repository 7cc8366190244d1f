"""A folder for the files of one preparation with columns that are written and read in pieces."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.errors import InputError, is_full_disk


class ScratchColumn:
    """An array [n] of one dtype in a file. Only the pieces in use are in memory."""

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self.path = path
        self.dtype = np.dtype(dtype)
        self._file = path.open("w+b", buffering=0)

    def write(self, first: int, values: AnyArray) -> None:
        """Write `values` from place `first` on."""
        self._file.seek(first * self.dtype.itemsize)
        data = memoryview(np.ascontiguousarray(values, dtype=self.dtype).tobytes())
        while data:  # an unbuffered file may take a part
            data = data[self._file.write(data) :]

    def read(self, first: int, stop: int) -> AnyArray:
        """Read the places `first` … `stop - 1`."""
        return np.fromfile(self.path, self.dtype, count=stop - first, offset=first * self.dtype.itemsize)

    def first(self, count: int) -> ScratchArray:
        """Return the first `count` places as an array."""
        return ScratchArray(self, count)

    def close(self) -> None:
        """Close the file; it stays on disk."""
        self._file.close()


class ScratchArray:
    """The first places of a column that are read by slices. A map of the file would fill memory with its pages."""

    def __init__(self, column: ScratchColumn, count: int) -> None:
        self.column, self.dtype, self.shape = column, column.dtype, (count,)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: slice) -> AnyArray:
        """Read a slice of step 1."""
        first, stop, _ = places.indices(len(self))
        return self.column.read(first, max(first, stop))


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` for this run alone. Folders of runs that were killed are removed."""
    from filelock import FileLock, Timeout

    prefix = f".{out.name}.build."
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.parent / f"{prefix}lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"Another run prepares {out}. Wait until it has ended, or choose another --out.") from None
    try:
        for old in out.parent.glob(f"{glob.escape(prefix)}*/"):
            shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=out.parent) as folder:
            yield Path(folder)
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise InputError(
            f"{out.parent} has no space left for {out.name}; free some or choose another --out."
        ) from error
    finally:
        # While the lock is held: a run that waits for the removed file finds that it has no name, and takes no lock.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
