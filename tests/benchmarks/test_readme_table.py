"""The table of the page of results of reproduced figures is that of the last result."""

from __future__ import annotations

import json

import pytest

from benchmarks.readme_table import BEGIN, END, PAGE, RESULT, lines, with_table
from genpas_plugins import InputError

SPREADS = {"NDCG@10": {"mean": 0.05432, "sd": None}, "Recall@10": {"mean": 0.08791, "sd": None}}
FIGURES = {f"{protocol} {name}": spread for protocol in ("masked", "unmasked") for name, spread in SPREADS.items()}
PUBLISHED = {"published NDCG@10": 0.0426, "published Recall@10": 0.0689}


def test_the_readme_has_the_last_result():
    readme = PAGE.read_text(encoding="utf-8")
    assert BEGIN in readme
    assert with_table(readme, json.loads(RESULT.read_text(encoding="utf-8"))) == readme


def test_a_readme_without_its_marks_is_refused():
    result = {"model": "SASRec", "datasets": {}}
    assert with_table(f"a\n{BEGIN}old{END}\nb\n", result).startswith(f"a\n{BEGIN}\n| test")
    for readme, told in {
        "a": "0 times",
        f"a\n{BEGIN}b": "0 times",
        f"a\n{END}b": "0 times",
        f"{BEGIN}a{BEGIN}{END}": "2 times",
        f"{BEGIN}a{END}b{END}": "2 times",
        f"{END}\n{BEGIN}": "before",
    }.items():
        with pytest.raises(InputError, match=told):
            with_table(readme, result)


def test_what_was_not_run_and_what_was_not_published():
    figures = [{**FIGURES, **PUBLISHED}, FIGURES, {**dict.fromkeys(FIGURES), **PUBLISHED}]
    rows = [{"method": "1,0,0", "seeds": [1], "figures": of_row} for of_row in figures]
    _, first, second = lines({"model": "SASRec", "datasets": {"toys": rows}})
    assert first == ["toys, 1,0,0", "1", ".0543 / .0879", ".0426 / .0689", ".0543 / .0879"]
    assert second[3] == "–"
