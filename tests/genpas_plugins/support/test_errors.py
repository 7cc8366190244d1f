"""What counts as a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from genpas_plugins.support.errors import is_full_disk

FULL = Path("/dev/full")


@pytest.mark.parametrize("write", [lambda file: file.write(b"x" * 99_999), lambda file: np.save(file, np.ones(99_999))])
@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_a_short_write_is_a_full_disk(write):
    with pytest.raises(OSError, match=r"requested and|No space left") as raised, FULL.open("wb", buffering=0) as file:
        write(file)
    assert is_full_disk(raised.value)


@pytest.mark.parametrize(
    "error", [OSError("3 requested"), OSError(errno.ENOENT, "no"), ValueError("1 requested and 0 written")]
)
def test_another_error_is_not(error: Exception):
    assert not is_full_disk(error)
