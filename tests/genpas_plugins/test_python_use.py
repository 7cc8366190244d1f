"""From a frame to a chosen policy in ten lines of Python, as a user writes them."""

from __future__ import annotations

import numpy as np
import pytest


def test_from_a_frame_to_a_chosen_policy():
    pytest.importorskip("scipy")
    pd = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"user": random.integers(0, 40, 600), "item": random.integers(0, 30, 600), "time": range(600)})
    # ten lines
    from genpas_plugins import SamplingPolicy, SequenceStore
    from genpas_plugins.analysis import analyze
    from genpas_plugins.search import Criteria, Grid, optimum, shortlist

    store = SequenceStore.from_pandas(frame, user="user", item="item", order="time")
    split = store.leave_last_out()
    report = analyze(split, [SamplingPolicy.named("multi_target"), SamplingPolicy(1, 0, 0)])
    criteria = Criteria.of(split.train, split.validation)
    found = shortlist(criteria, Grid())
    between = optimum(criteria, Grid(), found)
    # to here
    assert list(report["kl"]["test"]) == ["multi_target", "1,0,0"]
    assert found.ranked[0].kl <= found.kl_cut
    assert between.nearest is not None and between.nearest.kl <= min(row.kl for row in found.ranked) + 1e-12
