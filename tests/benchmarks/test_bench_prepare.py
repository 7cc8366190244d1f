"""The law of memory is found again in peaks that follow it."""

from __future__ import annotations

import pytest


def test_the_law_is_found():
    pytest.importorskip("typer")
    from benchmarks.bench_prepare import law

    shapes = [(1000, 10, "integers"), (5000, 10, "integers"), (1000, 700, "integers"), (1000, 10, "text")]
    records = [
        {
            "users": users,
            "items": items,
            "ids": ids,
            "peak_bytes": 50 + 30 * users + 20 * items + (ids == "text") * 9999,
        }
        for users, items, ids in shapes
    ]
    assert law(records) == pytest.approx((50, 30, 20))
