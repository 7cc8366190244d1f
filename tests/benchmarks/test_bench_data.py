from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest


def spread_is_sound(spread: dict[str, float]) -> bool:
    return 0 < spread["min"] <= spread["median"] <= spread["max"] < math.inf


@pytest.mark.slow
def test_a_quick_run_measures_everything_and_names_what_it_ran_on(quick_run: Callable[..., tuple[dict[str, Any], str]]):
    pytest.importorskip("recbole")
    pytest.importorskip("numba")
    content, text = quick_run("data")

    assert content["format"] == 1 and content["quick"] is True and content["threads"] == 1
    assert content["command"] == "python -m benchmarks.bench_data --quick"
    assert {"cpu", "machine", "cores", "memory_gib", "load_at_start"} == set(content["hardware"])
    assert {"python", "numpy", "numba", "torch", "recbole"} <= set(content["versions"])
    assert content["commit"] is None or content["commit"].rstrip("+").isalnum()
    assert content["date"].endswith("+00:00")
    assert "Beauty" in content["skipped"][0]

    sections = content["sections"]
    assert list(sections) == ["preparation", "iteration", "sampler", "large_store"]
    assert [record["kind"] for record in sections["preparation"]] == ["stock", "genpas"]
    # The same pairs: what stock materialises is what multi_target enumerates.
    assert len({record["training_pairs"] for record in sections["preparation"]}) == 1

    loaders = sections["iteration"][0]["loaders"]
    ours = itertools.product(("multi_target", "slide_window", "sampled 1,0,0"), ("numpy", "numba"))
    assert [(of["loader"], of["backend"]) for of in loaders] == [("stock", None), *ours]
    assert all(spread_is_sound(of["samples_per_s"]) for of in loaders)

    assert [(record["store"], record["backend"]) for record in sections["sampler"]] == [
        ("ml-20m shape", "numpy"),
        ("ml-20m shape", "numba"),
    ]
    for record in sections["sampler"]:
        assert {rate["layout"] for rate in record["rates"]} == {"padded", "jagged"}
        for rate in record["rates"]:
            assert all(spread_is_sound(rate[stage]) for stage in ("draw", "gather", "both", "memcpy"))

    used = [record for record in sections["large_store"] if record["step"] == "use"]
    assert {(record["store"], record["cache"]) for record in used} == {
        ("small", "warm"),
        ("large", "warm"),
        ("large", "cold"),
    }
    assert all(0 < record["imported_bytes"] <= record["beyond_file_bytes"] for record in used)

    assert len(content["goals"]) == 2 + 6 + 8
    for goal in content["goals"]:
        assert {"section", "what", "measured", "bound", "at_least", "unit", "met"} == set(goal)
        kept = goal["measured"] >= goal["bound"] if goal["at_least"] else goal["measured"] <= goal["bound"]
        assert goal["met"] is kept
        assert goal["what"] in text
