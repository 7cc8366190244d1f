"""The benchmark of the augmentations runs and names every operator."""

from __future__ import annotations

import pytest

from benchmarks import bench_augment
from genpas_plugins.augment import OPERATORS


def test_every_operator_is_measured(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("numba")
    bench_augment.main(batches=1, repeats=1)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert {row[1] for row in rows} == {"plain", *OPERATORS}
    assert len(rows) == 2 * (1 + 2 * len(OPERATORS))
    assert all(float(row[3]) > 0 for row in rows)
