"""The report: its figures, its sentences and its page, on a small store."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from genpas_plugins import InputError, SamplingPolicy, SequenceStore
from genpas_plugins.pages.analysis_html import render_page
from genpas_plugins.pages.analysis_report import build_report, write_report
from genpas_plugins.pages.findings import findings
from genpas_plugins.pages.verdict import verdict
from genpas_plugins.support.json_text import to_json

POLICIES = [*map(SamplingPolicy.named, ("last_target", "multi_target", "slide_window")), SamplingPolicy(1, 0, 0)]
FIGURES = [
    *("targets-cumulative", "targets-mean", "kl", "popularity", "agreement", "ratio"),
    *("history-length", "position-end", "position-start", "users"),
]


def random_store(users: int = 60, items: int = 40, seed: int = 3) -> SequenceStore:
    random = np.random.default_rng(seed)
    lengths = random.integers(3, 15, users)
    values = np.minimum(random.zipf(1.4, lengths.sum()), items)
    return SequenceStore.from_arrays(values, np.concatenate([[0], np.cumsum(lengths)]), n_items=items)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return build_report(random_store().leave_last_out(), POLICIES, name="a <small> store")


def svgs(page: str) -> dict[str, ET.Element]:
    found = (ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    return {svg.get("id", ""): svg for svg in found if svg.get("id")}


def test_every_figure_is_on_the_page_well_formed_and_described(report: dict[str, Any]):
    drawn = svgs(render_page(report))
    assert list(drawn) == FIGURES
    for name, svg in drawn.items():
        assert svg.get("role") == "img" and svg.get("viewBox")
        texts = {node.get("id"): node.text for node in svg.iter() if node.get("id")}
        assert texts[f"{name}-t"] and texts[f"{name}-d"]


def test_the_page_needs_no_network_and_no_script(report: dict[str, Any]):
    page = render_page(report).replace("http://www.w3.org/2000/svg", "")
    assert "http" not in page and "<script" not in page and "url(" not in page and "@import" not in page
    assert "a &lt;small&gt; store" in page and "<small> store" not in page
    assert not re.search(r"\bnan\b", page.casefold())


def test_equal_policies_are_taken_once():
    split = random_store().leave_last_out()
    made = build_report(split, [SamplingPolicy(1, 0, 0), SamplingPolicy(1.0, 0, 0)])
    assert list(made["policies"]) == ["1,0,0"]
    assert "agreement" not in svgs(render_page(made))


def test_the_coverage_is_counted_by_hand():
    """Training 1 2 and 2 3, tests 5 and 2: last_target trains on 2 and 3, so on one of the two items asked for."""
    split = SequenceStore.from_arrays([1, 2, 4, 5, 2, 3, 4, 2], [0, 4, 8]).leave_last_out()
    made = build_report(split, POLICIES[:1])
    assert made["coverage"]["last_target"] == {"items": 0.5, "requests": 0.5, "never_asked": 0.5}
    assert made["target_curves"]["rank"] == [1, 2, 3, 4, 5]
    assert made["target_curves"]["test"]["cumulative"] == [0.5, 1, 1, 1, 1]
    assert made["target_curves"]["last_target"]["cumulative"] == [0.5, 0.5, 0.5, 1, 1]


def test_the_sentences_name_the_best_and_the_worst(report: dict[str, Any]):
    told = findings(report)
    kl = report["kl"]["test"]
    best, worst = min(kl, key=kl.get), max(kl, key=kl.get)
    assert best in told[0].what and f"{kl[best]:.3f}" in told[0].what and f"{kl[worst]:.3f} for {worst}" in told[0].what
    assert all(finding.what.endswith(".") and finding.why.endswith(".") for finding in told)
    assert "nan" not in " ".join(finding.what for finding in told)


def test_the_verdict_names_the_choice_and_is_sure_only_if_the_interval_excludes_0(report: dict[str, Any]):
    figures = report["verdict"]
    assert figures["by"] == "transitions" and set(figures["predicted"]) == set(report["policies"])
    first = max(figures["predicted"], key=figures["predicted"].get)
    sure = figures["over_multi_target"]["low"] > 0
    assert figures["chosen"] == (first if sure else "multi_target")
    told = verdict({**figures, "chosen": first, "over_second": {"mean": 0.02, "low": 0.01, "high": 0.03}})
    assert told.choice == f"Train on {first}." and told.sure.startswith("Sure")
    told = verdict({**figures, "chosen": first, "over_second": {"mean": 0.02, "low": -0.01, "high": 0.05}})
    assert told.sure.startswith("Not sure: +0.0200 [-0.0100, +0.0500]")
    assert f"Train on {figures['chosen']}." in render_page(report)


def test_few_users_are_judged_by_kl():
    made = build_report(random_store(users=20).leave_last_out(), POLICIES)
    kl = made["kl"]["validation"]
    assert made["verdict"]["by"] == "kl" and made["verdict"]["chosen"] == min(kl, key=kl.get)
    assert "weak reason" in verdict(made["verdict"]).sure


def test_histories_are_drawn_beside_those_of_the_test(report: dict[str, Any]):
    store = random_store()
    lengths = np.diff(store.offsets) - 1
    assert report["evaluation"]["test_histogram"] == pytest.approx(np.bincount(lengths) / len(lengths))
    drawn = svgs(render_page(report))
    references = {
        name for name, svg in drawn.items() if any("ref" in (n.get("class") or "").split() for n in svg.iter())
    }
    assert {"history-length", "position-start"} < references and "position-end" not in references


def test_policies_that_tie_are_named_together_or_not_at_all():
    """Users of two training items have one pair, so all policies are equal; then one user has three."""
    equal = SequenceStore.from_arrays([1, 2, 3, 4, 2, 1, 4, 3], [0, 4, 8]).leave_last_out()
    told = findings(build_report(equal, [*POLICIES[:2], SamplingPolicy(1, 0, 0)]))
    text = " ".join(finding.what + finding.why for finding in told)
    assert told[0].what.startswith("Every policy trains on targets equally close")
    assert "against" not in text and "closest" not in text and "Validation" not in text
    split = SequenceStore.from_arrays([1, 2, 5, 3, 4, 2, 1, 4, 3], [0, 5, 9]).leave_last_out()
    whats = [
        finding.what for finding in findings(build_report(split, [*POLICIES[:2], SamplingPolicy(1, 0, -math.inf)]))
    ]
    assert any("multi_target and 1,0,-inf" in what for what in whats)


def test_json_holds_all_and_no_nan(report: dict[str, Any]):
    odd = {**report, "extra": {"a": math.inf, "b": math.nan}}
    read = json.loads(to_json(odd), parse_constant=pytest.fail)
    assert read["extra"] == {"a": "inf", "b": None}
    assert read["kl"]["test"].keys() == {"last_target", "multi_target", "slide_window", "1,0,0"}
    assert "last_target|1,0,0" in read["rank_difference"] and read["made"]["versions"]["numpy"]


def test_infinite_exponents_and_many_policies_are_drawn():
    points = [(0, math.inf, -math.inf), (1, 0, math.inf), *((a, b, 0) for a in range(3) for b in range(3))]
    made = build_report(random_store().leave_last_out(), [SamplingPolicy(*point) for point in points])
    assert list(svgs(render_page(made))) == FIGURES


def test_a_report_is_replaced_only_when_asked_and_nothing_else_is_touched(report: dict[str, Any], tmp_path: Path):
    out = tmp_path / "report"
    write_report(report, out)
    assert sorted(file.name for file in out.iterdir()) == ["report.html", "report.json"]
    with pytest.raises(InputError, match="--overwrite"):
        write_report(report, out)
    (out / "notes.txt").write_text("mine")
    (out / "report.html").write_text("old")
    write_report(report, out, overwrite=True)
    assert "<!doctype html>" in (out / "report.html").read_text() and (out / "notes.txt").read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["report"]


def test_an_empty_validation_set_is_said_before_anything_is_computed():
    split = SequenceStore.from_arrays([1, 2, 2, 1], [0, 2, 4]).leave_last_out()
    with pytest.raises(InputError, match="validation set is empty"):
        build_report(split, POLICIES)


MEASURE = """<!doctype html><body><script>
addEventListener('load', () => {
  const inner = document.querySelector('iframe').contentDocument, root = inner.documentElement
  const all = inner.querySelectorAll("svg,figure,table,li")
  const wide = [...all].filter(e => e.getBoundingClientRect().right > root.clientWidth + 1)
  const flat = [...inner.querySelectorAll('figure>svg')].filter(e => e.getBoundingClientRect().height < 40)
  document.title = [root.scrollWidth, root.clientWidth, wide.length, flat.length,
    inner.querySelectorAll('figure>svg').length]
})</script><iframe style="border:0;width:%dpx;height:900px" srcdoc="%s"></iframe>"""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="No chromium on PATH: the page is not rendered.")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_every_figure_without_sideways_scrolling_or_errors(
    width: int, report: dict[str, Any], tmp_path: Path
):
    """In a frame as wide as the screen, since a headless window cannot be narrower than 500 pixels."""
    page = tmp_path / "framed.html"
    escaped = render_page(report).replace("&", "&amp;").replace('"', "&quot;")
    page.write_text(MEASURE % (width, escaped), encoding="utf-8")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    done = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", *quiet, "--enable-logging=stderr"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=3000"),
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    title = re.search(r"<title>([\d,]+)</title>", done.stdout)
    assert title is not None, done.stderr[-2000:]
    scroll, client, too_wide, flat, figures = map(int, title[1].split(","))
    assert width - 20 <= client <= width and scroll <= client  # a scroll bar may take its part
    assert (too_wide, flat, figures) == (0, 0, len(FIGURES))
    assert "CONSOLE" not in done.stderr
