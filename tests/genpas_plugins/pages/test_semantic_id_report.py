"""The report of semantic IDs: its figures against counting by hand, and its page."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError
from genpas_plugins.pages.semantic_id_html import render_page
from genpas_plugins.pages.semantic_id_report import build_report, write_report
from genpas_plugins.semantic_ids.codebook import SemanticIds
from genpas_plugins.support.json_text import to_json


def random_ids(n: int = 80, levels: int = 3, codes: int = 5, seed: int = 0) -> SemanticIds:
    drawn = np.random.default_rng(seed).integers(codes, size=(n, levels))
    return SemanticIds.resolve(drawn, (codes,) * levels, item_ids=[f"i{k}" for k in range(n)])


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    ids = random_ids()
    return build_report(ids, [f"Title <{k}> & more" for k in range(ids.n_items)], name="a <small> shop")


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_the_tree_is_what_counting_prefixes_gives(n: int, levels: int, codes: int, seed: int):
    ids = random_ids(n, levels, codes, seed)
    made = build_report(ids)
    rows = [tuple(row) for row in ids.codes.tolist()]
    for level, tree in enumerate(made["tree"], start=1):
        items = Counter(row[:level] for row in rows)
        children = Counter(prefix[:-1] for prefix in items)
        assert tree["prefixes"] == len(children) and tree["nodes"] == len(items)
        assert tree["children_mean"] == pytest.approx(np.mean(list(children.values())))
        assert tree["children_max"] == max(children.values())
        assert tree["items_left"] == pytest.approx(np.mean([items[row[:level]] for row in rows]))
        assert tree["items_left_max"] == max(items.values())
        assert tree["shared"] == pytest.approx(np.mean([items[row[:level]] > 1 for row in rows]))
    assert made["tree"][levels - 1]["shared"] == pytest.approx(made["collision_rate"])
    assert len(made["tree"]) == len(made["levels"]) == levels + 1 and len(made["usage"]) == levels
    for level, counts in enumerate(made["usage"]):
        assert counts == sorted(np.bincount(ids.codes[:, level], minlength=codes).tolist(), reverse=True)


def test_collision_groups_and_prefixes_are_the_largest_with_their_items(report: dict[str, Any]):
    ids = random_ids()
    rows = [tuple(row[:3]) for row in ids.codes.tolist()]
    groups = Counter(rows)
    shown = report["collision_groups"]
    assert [group["items"] for group in shown] == [count for _, count in groups.most_common(8)]
    for group in shown:
        assert groups[tuple(group["codes"])] == group["items"]
        for example in group["examples"]:
            number = int(example["item"][1:])
            assert rows[number] == tuple(group["codes"]) and example["title"] == f"Title <{number}> & more"
    firsts = Counter(row[0] for row in rows)
    assert [prefix["items"] for prefix in report["prefixes"]] == sorted(firsts.values(), reverse=True)[:6]
    for prefix in report["prefixes"]:
        seconds = Counter(row[:2] for row in rows if row[0] == prefix["code"])
        assert [branch["items"] for branch in prefix["branches"]] == [n for _, n in seconds.most_common(3)]
        for branch in prefix["branches"]:
            assert all(list(rows[int(e["item"][1:])][:2]) == branch["codes"] for e in branch["examples"])
            assert len({e["item"] for e in branch["examples"]}) == min(4, branch["items"])


def test_ids_without_an_added_code_are_compared_whole():
    made = build_report(SemanticIds.of([[0, 1], [2, 0], [0, 0]]))
    assert made["compared_codes"] == 2 and made["collision_rate"] == 0 and made["collision_groups"] == []
    assert "These 2 codes name every item." in render_page(made)


@pytest.mark.parametrize("codes", [[[0]], [[0], [1], [2]], [[0, 0], [0, 1]]])
def test_small_catalogues_have_a_page(codes: list[list[int]]):
    assert "<svg" in render_page(build_report(SemanticIds.of(codes)))


def test_every_figure_is_well_formed_and_described(report: dict[str, Any]):
    svgs = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", render_page(report), re.DOTALL)]
    drawn = {svg.get("id"): svg for svg in svgs if svg.get("id")}
    assert list(drawn) == ["usage", "narrowing"]
    for name, svg in drawn.items():
        texts = {node.get("id"): node.text for node in svg.iter() if node.get("id")}
        assert svg.get("role") == "img" and texts[f"{name}-t"] and texts[f"{name}-d"]


def test_the_page_needs_no_network_and_escapes_what_it_is_told(report: dict[str, Any]):
    page = render_page(report).replace("http://www.w3.org/2000/svg", "")
    assert "http" not in page and "<script" not in page and "url(" not in page and "@import" not in page
    assert "a &lt;small&gt; shop" in page and "<small>" not in page
    assert "Title &lt;" in page and "Title <" not in page
    assert not re.search(r"\bnan\b", page.casefold())
    assert page.index('class="verdict"') < page.index('class="legend"') < page.index("<h2>")
    assert f"{report['distinct']:,} different rows for 80 items" in page


def test_report_and_page_are_written_beside_the_ids(report: dict[str, Any], tmp_path: Path):
    random_ids().save(tmp_path / "ids")
    write_report(report, tmp_path / "ids")
    assert (tmp_path / "ids" / "report.json").read_text() == to_json(report)
    assert json.loads(to_json(report))["n_items"] == 80
    assert (tmp_path / "ids" / "report.html").read_text() == render_page(report)
    assert SemanticIds.open(tmp_path / "ids").n_items == 80


def test_long_titles_are_cut_and_their_number_is_checked():
    ids = SemanticIds.of([[0], [1]])
    examples = build_report(ids, ["x" * 500, "y"])["prefixes"][0]["branches"][0]["examples"]
    assert len(examples[0]["title"]) == 120 and examples[0]["title"].endswith("…")
    with pytest.raises(InputError, match="1 titles for 2 items"):
        build_report(ids, ["x"])
