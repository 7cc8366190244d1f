"""The spread over orders of ties of a small store."""

from __future__ import annotations

import numpy as np

from benchmarks import tie_orders
from genpas_plugins import SamplingPolicy, SequenceStore


def test_orders_have_figures_and_ranks(medium: SequenceStore):
    times = np.zeros(medium.n_interactions, np.int64)
    tied = SequenceStore.from_arrays(
        medium.values, medium.offsets, n_items=medium.n_items, columns={"timestamp": times}
    )
    content = tie_orders.spread(tied, [SamplingPolicy(1, 0, 0), SamplingPolicy(0, 0, 0)])
    assert content["tied_last"] == 1 and 0 < content["same_test_item"] < 1
    for row in content["policies"].values():
        assert len(row["random"]) == tie_orders.ORDERS and set(row["ranks"]) <= {1, 2}
