"""`genpas reproduce`: what a table may say, where stores come from, and the budget of time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars
import pytest
from typer.testing import CliRunner

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.cli import app
from genpas_plugins.experiments import prepared_source, table_training
from genpas_plugins.experiments.cell import Cell
from genpas_plugins.experiments.stores import find_stores
from genpas_plugins.experiments.table import read_table
from genpas_plugins.experiments.table_training import Clock

SHIPPED = Path(__file__).parents[3] / "configs" / "reproduce" / "sasrec.yaml"

TABLE = """
model: SASRec
rows: [last_target, "1,0,0"]
epochs: 2
settings: {hidden_size: 8, topk: [5]}
grid: [{hidden_dropout_prob: 0.5}, {hidden_dropout_prob: 1e-1}]
published: {beauty: {last_target: {NDCG@10: 0.0124}}}
"""
PUBLISHED = TABLE.splitlines()[-1]

Write = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path) -> Write:
    """Return table(old, new), which writes TABLE with one text for another."""

    def write(old: str = "", new: str = "") -> Path:
        assert old in TABLE
        file = tmp_path / "table.yaml"
        file.write_text(TABLE.replace(old, new) if old else TABLE)
        return file

    return write


def quiet(step: str, done: int, total: int | None) -> None:
    pass


def test_a_table_is_read(table: Write):
    read = read_table(table())
    assert [row.label for row in read.rows] == ["last_target", "1,0,0"]
    assert {row.genpas.targets for row in read.rows} == {"single"}
    assert (read.model, read.epochs, read.pairs_per_epoch, read.metric) == ("SASRec", 2, None, "NDCG@10")
    assert read.grid == ((("hidden_dropout_prob", 0.5),), (("hidden_dropout_prob", 0.1),))
    assert read.published == {"beauty": {"last_target": {"ndcg@10": 0.0124}}}
    assert read_table(table("grid: [{hidden_dropout_prob: 0.5}, {hidden_dropout_prob: 1e-1}]", "")).grid == ((),)
    read = read_table(table("epochs: 2", "epochs: 3\npairs_per_epoch: 7\nmetric: recall@10\ntargets: parallel"))
    assert (read.epochs, read.pairs_per_epoch, read.metric) == (3, 7, "Recall@10")
    assert {row.genpas.targets for row in read.rows} == {"parallel"}


def test_a_table_may_vary_one_thing(table: Write):
    read = read_table(table())
    assert (read.along, read.points, read.datasets) == (None, ((),), ("beauty",))
    points = "[{genpas_train_users: 0.5, n_layers: 1}, {genpas_train_users: 1e-1, n_layers: 2}]"
    given = f"trim: true\ndatasets: [a, b]\nalong: {{name: share, points: {points}}}"
    read = read_table(table(PUBLISHED, given))
    assert read.along is not None and read.along.name == "share" and read.datasets == ("a", "b")
    assert read.points[1] == (("genpas_train_users", 0.1), ("n_layers", 2))
    assert read.recbole_keys == ["hidden_size", "topk", "hidden_dropout_prob", "n_layers"]
    assert {row.genpas.trim for row in read.rows} == {True}
    cell = Cell(read.rows[1], 3, (*read.points[1], *read.grid[0]))
    assert cell.name == "1,0,0.genpas_train_users=0.1,n_layers=2,hidden_dropout_prob=0.5.seed3"
    assert cell.recbole == {"n_layers": 2, "hidden_dropout_prob": 0.5}
    assert cell.sections["genpas"] == read.rows[1].genpas.replaced(train_users=0.1)


def test_a_row_keeps_what_its_file_says_where_the_table_says_nothing(table: Write, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("genpas: {strategy: multi_target, targets: parallel, trim: true}\n")
    rows = f'["{tmp_path}/mine.yaml", last_target]'
    read = read_table(table('[last_target, "1,0,0"]', rows))
    assert [(row.genpas.targets, row.genpas.trim) for row in read.rows] == [("parallel", True), ("single", False)]


@pytest.mark.parametrize(
    ("along", "told"),
    [
        ("3", "along must have keys"),
        ("{name: x, point: []}", "along has no key 'point'. Did you mean 'points'"),
        ("{points: [{n_layers: 1}]}", "along needs a name"),
        ("{name: '', points: [{n_layers: 1}]}", "along needs a name"),
        ("{name: x}", "along must be a list"),
        ("{name: x, points: []}", "along must be a list"),
        ("{name: x, points: [{}]}", "set nothing"),
        ("{name: x, points: [{n_layers: [1, 2]}]}", "point 1 of along: n_layers must be one value"),
        (
            "{name: x, points: [{n_layers: 1}, {n_heads: 1}]}",
            "sets 'n_heads', which the other points do not. Set",
        ),
        (
            "{name: x, points: [{n_layers: 1}, {n_layrs: 2}]}",
            "'n_layrs', which the other points do not. Did you mean 'n_l",
        ),
        ("{name: x, points: [{n_layrs: 1}, {n_layers: 2}, {n_layers: 3}]}", "point 1 of along sets 'n_layrs', which"),
        ("{name: x, points: [{n_layers: 1, n_heads: 1}, {n_layers: 2}]}", "point 2 of along does not set 'n_heads'"),
        ("{name: x, points: [{train_users: 0.5}]}", "Did you mean 'genpas_train_users'"),
        ("{name: x, points: [{n_layers: 1}, {n_layers: 1}]}", "a point of along is there twice"),
        ("{name: x, points: [{hidden_size: 16}]}", "hidden_size stands in settings and in along"),
        ("{name: x, points: [{hidden_dropout_prob: 0.3}]}", "hidden_dropout_prob stands in grid and in along"),
        ("{name: x, points: [{genpas_targets: single}]}", "genpas_targets stands in the table and in along"),
        ("{name: x, points: [{n_layers: 1, epochs: 3}]}", "along: epochs: the comparison"),
        ("{name: x, points: [{mixing_views: 1}]}", "along: mixing_views"),
        ("{name: x, points: [{genpas_alpha: 1}]}", "genpas_alpha is the rows' or the budget's to say"),
        ("{name: x, points: [{genpas_pairs_per_epoch: 9}]}", "genpas_pairs_per_epoch is the rows' or the budget's"),
        ("{name: x, points: [{genpas_train_user: 0.5}]}", "Did you mean 'train_users'"),
        ("{name: x, points: [{genpas_train_users: 1}, {genpas_train_users: 2}]}", "point 2 of along"),
    ],
)
def test_what_cannot_be_varied_is_refused(along: str, told: str, table: Write):
    with pytest.raises(InputError, match=r"table\.yaml: ") as error:
        read_table(table(PUBLISHED, f"targets: parallel\nalong: {along}\n"))
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("key", "own", "points"),
    [
        ("train_users", "0.5", (1.0, 0.1)),
        ("targets", "parallel", ("single", "parallel")),
        ("trim", "true", ("false", "true")),
        ("time_order", "stock", ("exact", "stock")),
    ],
)
def test_a_row_that_says_itself_what_is_varied_is_refused(
    key: str, own: str, points: tuple[Any, ...], table: Write, tmp_path: Path
):
    row = tmp_path / "mine.yaml"
    given = ", ".join(f"{{genpas_{key}: {value}}}" for value in points)
    file = table(PUBLISHED, f"along: {{name: x, points: [{given}]}}\n")
    file.write_text(file.read_text().replace("last_target", str(row)))
    row.write_text(f"genpas: {{strategy: multi_target, {key}: {own}}}\n")
    with pytest.raises(InputError, match=rf"table\.yaml: the row mine\.yaml sets genpas_{key}, and along varies it"):
        read_table(file)
    row.write_text(f"genpas: {{strategy: multi_target, {key}: {points[0]}}}\n")  # the default says nothing of its own
    assert len(read_table(file).points) == 2


def test_published_figures_are_of_one_point(table: Write):
    with pytest.raises(InputError, match="published figures are of one point"):
        read_table(table("epochs: 2", "epochs: 2\nalong: {name: x, points: [{n_layers: 1}, {n_layers: 2}]}"))
    read = read_table(table("epochs: 2", "epochs: 2\nalong: {name: x, points: [{n_layers: 1}]}"))
    assert read.published == {"beauty": {"last_target": {"ndcg@10": 0.0124}}}


def test_the_shipped_tables_have_one_budget_and_the_rows_of_the_paper():
    tables = {file.stem: read_table(file) for file in SHIPPED.parent.glob("*.yaml")}
    varied = {"data_efficiency", "parameter_efficiency", "inductive", "targets"}
    assert tables.keys() == {"sasrec", "budget", "operators", *varied}
    assert {name for name, table in tables.items() if table.along is not None} == varied
    assert all(table.datasets and table.pairs_per_epoch is None for table in tables.values())
    shares = [dict(point)["genpas_train_users"] for point in tables["data_efficiency"].points]
    assert shares == [0.01, 0.05, 0.1, 0.2, 1.0]
    for point in map(dict, tables["parameter_efficiency"].points):
        assert point["inner_size"] == 4 * point["hidden_size"]
    assert tables["inductive"].points == ((("genpas_train_users", 0.9),),)
    assert tables["targets"].points == ((("genpas_targets", "parallel"),), (("genpas_targets", "single"),))
    # A longer budget for rows of the first table, at a point of its grid.
    budget, sasrec = tables["budget"], tables["sasrec"]
    assert budget.epochs > sasrec.epochs and {row.label for row in budget.rows} <= {row.label for row in sasrec.rows}
    settings = {**sasrec.settings, "eval_step": budget.settings["eval_step"]}
    assert budget.settings in [{**settings, **dict(point)} for point in sasrec.grid]
    operators = tables["operators"]
    points = {"multi_target": (1, 0), "2,1,-inf": (2, 1), "last_target": (0, float("inf"))}
    for row in operators.rows:
        policy = row.genpas.policy
        assert (policy.alpha, policy.beta) == points[row.label.partition("+")[0]] and policy.gamma == -float("inf")
        assert len(row.genpas.augment or ()) == row.label.count("+") and row.genpas.trim
    labels = [row.label for row in operators.rows]
    assert len(labels) == 18 and all(set(figures) == set(labels) for figures in operators.published.values())


def test_the_shipped_table_is_that_of_the_paper():
    read = read_table(SHIPPED)
    labels = {"last_target", "multi_target", "2,1,0", "slide_window", "1,0,0"}
    assert {row.label for row in read.rows} == labels
    assert list(read.published) == ["beauty", "toys", "sports", "ml-1m"]
    for figures in read.published.values():
        assert figures.keys() == labels and all(len(of_row) == 2 for of_row in figures.values())
        assert max(figures, key=lambda label: figures[label]["ndcg@10"]) == "1,0,0"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("epochs: 2", "epoch: 2", "no key 'epoch'. Did you mean 'epochs'"),
        ("epochs: 2\n", "", "needs epochs"),
        ("epochs: 2", "epochs: 0", "epochs must be a whole number"),
        ("epochs: 2", "epochs: 2\npairs_per_epoch: 1.5", "pairs_per_epoch must be a whole number"),
        ("model: SASRec", "model: [SASRec]", "model must be a name"),
        ("epochs: 2", "epochs: 2\nmetric: NDGC@10", "metric NDGC@10: 'NDGC' cannot choose"),
        ("epochs: 2", "epochs: 2\ntargets: paralel", "Did you mean 'parallel'"),
        ("epochs: 2", "epochs: 2\ntrim: 3", "trim must be true or false"),
        ("epochs: 2", "epochs: 2\ndatasets: beauty", "datasets must be a list"),
        ('[last_target, "1,0,0"]', "last_target", "rows must be a list"),
        ('[last_target, "1,0,0"]', "[]", "rows must be a list"),
        ("[last_target,", "[last_targt,", "Did you mean 'last_target'"),
        ("[last_target,", '["1.0,0,0",', "twice"),
        ("hidden_size: 8", "seed: 8", "settings: seed: the comparison"),
        ("hidden_size: 8", "epochs: 8", "Write epochs at the top of the table instead"),
        ("hidden_size: 8", "trim: true", "Write trim at the top of the table instead"),
        ("hidden_size: 8", "genpas_alpha: 8", "settings: genpas_alpha"),
        ("hidden_size: 8", "genpas_train_users: 0.5", "in along, of which one point is enough"),
        ("hidden_size: 8", "train_users: 0.5", "Did you mean 'genpas_train_users'"),
        ("published: {beauty:", "datasets: [beauty]\npublished: {beuaty:", "published has 'beuaty', datasets 'beauty'"),
        ("[last_target,", "[last_target+basrec,", "20 plain epochs before it mixes, and a run has 2"),
        ('"1,0,0"', "[1,0,0]", "a point in quotes"),
        ('"1,0,0"', "+insert", "rows: +insert: a strategy"),
        ("hidden_size: 8", "metrics: [AUC]", "has no 'AUC'"),
        ("topk: [5]", "topk: [0]", "topk must be"),
        ("{hidden_size: 8, topk: [5]}", "hidden_size", "settings must have keys"),
        ("hidden_size: 8", "hidden_dropout_prob: 0.1", "stands in settings and in grid"),
        (
            "{hidden_dropout_prob: 1e-1}",
            "{learning_rate: 1e-1}",
            "'learning_rate', which the other points do not",
        ),
        ("1e-1", "0.5", "there twice"),
        ("1e-1", "[0.1]", "must be one value"),
        ("[{hidden_dropout_prob: 0.5}, {hidden_dropout_prob: 1e-1}]", "[{epochs: 5}]", "grid: epochs"),
        ("grid: [", "grid: [3, ", "point 1 of grid must have keys"),
        ("last_target: {NDCG", "last_targt: {NDCG", "Did you mean 'last_target'"),
        ("NDCG@10: 0.0124", "NDCG@20: 0.0124", "NDCG@20 is not measured. Did you mean 'ndcg@"),
        ("0.0124", "best", "must be a number"),
        (TABLE, "- 3", "must have keys"),
        ("rows:", "rows: {", "is not YAML"),
    ],
)
def test_a_bad_table_is_refused_before_anything_is_written(old: str, new: str, told: str, table: Write, tmp_path: Path):
    done = CliRunner().invoke(app, ["reproduce", str(table(old, new)), "--out", str(tmp_path / "out")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "table.yaml" in done.stderr and told in done.stderr and "Traceback" not in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["table.yaml"]


def test_data_are_prepared_once_in_the_order_of_their_positions(tmp_path: Path):
    (tmp_path / "data" / "toys").mkdir(parents=True)
    frame = polars.DataFrame({"user_id": [1, 2, 1, 2], "item_id": [5, 5, 9, 7], "position": [2, 1, 1, 2]})
    frame.write_parquet(tmp_path / "data" / "toys" / "interactions.parquet")
    work = tmp_path / "work"
    found = find_stores(["toys"], [], tmp_path / "data", work, quiet)
    store = SequenceStore.open(found["toys"])
    assert store.values.tolist() == [3, 1, 1, 2]  # items 5, 7, 9; the first user's are the other way round
    assert find_stores(["toys"], [], tmp_path / "data", work, quiet) == found
    assert (work / ".gitignore").read_text() == "*\n"

    given = find_stores(["mine", "toys"], [tmp_path / "mine"], tmp_path / "data", work, quiet)
    assert given == {"mine": tmp_path / "mine", **found}


def test_a_source_that_has_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data, work = tmp_path / "data", tmp_path / "work"
    (data / "toys").mkdir(parents=True)
    file = data / "toys" / "interactions.parquet"
    frame = polars.DataFrame({"user_id": [1, 2, 1, 2], "item_id": [5, 5, 9, 7], "timestamp": [2, 1, 1, 2]})
    frame.write_parquet(file)
    found = find_stores(["toys"], [], data, work, quiet)
    before = file.read_bytes()

    # The same file elsewhere, and of another time.
    data.rename(tmp_path / "moved")
    (tmp_path / "moved" / "toys" / "interactions.parquet").write_bytes(before)
    assert find_stores(["toys"], [], tmp_path / "moved", work, quiet) == found
    # An untouched one is not read again.
    monkeypatch.setattr(prepared_source, "_checksum", lambda file: "")
    (tmp_path / "moved").rename(data)
    os.utime(file, ns=(0, 0))
    with pytest.raises(InputError, match="its content has changed"):
        find_stores(["toys"], [], data, work, quiet)
    os.utime(file, ns=(0, json.loads((work / "stores" / "toys.source.json").read_text())["mtime_ns"]))
    assert find_stores(["toys"], [], data, work, quiet) == found
    monkeypatch.undo()

    for changed in (before[:-9] + bytes(9), before + b"0"):
        file.write_bytes(changed)
        with pytest.raises(InputError, match=r"parquet is not the file that \S+toys was prepared from"):
            find_stores(["toys"], [], data, work, quiet)
    note = work / "stores" / "toys.source.json"
    note.write_text("{}")
    with pytest.raises(InputError, match=r"source\.json does not say"):
        find_stores(["toys"], [], data, work, quiet)
    note.unlink()  # of an older version
    assert find_stores(["toys"], [], data, work, quiet) == found


def test_data_without_an_order_are_refused(tmp_path: Path):
    (tmp_path / "toys").mkdir()
    file = tmp_path / "toys" / "interactions.parquet"
    polars.DataFrame({"user_id": [1, 1], "item_id": [5, 9], "time": [2, 1]}).write_parquet(file)
    told = "neither position nor timestamp .* its columns are user_id, item_id, time. Name one .*--order"
    with pytest.raises(InputError, match=told):
        find_stores(["toys"], [], tmp_path, tmp_path / "work", quiet)
    assert not list((tmp_path / "work").glob("stores/*"))


def test_a_directory_without_data_is_not_a_list_of_nothing(tmp_path: Path):
    with pytest.raises(InputError, match="there is no such directory; check the path"):
        find_stores(["toys"], [], tmp_path / "nodir", tmp_path / "work", quiet)
    with pytest.raises(InputError, match=r"has no data set; .* here toys/interactions\.parquet"):
        find_stores(["toys"], [], tmp_path, tmp_path / "work", quiet)


def test_a_table_that_is_not_there_is_called_so(tmp_path: Path):
    with pytest.raises(InputError, match=r"no\.yaml: there is no such file; TABLE is"):
        read_table(tmp_path / "no.yaml")


def test_a_run_that_did_not_fit_is_named_with_what_it_takes():
    assert table_training.not_begun("toys 1,0,0.seed1", 0, 0) == "toys 1,0,0.seed1 was not begun."
    assert table_training.not_begun("x", 90, 2) == "x was not begun: a run takes about 1.5 minutes."
    assert "1.5 minutes, more than --minutes 1.5: give more" in table_training.not_begun("x", 90, 1.5)
    assert table_training.cut("x", 12, 0) == "x was cut after 12 s and is not kept, as only whole runs are; give more."
    assert "a run takes about 30.0 s: give more" in table_training.cut("x", 12, 30)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["toy"], "Did you mean 'toys'"),
        (["toys", "toys"], "names that differ"),
        (["toys", ""], "names that differ"),
        ([], "names that differ"),
    ],
)
def test_data_that_are_not_there_are_refused(names: list[str], told: str, tmp_path: Path):
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "interactions.parquet").touch()
    with pytest.raises(InputError, match=told):
        find_stores(names, [], tmp_path, tmp_path / "work", quiet)
    assert not (tmp_path / "work").exists()


def test_a_store_that_is_not_named_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"no store 'beauty'\. Did you mean 'beaut'"):
        find_stores(["beauty"], [tmp_path / "beaut"], None, tmp_path / "work", quiet)
    with pytest.raises(InputError, match="two stores have one name"):
        find_stores(["a"], [tmp_path / "a", tmp_path / "b" / "a"], None, tmp_path / "work", quiet)


def test_the_clock_knows_whether_a_run_fits(monkeypatch: pytest.MonkeyPatch):
    now: dict[str, Any] = {"seconds": 100.0}
    monkeypatch.setattr(table_training, "time", SimpleNamespace(monotonic=lambda: now["seconds"]))
    clock = Clock(2)
    assert clock.has(119) and not clock.has(120)
    now["seconds"] = 219.0
    assert clock.has(0) and not clock.has(2)
    now["seconds"] = 220.0
    assert not clock.has(0)
    assert Clock(None).has(1e9) and not Clock(0).has(0)
