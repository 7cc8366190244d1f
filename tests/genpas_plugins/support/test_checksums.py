import zlib
from pathlib import Path

import numpy as np
import pytest

from genpas_plugins.support import checksums
from genpas_plugins.support.checksums import array_crc32, file_crc32, json_crc32


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checksums, "_CHUNK", 7)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 20])
def test_checksums_do_not_depend_on_chunks(tmp_path: Path, size: int):
    array = np.arange(size, dtype=np.int32) * 70_001
    (tmp_path / "file").write_bytes(array.tobytes())
    assert file_crc32(tmp_path / "file") == array_crc32([array]) == zlib.crc32(array.tobytes())


def test_arrays_are_one_stream_of_bytes_in_row_order():
    one, other = np.arange(12).reshape(3, 4).T, np.arange(9.0)
    assert array_crc32([one, other]) == zlib.crc32(np.ascontiguousarray(one).tobytes() + other.tobytes())


def test_a_type_makes_checksums_of_other_types_equal():
    narrow = np.array([1, 2, -3], np.int16)
    assert array_crc32([narrow], "<i8") == array_crc32([narrow.astype(np.int64)])
    assert array_crc32([narrow]) != array_crc32([narrow], "<i8")


def test_the_order_of_keys_does_not_matter():
    assert json_crc32({"b": 1, "a": [2]}) == json_crc32({"a": [2], "b": 1}) == zlib.crc32(b'{"a": [2], "b": 1}')
