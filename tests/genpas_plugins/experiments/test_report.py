"""The report of a table: what is varied, groups and plots, from the results of rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from genpas_plugins.experiments.columns import Column, columns, place_text, spread
from genpas_plugins.experiments.plots import along_curves, save, validation_curves
from genpas_plugins.experiments.report import grid, note, section, summary
from genpas_plugins.experiments.results import CellResult
from genpas_plugins.experiments.rows import RowResult, Spread, of_group
from genpas_plugins.experiments.table import Point, Table, read_table
from genpas_plugins.support.run_result import RunResult, TestResult, Validation

SHARES = (0.01, 0.1, 1.0)
TABLE = """
model: SASRec
rows: [multi_target, '1,0,0']
epochs: 2
along: {name: share of the users, points: [{genpas_train_users: 0.01}, {genpas_train_users: 0.1},
        {genpas_train_users: 1.0}]}
"""

Make = Callable[..., Table]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return make(text), which reads a table."""

    def read(text: str = TABLE) -> Table:
        (tmp_path / "t.yaml").write_text(text)
        return read_table(tmp_path / "t.yaml")

    return read


GROUPS = {"popularity": {"G1": 10, "G3": 30}}


def cell(ndcg: float, *, seconds: float = 3, groups: dict[str, dict[str, int]] | None = None) -> CellResult:
    """Return a tested cell: unmasked figures are half of the masked ones, and groups have those of all users."""
    curve = tuple(Validation(pairs, 1.0, ndcg * pairs / 2000) for pairs in (1000, 2000))
    run = RunResult(ndcg, 2000, seconds, curve, {"kl_validation": 0.25}, "x.pth", "cpu")
    test = {"masked": {"ndcg@10": ndcg}, "unmasked": {"ndcg@10": ndcg / 2}}
    of_groups = {
        protocol: {kind: {g: {"n": n, **figures} for g, n in named.items()} for kind, named in (groups or {}).items()}
        for protocol, figures in test.items()
    }
    return CellResult(run, {}, TestResult({p: {**f, "recall@10": 0.5} for p, f in test.items()}, of_groups))


def values(method: str, at: Point, ndcg: float | None, **more: Any) -> RowResult:
    """Return a row of two seeds around a test figure, None for what was not run."""
    seeds = {} if ndcg is None else {1: cell(ndcg - 0.005, **more), 2: cell(ndcg + 0.005, **more)}
    return RowResult(method, at, {(): seeds.get(1)}, () if seeds else None, seeds, {})


def rows_of(table: Table) -> list[RowResult]:
    """Return rows that rise along the points, the last of all not run."""
    rows = [
        values(row.label, point, 0.02 * (place + 1) + 0.01 * number)
        for place, point in enumerate(table.points)
        for number, row in enumerate(table.rows)
    ]
    return [*rows[:-1], values(rows[-1].method, rows[-1].at, None)]


def test_what_is_varied_is_a_table_of_methods_and_points(make: Make):
    table = make()
    text = section("beauty", rows_of(table), table)
    masked, unmasked, rest = text.split("Test NDCG@10, ")[1], text.split("Test NDCG@10, ")[2], text.split("| seeds |")
    assert "| method | share of the users 0.01 | share of the users 0.1 | share of the users 1.0 |" in masked
    assert "| multi_target | 0.0200 ± 0.0071 | 0.0400 ± 0.0071 | 0.0600 ± 0.0071 |" in masked
    assert "| 1,0,0 | 0.0300 ± 0.0071 | 0.0500 ± 0.0071 | not run |" in masked
    assert "| multi_target | 0.0100 ± 0.0035 | 0.0200 ± 0.0035 | 0.0300 ± 0.0035 |" in unmasked
    assert rest[0].endswith("| method | share of the users ") and text.count("| 1,0,0 | 1.0 | – | not run |") == 1
    # All rows of a point stand before the next one's.
    lines = [line for line in text.splitlines() if re.match(r"\| \S+ \| [\d.]+ \|", line)]
    assert [line.split(" | ")[1] for line in lines] == [str(s) for s in SHARES for _ in range(2)]


def test_one_point_is_not_compared_with_itself(make: Make):
    table = make(re.sub(r"points: \[.*\]\}", "points: [{genpas_train_users: 0.9}]}", TABLE, flags=re.DOTALL))
    text = section("beauty", rows_of(table), table)
    assert "by share of the users" not in text and "| multi_target | 0.9 |" in text


def test_groups_are_spread_over_the_seeds():
    users = [{"users": {"unseen": n}} for n in (4, 6)]
    cells = {seed: cell(0.2 * (seed + 1), groups={**GROUPS, **users[seed]}) for seed in (0, 1)}
    row = RowResult("x", (), {}, (), cells, {})
    assert row.groups == {"popularity": ["G1", "G3"], "users": ["unseen"]}
    assert row.spread(of_group("popularity", "G3", "unmasked", "NDCG@10")) == spread_of(0.1, 0.2)
    assert row.spread(of_group("users", "unseen")) == (5, pytest.approx(2**0.5))
    assert RowResult("x", (), {}, None, {}, {}).groups == {}


def test_groups_that_some_seed_lacks_are_left_out():
    one, both = {"popularity": {"G3": 30}}, GROUPS
    given = [cell(0.5, groups=groups) for groups in (both, None, one)]
    assert RowResult("x", (), {}, (), {1: given[0], 2: given[1]}, {}).groups == {}
    assert RowResult("x", (), {}, (), {1: given[0], 2: given[2]}, {}).groups == {"popularity": ["G3"]}


def spread_of(*given: float) -> Spread:
    return Spread(pytest.approx(np.mean(given)), pytest.approx(np.std(given, ddof=1)))


def test_groups_are_tables_and_nothing_where_there_are_none(make: Make):
    table = make("model: SASRec\nrows: [multi_target, '1,0,0', last_target]\nepochs: 2\n")
    kinds = {**GROUPS, "users": {"seen": 2000}}
    rows = [values("multi_target", (), 0.2, groups=kinds), values("1,0,0", (), 0.1), values("last_target", (), None)]
    popularity, users = section("beauty", rows, table).split("By popularity of the target")[1].split("Users seen and")
    assert "| method | G1 users | G1 masked | G1 unmasked | G3 users | G3 masked | G3 unmasked |" in popularity
    figures = "0.2000 ± 0.0071 | 0.1000 ± 0.0035"
    assert f"| multi_target | 10 | {figures} | 30 | {figures} |" in popularity
    assert "| 1,0,0 |" not in popularity
    assert f"| multi_target | 2,000 | {figures} |" in users
    without = section("beauty", rows[1:], table)
    assert "popularity" not in without and "seen in training" not in without


def test_curves_are_spread_where_all_seeds_have_a_figure():
    def trained(*pairs: int, factor: float) -> CellResult:
        curve = tuple(Validation(at, 1.0, at * factor) for at in pairs)
        return CellResult(RunResult(0, 0, 0, curve, {}, "", ""), {})

    one, two = trained(10, 20, factor=0.01), trained(20, 30, factor=0.02)
    assert RowResult("x", (), {}, (), {1: one, 2: two}, {}).curve == [(20, spread_of(0.2, 0.4))]
    assert [spread.sd for _, spread in RowResult("x", (), {}, (), {1: one}, {}).curve] == [None, None]
    assert RowResult("x", (), {}, None, {}, {}).curve == []


def test_a_new_column_is_one_line(make: Make):
    table = make("model: SASRec\nrows: [multi_target]\nepochs: 2\n")
    rows = [values("multi_target", (), 0.2, seconds=6), values("1,0,0", (), None)]
    shown = [*columns(table, rows), Column("minutes", spread(lambda cell: cell.run.seconds / 60), digits=1)]
    head, first, second = grid(rows, shown)
    assert (head[-1], first[-1], second[-1]) == ("minutes", "0.1 ± 0.0", "not run")
    assert (
        dict(zip(head, first, strict=True))["KL"] == "0.2500"
        and dict(zip(head, first, strict=True))["pairs"] == "2,000"
    )


@pytest.mark.parametrize(
    ("trained_on", "shown"),
    [
        ({"strategy": "sampled"}, ["–", "–", "–", "–", "draws 1"]),
        (
            {
                "strategy": "sampled",
                "draws": 2,
                "pairs_per_epoch": 1000,
                "distinct_users": 40,
                "distinct_pairs": 900,
                "effective_targets": 999.6,
            },
            ["1,000", "40", "900", "1,000", "draws 2"],
        ),
        ({"strategy": "multi_target", "pairs_per_epoch": 1000, "draws": 2}, ["1,000", "–", "–", "–", "–"]),
        ({}, ["–"] * 5),
    ],
)
def test_a_table_says_what_an_epoch_trains_on_and_how_it_was_drawn(
    make: Make, trained_on: dict[str, Any], shown: list[str]
):
    one = cell(0.2)
    rows = [RowResult("x", (), {}, (), {1: replace(one, run=replace(one.run, trained_on=trained_on))}, {})]
    head, line = grid(rows, columns(make("model: SASRec\nrows: [multi_target]\nepochs: 2\n"), rows))
    heads = ["targets an epoch", "distinct users", "distinct pairs", "effective targets", "draws"]
    assert [dict(zip(head, line, strict=True))[name] for name in heads] == shown


def test_the_validation_plot_has_a_panel_a_point_and_a_line_a_row(make: Make):
    table = make()
    drawn = validation_curves("beauty", rows_of(table), table)
    assert [axis.get_title(loc="left") for axis in drawn.axes] == [f"share of the users {share}" for share in SHARES]
    assert [[line.get_label() for line in axis.get_lines()] for axis in drawn.axes] == [
        *([["multi_target", "1,0,0"]] * 2),
        ["multi_target"],
    ]
    assert drawn.axes[1].get_lines()[1].get_xydata().tolist() == [[1000, 0.025], [2000, 0.05]]
    band = drawn.axes[1].collections[1].get_paths()[0].vertices
    low, high = 0.025 - 0.005 / 2**0.5, 0.05 + 0.01 / 2**0.5
    assert (band[:, 1].min(), band[:, 1].max()) == (pytest.approx(low), pytest.approx(high))
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["multi_target", "1,0,0"]
    # One pair of scales for all panels, and nothing beyond their ends.
    assert len({(*axis.get_xlim(), *axis.get_ylim()) for axis in drawn.axes}) == 1
    for line in (line for axis in drawn.axes for line in axis.get_lines()):
        assert np.all(line.get_xydata() < (line.axes.get_xlim()[1], line.axes.get_ylim()[1]))
    # What has not been run at all has no panel.
    rows = [row for row in rows_of(table) if dict(row.at)["genpas_train_users"] != 0.1]
    early = [*rows, *(values(row.label, table.points[1], None) for row in table.rows)]
    titles = [axis.get_title(loc="left") for axis in validation_curves("beauty", early, table).axes]
    assert titles == ["share of the users 0.01", "share of the users 1.0"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_every_column_of_panels_has_its_axis_named(count: int, make: Make):
    points = ", ".join(f"{{hidden_size: {8 * k}}}" for k in range(1, count + 1))
    table = make(f"model: SASRec\nrows: [multi_target]\nepochs: 2\nalong: {{name: x, points: [{points}]}}\n")
    rows = [values("multi_target", point, 0.005) for point in table.points]
    axes = validation_curves("beauty", rows, table).axes
    assert len(axes) == count
    columns = max(axis.get_subplotspec().colspan.start for axis in axes) + 1
    named = [axis.get_subplotspec().colspan.start for axis in axes if axis.get_xlabel()]
    assert sorted(named) == list(range(columns)) and columns <= 3
    assert sum(bool(axis.get_ylabel()) for axis in axes) == -(-count // columns)


@pytest.mark.parametrize(
    ("key", "points", "scale", "places"),
    [
        ("genpas_train_users", [0.01, 0.1, 1.0], "log", [0.01, 0.1, 1.0]),
        ("hidden_size", [512, 64, 128], "linear", [64, 128, 512]),
        ("n_layers", [0, 1, 100], "linear", [0, 1, 100]),
        ("hidden_act", ["gelu", "relu", "swish"], "linear", [0, 1, 2]),
    ],
)
def test_the_plot_of_what_is_varied(key: str, points: list[Any], scale: str, places: list[float], make: Make):
    given = ", ".join(f"{{{key}: {point}}}" for point in points)
    table = make(f"model: SASRec\nrows: [multi_target, '1,0,0']\nepochs: 2\nalong: {{name: x, points: [{given}]}}\n")
    drawn = along_curves("beauty", rows_of(table), table)
    assert [axis.get_title(loc="left") for axis in drawn.axes] == ["masked", "unmasked"]
    for axis, factor in zip(drawn.axes, (1, 0.5), strict=True):
        first, second = axis.get_lines()
        words = key == "hidden_act"
        at = {x + 0.125 * words: y for x, y in first.get_xydata().tolist()}  # words: the two methods beside each other
        numbers = [0, 1, 2] if words else points
        assert at == {place: pytest.approx(0.02 * (k + 1) * factor) for k, place in enumerate(numbers)}
        assert list(at) == places and second.get_xdata().tolist() == [x + 0.125 * words for x in sorted(numbers[:2])]
        assert {line.get_linestyle() for line in (first, second)} == {"None" if words else "-"}
        assert axis.get_xlabel() == ("x (log)" if scale == "log" else "x")
        assert axis.get_xscale() == scale
        assert [text.get_text() for text in axis.get_xticklabels()] == [str(point) for point in points]


def test_operators_have_a_colour_and_strategies_a_panel(make: Make):
    methods = [f"'{strategy}{more}'" for strategy in ("1,0,0", "multi_target") for more in ("", "+insert", "+crop")]
    table = make(f"model: SASRec\nrows: [{', '.join(methods)}, last_target+crop]\nepochs: 2\n")
    rows = [values(row.label, (), 0.1) for row in table.rows]
    drawn = validation_curves("beauty", [*rows[:4], values("multi_target+insert", (), None), *rows[5:]], table)
    assert [axis.get_title(loc="left") for axis in drawn.axes] == ["1,0,0", "multi_target", "last_target"]
    looks = [{line.get_label(): line.get_color() for line in axis.get_lines()} for axis in drawn.axes]
    assert [list(look) for look in looks] == [
        ["nothing added", "+insert", "+crop"],
        ["nothing added", "+crop"],
        ["+crop"],
    ]
    assert all(looks[0].items() >= look.items() for look in looks) and len(set(looks[0].values())) == 3


def test_a_point_is_called_by_what_is_varied(make: Make):
    points = "[{hidden_size: 8, inner_size: 32}, {hidden_size: 16, inner_size: 64}]"
    table = make(f"model: SASRec\nrows: [multi_target]\nepochs: 2\nalong: {{name: width, points: {points}}}\n")
    point = table.points[0]
    assert place_text(point, table) == "width 8, inner_size 32"
    assert place_text(point, table, named=False) == "8, inner_size 32"
    assert place_text((), make("model: SASRec\nrows: [multi_target]\nepochs: 2\n")) == "–"


def test_the_grid_is_spoken_of_where_there_is_one(make: Make):
    text = "model: SASRec\nrows: [multi_target]\nepochs: 2\n"
    table = make(text)
    page = section("beauty", [values("multi_target", (), 0.1)], table)
    assert "setting" not in page + note(table) and "grid" not in page + note(table)
    assert "| method | seeds | validation NDCG@10 | masked NDCG@10 | masked Recall@10 | unmasked NDCG@10 |" in page
    table = make(f"{text}grid: [{{n_layers: 1}}, {{n_layers: 2}}]\n")
    tuning = dict(zip(table.grid, (cell(0.1), None), strict=True))
    row = replace(values("multi_target", (), 0.1), tuning=tuning, chosen=table.grid[0])
    page = section("beauty", [row], table)
    assert "| method | setting |" in page and "the same grid" in note(table)
    assert "| method | n_layers 1 | n_layers 2 |" in page and "| multi_target | 0.1000 | – |" in page


def test_the_terminal_shows_both_protocols(make: Make):
    table = make()
    rows = rows_of(table)
    rows[0] = replace(rows[0], published={"ndcg@10": 0.5})
    head, first, second, *_ = summary(rows, table)
    assert head[1:4] == ["share of the users", "seeds", "validation NDCG@10"]
    assert head[4:] == ["masked NDCG@10", "published NDCG@10", "unmasked NDCG@10", "seconds"]
    assert first == ["multi_target", "0.01", "1, 2", *["0.0200 ± 0.0071"] * 2, "0.5000", "0.0100 ± 0.0035", "3 ± 0"]
    assert second[5] == "–" and all(len(line) == len(head) for line in summary(rows, table))
    assert "published NDCG@10" not in summary(rows[1:], table)[0]


def test_many_rows_do_not_look_alike(make: Make):
    rows = ", ".join(f"'{k},0,0'" for k in range(18))  # as many as configs/experiment/operators.yaml has
    table = make(f"model: SASRec\nrows: [{rows}]\nepochs: 2\n")
    drawn = validation_curves("beauty", [values(row.label, (), 0.1) for row in table.rows], table)
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in drawn.axes[0].get_lines()]
    assert len(looks) == len(set(looks)) == 18


def test_a_plot_is_saved_as_the_same_bytes(make: Make, tmp_path: Path):
    table = make()
    for name in ("a", "b"):
        save(along_curves("beauty", rows_of(table), table), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
