"""Figures of recommended lists against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.beyond_accuracy import beyond_accuracy


@given(
    st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=2), min_size=1),
    st.lists(st.integers(1, 9), min_size=6, max_size=6),
)
def test_figures_are_their_definitions(lists: list[list[int]], counts: list[int]):
    found = beyond_accuracy(np.array(lists), np.array([0, *counts]))
    shown = [item for items in lists for item in items]
    often = [shown.count(item) for item in range(1, 7)]
    assert found["coverage"] == pytest.approx(len(set(shown)) / 6)
    assert found["gini"] == pytest.approx(sum(abs(a - b) for a in often for b in often) / (2 * 6 * len(shown)))
    assert found["novelty"] == pytest.approx(-sum(math.log2(counts[i - 1] / sum(counts)) for i in shown) / len(shown))
    assert found["popularity"] == pytest.approx(sum(counts[i - 1] for i in shown) / len(shown))
