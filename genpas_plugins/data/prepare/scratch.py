"""A column on disk that is written and read in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from genpas_plugins.support.array_types import AnyArray


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

    def mapped(self, count: int) -> AnyArray:
        """Map the first `count` places for reading."""
        if count == 0:
            return np.empty(0, self.dtype)
        return np.memmap(self.path, self.dtype, mode="r", shape=(count,)).view(np.ndarray)

    def close(self) -> None:
        """Close the file; it stays on disk."""
        self._file.close()
