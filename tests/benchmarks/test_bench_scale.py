"""The benchmark of industrial scale runs whole on toy sizes, and shrinks to the disk."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_a_quick_run_builds_draws_and_compares(quick_run):
    pytest.importorskip("numba")
    content, text = quick_run("scale")
    sections = content["sections"]
    assert list(sections) == ["build", "use", "divergence"]
    assert [(record["backend"], record["cache"]) for record in sections["use"]] == [
        *(("numpy", "cold"), ("numpy", "warm"), ("numba", "cold"), ("numba", "warm"))
    ]
    assert sections["build"][0]["disk_bytes"] > 4 * 100_000 and sections["divergence"][0]["kl"] > 0
    assert len(content["goals"]) == 5 and all(goal["what"] in text for goal in content["goals"])


def test_the_shape_is_halved_until_it_fits():
    pytest.importorskip("typer")
    from benchmarks.bench_scale import INDUSTRIAL, fitting

    assert fitting(INDUSTRIAL, 20 * 10**9) == (INDUSTRIAL, 0)
    shape, halvings = fitting(INDUSTRIAL, 4 * 10**9)
    assert halvings == 2 and shape.interactions == INDUSTRIAL.interactions // 4 and shape.items == INDUSTRIAL.items
