"""From a frame to a chosen policy in ten lines of Python, as a user writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genpas_plugins import SamplingPolicy


def test_from_a_frame_to_a_chosen_policy(tmp_path: Path):
    pd = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"user": random.integers(0, 40, 600), "item": random.integers(0, 30, 600), "time": range(600)})
    # ten lines
    from genpas_plugins.analysis import analyze
    from genpas_plugins.data.prepare.build import build_store
    from genpas_plugins.search import Criteria, Grid, optimum, shortlist

    frame.to_parquet(tmp_path / "log.parquet")
    store = build_store(tmp_path / "log.parquet", tmp_path / "store", user="user", item="item", order="time")
    split = store.leave_last_out()
    report = analyze(split, [SamplingPolicy.named("multi_target"), SamplingPolicy(1, 0, 0)])
    criteria = Criteria.of(split.train, split.validation)
    found = shortlist(criteria, Grid())
    between = optimum(criteria, Grid(), found)
    # to here
    assert list(report["kl"]["test"]) == ["multi_target", "1,0,0"]
    assert found.ranked[0].kl <= found.kl_cut
    assert between.nearest is not None and between.nearest.kl <= min(row.kl for row in found.ranked) + 1e-12
