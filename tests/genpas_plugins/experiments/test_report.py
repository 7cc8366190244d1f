"""The report of `genpas reproduce`: what is varied, groups and plots, from rows of plain values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from genpas_plugins import InputError
from genpas_plugins.experiments.earlier_report import fits, read_report
from genpas_plugins.experiments.markdown import note, place_text, section, summary
from genpas_plugins.experiments.plots import along_curves, save, validation_curves
from genpas_plugins.experiments.rows import curve, groups
from genpas_plugins.experiments.table import Table, read_table

MEASURED = ["ndcg@10"]
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


def figure(mean: float, sd: float | None = 0.01) -> dict[str, float | None]:
    return {"mean": mean, "sd": sd}


def values(method: str, point: dict[str, Any], ndcg: float | None, **more: Any) -> dict[str, Any]:
    """Return a row as `row_values` does, of a test figure, None for what was not run."""
    run = ndcg is not None
    test = {"masked": {"ndcg@10": figure(ndcg or 0)}, "unmasked": {"ndcg@10": figure((ndcg or 0) / 2)}}
    shape = [{"pairs": pairs, "validation": figure((ndcg or 0) * pairs / 2000)} for pairs in (1000, 2000)]
    return {
        **{"method": method, "point": point, "chosen": {} if run else None, "seeds": [1, 2] if run else []},
        **{"validation": figure(ndcg) if ndcg is not None else None, "test": test if run else None, "published": {}},
        **{"pairs_seen": 2000 if run else None, "seconds": figure(3) if run else None, "tuning": []},
        **{"curve": shape if run else [], "groups": {}},
        **more,
    }


def rows_of(table: Table) -> list[dict[str, Any]]:
    """Return rows that rise along the points, the last of all not run."""
    rows = [
        values(row.label, dict(point), 0.02 * (place + 1) + 0.01 * number)
        for place, point in enumerate(table.points)
        for number, row in enumerate(table.rows)
    ]
    return [*rows[:-1], values(rows[-1]["method"], rows[-1]["point"], None)]


def test_what_is_varied_is_a_table_of_methods_and_points(make: Make):
    table = make()
    text = section("beauty", rows_of(table), table, MEASURED)
    masked, unmasked, rest = text.split("Test NDCG@10, ")[1], text.split("Test NDCG@10, ")[2], text.split("| seeds |")
    assert "| method | share of the users 0.01 | share of the users 0.1 | share of the users 1.0 |" in masked
    assert "| multi_target | 0.0200 ± 0.0100 | 0.0400 ± 0.0100 | 0.0600 ± 0.0100 |" in masked
    assert "| 1,0,0 | 0.0300 ± 0.0100 | 0.0500 ± 0.0100 | not run |" in masked
    assert "| multi_target | 0.0100 ± 0.0100 | 0.0200 ± 0.0100 | 0.0300 ± 0.0100 |" in unmasked
    assert rest[0].endswith("| method | share of the users ") and text.count("| 1,0,0 | 1.0 | – | not run |") == 1
    # All rows of a point stand before the next one's.
    lines = [line for line in text.splitlines() if re.match(r"\| \S+ \| [\d.]+ \|", line)]
    assert [line.split(" | ")[1] for line in lines] == [str(s) for s in SHARES for _ in range(2)]


def test_one_point_is_not_compared_with_itself(make: Make):
    table = make(re.sub(r"points: \[.*\]\}", "points: [{genpas_train_users: 0.9}]}", TABLE, flags=re.DOTALL))
    text = section("beauty", rows_of(table), table, MEASURED)
    assert "by share of the users" not in text and "| multi_target | 0.9 |" in text


def test_groups_are_spread_over_the_seeds():
    def result(ndcg: float) -> dict[str, Any]:
        of_group = {"G1": {"n": 10, "ndcg@10": ndcg}, "G3": {"n": 30, "ndcg@10": ndcg / 2}}
        users = {"unseen": {"n": 4 if ndcg < 0.3 else 6, "ndcg@10": ndcg}}
        return {"masked": {"popularity": of_group, "users": users}, "unmasked": {"popularity": of_group}}

    given = groups([result(0.2), result(0.4)])
    assert list(given) == ["popularity", "users"]
    spread = given["popularity"]["G3"]["unmasked"]
    assert spread["n"]["mean"] == 30 and spread["ndcg@10"]["mean"] == pytest.approx(0.15)
    assert spread["ndcg@10"]["sd"] == pytest.approx(np.std([0.1, 0.2], ddof=1))
    assert given["users"] == {"unseen": {"masked": {"n": {"mean": 5, "sd": 2**0.5}, "ndcg@10": spread_of(0.2, 0.4)}}}
    assert groups([]) == {}


def test_groups_that_some_seed_lacks_are_left_out():
    def result(*names: str) -> dict[str, Any]:
        return {"masked": {"popularity": {name: {"n": 10, "ndcg@10": 0.5} for name in names}}}

    assert groups([result("G1"), {}]) == {}
    assert list(groups([result("G1", "G3"), result("G3")])["popularity"]) == ["G3"]
    assert groups([{}]) == {}


def spread_of(*given: float) -> dict[str, Any]:
    return {"mean": pytest.approx(np.mean(given)), "sd": pytest.approx(np.std(given, ddof=1))}


def test_groups_are_tables_and_nothing_where_there_are_none(make: Make):
    table = make("model: SASRec\nrows: [multi_target, '1,0,0', last_target]\nepochs: 2\n")
    cells = {"n": figure(10, None), "ndcg@10": figure(0.25)}
    kinds = {
        "popularity": {"G1": {"masked": cells, "unmasked": cells}, "G3": {"masked": cells}},
        "users": {"seen": {"masked": {"n": figure(2000.4), "ndcg@10": figure(0.5)}}},
    }
    rows = [values("multi_target", {}, 0.2, groups=kinds), values("1,0,0", {}, 0.1), values("last_target", {}, None)]
    text = section("beauty", rows, table, MEASURED)
    popularity, users = text.split("By popularity of the target")[1].split("Users seen and not seen in training")
    assert "| method | G1 users | G1 masked | G1 unmasked | G3 users | G3 masked | G3 unmasked |" in popularity
    assert "| multi_target | 10 | 0.2500 ± 0.0100 | 0.2500 ± 0.0100 | 10 | 0.2500 ± 0.0100 | – |" in popularity
    assert "| 1,0,0 |" not in popularity
    assert "| multi_target | 2,000 | 0.5000 ± 0.0100 | – |" in users
    without = section("beauty", rows[1:], table, MEASURED)
    assert "popularity" not in without and "seen in training" not in without


def test_curves_are_spread_where_all_seeds_have_a_figure():
    one = [{"pairs": pairs, "seconds": 1.0, "validation_recall@5": pairs / 100} for pairs in (10, 20)]
    two = [{"pairs": pairs, "seconds": 1.0, "validation_recall@5": pairs / 50} for pairs in (20, 30)]
    assert curve([one, two], "Recall@5") == [{"pairs": 20, "validation": spread_of(0.2, 0.4)}]
    assert [point["validation"]["sd"] for point in curve([one], "Recall@5")] == [None, None]
    assert curve([], "Recall@5") == []


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
    assert (band[:, 1].min(), band[:, 1].max()) == (pytest.approx(0.015), pytest.approx(0.06))
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["multi_target", "1,0,0"]
    # One pair of scales for all panels, and nothing beyond their ends.
    assert len({(*axis.get_xlim(), *axis.get_ylim()) for axis in drawn.axes}) == 1
    for line in (line for axis in drawn.axes for line in axis.get_lines()):
        assert np.all(line.get_xydata() < (line.axes.get_xlim()[1], line.axes.get_ylim()[1]))
    # What has not been run at all has no panel.
    rows = [row for row in rows_of(table) if row["point"]["genpas_train_users"] != 0.1]
    early = [*rows, *(values(row.label, dict(table.points[1]), None) for row in table.rows)]
    titles = [axis.get_title(loc="left") for axis in validation_curves("beauty", early, table).axes]
    assert titles == ["share of the users 0.01", "share of the users 1.0"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_every_column_of_panels_has_its_axis_named(count: int, make: Make):
    points = ", ".join(f"{{hidden_size: {8 * k}}}" for k in range(1, count + 1))
    table = make(f"model: SASRec\nrows: [multi_target]\nepochs: 2\nalong: {{name: x, points: [{points}]}}\n")
    rows = [values("multi_target", dict(point), 0.0) for point in table.points]  # nought everywhere is a figure too
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
    rows = [values(row.label, {}, 0.1) for row in table.rows]
    drawn = validation_curves("beauty", [*rows[:4], values("multi_target+insert", {}, None), *rows[5:]], table)
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
    point = dict(table.points[0])
    assert place_text(point, table) == "width 8, inner_size 32"
    assert place_text(point, table, named=False) == "8, inner_size 32"
    assert place_text({}, make("model: SASRec\nrows: [multi_target]\nepochs: 2\n")) == "–"


def test_the_grid_is_spoken_of_where_there_is_one(make: Make):
    text = "model: SASRec\nrows: [multi_target]\nepochs: 2\n"
    table = make(text)
    page = section("beauty", [values("multi_target", {}, 0.1)], table, MEASURED)
    assert "setting" not in page + note(table) and "grid" not in page + note(table)
    assert "| method | seeds | validation NDCG@10 | masked NDCG@10 | unmasked NDCG@10 |" in page
    table = make(f"{text}grid: [{{n_layers: 1}}, {{n_layers: 2}}]\n")
    tuning = [{"settings": {"n_layers": k}, "validation": 0.1, "seconds": 1} for k in (1, 2)]
    row = values("multi_target", {}, 0.1, tuning=tuning)
    assert "| method | setting |" in section("beauty", [row], table, MEASURED) and "the same grid" in note(table)


def test_the_terminal_shows_both_protocols(make: Make):
    table = make()
    rows = rows_of(table)
    rows[0]["published"] = {"ndcg@10": 0.5}
    head, first, second, *_ = summary(rows, table)
    assert head[2:4] == ["seeds", "validation NDCG@10"]
    assert head[4:] == ["masked NDCG@10", "published", "unmasked NDCG@10", "seconds"]
    assert first == ["multi_target", "0.01", "1, 2", *["0.0200 ± 0.0100"] * 2, "0.5000", "0.0100 ± 0.0100", "3 ± 0"]
    assert second[5] == "–" and all(len(line) == len(head) for line in summary(rows, table))
    assert "published" not in summary(rows[1:], table)[0]


def test_many_rows_do_not_look_alike(make: Make):
    rows = ", ".join(f"'{k},0,0'" for k in range(18))  # as many as configs/reproduce/operators.yaml has
    table = make(f"model: SASRec\nrows: [{rows}]\nepochs: 2\n")
    drawn = validation_curves("beauty", [values(row.label, {}, 0.1) for row in table.rows], table)
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in drawn.axes[0].get_lines()]
    assert len(looks) == len(set(looks)) == 18


def written(of: Table, rows: Any, **more: Any) -> dict[str, Any]:
    head = {"table": "t.yaml", "model": "SASRec", "metric": "NDCG@10", "along": of.along and of.along.name}
    report = {**head, "seeds": [1], "pairs": {"beauty": 2000}, "datasets": {"beauty": rows}, **more}
    kept: dict[str, Any] = json.loads(json.dumps(report))
    return kept


def test_a_data_set_s_rows_are_kept_if_they_are_the_table_s(make: Make):
    table = make()
    rows = rows_of(table)
    assert fits(written(table, rows), "beauty", table, MEASURED)
    for head in ({"table": "u.yaml"}, {"model": "BERT"}, {"metric": "NDCG@5"}, {"along": None}, {"pairs": {}}):
        assert not fits(written(table, rows, **head), "beauty", table, MEASURED)
    lacking = [{key: value for key, value in row.items() if key != "groups"} for row in rows]
    for others in (rows[:-1], rows[::-1], [*rows, rows[0]], [], {}, None, "rows", [3] * 6, lacking):
        assert not fits(written(table, others), "beauty", table, MEASURED)
    assert not fits(written(table, rows), "beauty", table, ["ndcg@10", "recall@10"])
    renamed = [{**rows[0], "method": "last_target"}, *rows[1:]]
    moved = [{**rows[0], "point": {"genpas_train_users": 0.02}}, *rows[1:]]
    assert not any(fits(written(table, others), "beauty", table, MEASURED) for others in (renamed, moved))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"table": "t.yaml"}', "\xff", None])
def test_a_file_that_is_no_report_is_refused(text: str | None, make: Make, tmp_path: Path):
    file = tmp_path / "reproduction.json"
    assert read_report(file)["datasets"] == {}
    if text is None:
        file.mkdir()
    else:
        file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"reproduction\.json was not written by `genpas reproduce`; move it"):
        read_report(file)
    if file.is_file():
        table = make()
        file.write_text(json.dumps(written(table, [], datasets=[])))
        with pytest.raises(InputError, match="was not written by"):
            read_report(file)
        file.write_text(json.dumps(written(table, [])))
        assert read_report(file) == written(table, [])


def test_a_plot_is_saved_as_the_same_bytes(make: Make, tmp_path: Path):
    table = make()
    for name in ("a", "b"):
        save(along_curves("beauty", rows_of(table), table), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
