"""What a table may say, and what is refused with its line."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from genpas_plugins import InputError
from genpas_plugins.cli import app
from genpas_plugins.experiments.allowed_settings import check_metric, measures
from genpas_plugins.experiments.plan import Cell, Plan, whole_epochs
from genpas_plugins.experiments.table import read_table

SHIPPED = Path(__file__).parents[3] / "configs" / "experiment" / "sasrec.yaml"

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


def test_a_table_is_read(table: Write):
    read = read_table(table())
    assert [row.label for row in read.rows] == ["last_target", "1,0,0"]
    assert {row.genpas.targets for row in read.methods} == {"single"}
    assert (read.model, read.epochs, read.pairs_per_epoch, read.metric) == ("SASRec", 2, None, "NDCG@10")
    assert read.grid == ((("hidden_dropout_prob", 0.5),), (("hidden_dropout_prob", 0.1),))
    assert read.published == {"beauty": {"last_target": {"NDCG@10": 0.0124}}}
    assert read_table(table("grid: [{hidden_dropout_prob: 0.5}, {hidden_dropout_prob: 1e-1}]", "")).grid == ((),)
    read = read_table(table("epochs: 2", "epochs: 3\npairs_per_epoch: 7\nmetric: recall@10\ntargets: parallel"))
    assert (read.epochs, read.pairs_per_epoch, read.metric) == (3, 7, "Recall@10")
    assert {row.genpas.targets for row in read.methods} == {"parallel"}


def test_a_table_may_vary_one_thing(table: Write):
    read = read_table(table())
    assert (read.along, read.points, read.names) == (None, ((),), ("beauty",))
    points = "[{genpas_train_users: 0.5, n_layers: 1}, {genpas_train_users: 1e-1, n_layers: 2}]"
    given = f"trim: true\ndatasets: [a, b]\nalong: {{name: share, points: {points}}}"
    read = read_table(table(PUBLISHED, given))
    assert read.along is not None and read.along.name == "share" and read.datasets == ("a", "b")
    assert read.points[1] == (("genpas_train_users", 0.1), ("n_layers", 2))
    assert read.recbole_keys == ["hidden_size", "topk", "hidden_dropout_prob", "n_layers"]
    assert {row.genpas.trim for row in read.methods} == {True}
    cell = Cell(read.rows[1], 3, (*read.points[1], *read.grid[0]))
    assert cell.name == "1,0,0.genpas_train_users=0.1,n_layers=2,hidden_dropout_prob=0.5.seed3"
    assert cell.recbole == {"n_layers": 2, "hidden_dropout_prob": 0.5}
    assert cell.sections["genpas"] == read.rows[1].genpas.replaced(train_users=0.1)


def test_a_row_keeps_what_its_file_says_where_the_table_says_nothing(table: Write, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("genpas: {strategy: multi_target, targets: parallel, trim: true}\n")
    rows = f'["{tmp_path}/mine.yaml", last_target]'
    read = read_table(table('[last_target, "1,0,0"]', rows))
    assert [(row.genpas.targets, row.genpas.trim) for row in read.methods] == [("parallel", True), ("single", False)]


@pytest.mark.parametrize(
    ("along", "told"),
    [
        ("3", "along must hold keys"),
        ("{name: x, point: []}", "along has no key 'point'. Did you mean 'points'"),
        ("{points: [{n_layers: 1}]}", "along: name is missing"),
        ("{name: '', points: [{n_layers: 1}]}", "along: name must be text"),
        ("{name: x}", "along: points is missing"),
        ("{name: x, points: []}", "along: points must be a list"),
        ("{name: x, points: [{}]}", "a point must have settings"),
        ("{name: x, points: [{n_layers: [1, 2]}]}", "along: n_layers must be one value"),
        (
            "{name: x, points: [{n_layers: 1}, {n_heads: 1}]}",
            "Point 1 sets n_layers, point 2 sets n_heads",
        ),
        (
            "{name: x, points: [{n_layers: 1}, {n_layrs: 2}]}",
            "Point 1 sets n_layers, point 2 sets n_layrs",
        ),
        (
            "{name: x, points: [{n_layrs: 1}, {n_layers: 2}, {n_layers: 3}]}",
            "Point 1 sets n_layrs, point 2 sets n_layers",
        ),
        (
            "{name: x, points: [{n_layers: 1, n_heads: 1}, {n_layers: 2}]}",
            "Point 1 sets n_layers, n_heads, point 2 sets n_layers",
        ),
        ("{name: x, points: [{train_users: 0.5}]}", "Did you mean 'genpas_train_users'"),
        ("{name: x, points: [{n_layers: 1}, {n_layers: 1}]}", "along: point 2 is there twice"),
        ("{name: x, points: [{hidden_size: 16}]}", "hidden_size is in settings and in along"),
        ("{name: x, points: [{hidden_dropout_prob: 0.3}]}", "hidden_dropout_prob is in grid and in along"),
        ("{name: x, points: [{genpas_targets: single}]}", "genpas_targets is in the table and in along"),
        ("{name: x, points: [{n_layers: 1, epochs: 3}]}", "along: epochs: the table sets"),
        ("{name: x, points: [{mixing_views: 1}]}", "along: mixing_views"),
        ("{name: x, points: [{genpas_alpha: 1}]}", "along: genpas_alpha belongs to the rows"),
        ("{name: x, points: [{genpas_pairs_per_epoch: 9}]}", "genpas_pairs_per_epoch belongs to the rows"),
        ("{name: x, points: [{genpas_train_user: 0.5}]}", "Did you mean 'train_users'"),
        ("{name: x, points: [{genpas_train_users: 1}, {genpas_train_users: 2}]}", "point 2 of along"),
    ],
)
def test_what_cannot_be_varied_is_refused(along: str, told: str, table: Write):
    with pytest.raises(InputError, match=r"table\.yaml(, line \d+)?: ") as error:
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


def test_published_figures_of_several_points_name_the_point(table: Write):
    several = "along: {name: x, points: [{n_layers: 1}, {n_layers: 2}]}"
    with pytest.raises(InputError, match=r"there is no row 'last_target'. Did you mean '2 last_target'"):
        read_table(table("epochs: 2", f"epochs: 2\n{several}"))
    read = read_table(table("epochs: 2", "epochs: 2\nalong: {name: x, points: [{n_layers: 1}]}"))
    assert read.published == {"beauty": {"last_target": {"NDCG@10": 0.0124}}}


def test_a_table_may_vary_the_model(table: Write):
    along = "along: {name: model, points: [{model: GRU4Rec}, {model: SASRec}]}\nepochs: 2"
    file = table("epochs: 2", along)
    with pytest.raises(InputError, match="a table has one model, or varies it"):
        read_table(file)
    text = file.read_text().replace("last_target: {", "GRU4Rec last_target: {")
    file.write_text(text.replace("\nmodel: SASRec\n", "\n"))
    read = read_table(file)
    assert read.models == ("GRU4Rec", "SASRec") and "model" not in read.recbole_keys
    plan = Plan(read, "beauty", (1,), "digest", 2, 10)
    cells = [row.cell(1, read.grid[0]) for row in plan.rows]
    assert [plan.model(cell) for cell in cells] == ["GRU4Rec", "GRU4Rec", "SASRec", "SASRec"]
    assert all("model" not in plan.settings(cell) for cell in cells)
    assert [plan.configuration(cell)["model"] for cell in cells] == [plan.model(cell) for cell in cells]


def test_the_shipped_tables_have_one_budget_and_the_rows_of_the_paper():
    tables = {file.stem: read_table(file) for file in SHIPPED.parent.glob("*.yaml")}
    assert all(table.names and table.pairs_per_epoch is None for table in tables.values())
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
    for row in operators.methods:
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
        assert max(figures, key=lambda label: figures[label]["NDCG@10"]) == "1,0,0"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("epochs: 2", "epoch: 2", "no key 'epoch'. Did you mean 'epochs'"),
        ("epochs: 2\n", "", "needs one budget"),
        ("epochs: 2", "epochs: 0", "epochs must be a whole number"),
        ("epochs: 2", "epochs: 2\npairs_per_epoch: 1.5", "pairs_per_epoch must be a whole number"),
        ("model: SASRec", "model: [SASRec]", "line 2: model must be text"),
        ("epochs: 2", "epochs: 2\nmetric: NDGC@10", "line 5: the metric 'NDGC' cannot choose"),
        ("epochs: 2", "epochs: 2\ntargets: paralel", "Did you mean 'parallel'"),
        ("epochs: 2", "epochs: 2\ntrim: 3", "trim must be true or false"),
        ("epochs: 2", "epochs: 2\ndatasets: beauty", "datasets must be a list"),
        ('[last_target, "1,0,0"]', "last_target", "rows must be a list"),
        ('[last_target, "1,0,0"]', "[]", "rows must be a list"),
        ("[last_target,", "[last_targt,", "Did you mean 'last_target'"),
        ("[last_target,", '["1.0,0,0",', "twice"),
        ("hidden_size: 8", "seed: 8", "line 5: settings: seed: the table sets that itself. Write --seeds"),
        (
            "hidden_size: 8",
            "epochs: 8",
            "line 5: settings: epochs: the table sets that itself. Write epochs at the top of the table",
        ),
        ("hidden_size: 8", "trim: true", "Write trim at the top of the table"),
        ("hidden_size: 8", "genpas_alpha: 8", "genpas_alpha: a row sets that itself"),
        ("hidden_size: 8", "genpas_train_users: 0.5", "in along: one point is enough"),
        ("hidden_size: 8", "train_users: 0.5", "Did you mean 'genpas_train_users'"),
        ("published: {beauty:", "datasets: [beauty]\npublished: {beuaty:", "published has 'beuaty', datasets 'beauty'"),
        ("[last_target,", "[last_target+basrec,", "20 plain epochs before it begins, and a run has 2"),
        ('"1,0,0"', "[1,0,0]", "'1,0,0' in quotes"),
        ('"1,0,0"', "+insert", "line 3: +insert: '' is not a strategy"),
        ("hidden_size: 8", "metrics: [AUC]", "line 5: the metric 'AUC' cannot choose"),
        ("topk: [5]", "topk: [0]", "write the length of the list after an @"),
        ("{hidden_size: 8, topk: [5]}", "hidden_size", "line 5: settings must hold keys"),
        ("hidden_size: 8", "hidden_dropout_prob: 0.1", "is in settings and in grid"),
        (
            "{hidden_dropout_prob: 1e-1}",
            "{learning_rate: 1e-1}",
            "Point 1 sets hidden_dropout_prob, point 2 sets learning_rate",
        ),
        ("1e-1", "0.5", "there twice"),
        ("1e-1", "[0.1]", "must be one value"),
        ("[{hidden_dropout_prob: 0.5}, {hidden_dropout_prob: 1e-1}]", "[{epochs: 5}]", "line 6: epochs: the table"),
        ("grid: [", "grid: [3, ", "line 6: a point must have settings"),
        ("last_target: {NDCG", "last_targt: {NDCG", "Did you mean 'last_target'"),
        ("NDCG@10: 0.0124", "NDCG@20: 0.0124", "NDCG@20 is not measured. Did you mean 'NDCG@"),
        ("0.0124", "best", "must be a number"),
        (TABLE, "- 3", "must hold keys"),
        ("rows:", "rows: {", "is not YAML"),
    ],
)
def test_a_bad_table_is_refused_before_anything_is_written(old: str, new: str, told: str, table: Write, tmp_path: Path):
    done = CliRunner().invoke(app, ["experiment", str(table(old, new)), "--out", str(tmp_path / "out")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "table.yaml" in done.stderr and told in done.stderr and "Traceback" not in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["table.yaml"]


def test_a_table_that_is_not_there_is_called_so(tmp_path: Path):
    with pytest.raises(InputError, match=r"no\.yaml does not exist"):
        read_table(tmp_path / "no.yaml")


def test_pairs_are_whole_epochs():
    for epochs, length in itertools.product((1, 2, 7), (1, 30)):
        assert whole_epochs(epochs * length, length) == epochs
    with pytest.raises(InputError, match="Write 60 or 90, or set"):
        whole_epochs(61, 30)
    with pytest.raises(InputError, match="Write 30, or set"):
        whole_epochs(1, 30)


def test_metrics():
    assert [check_metric(text) for text in ("NDCG@10", "recall@020", "hit@1")] == ["NDCG@10", "Recall@20", "Hit@1"]
    for text, told in {
        "NDGC@10": "Did you mean 'NDCG'",
        "NDCG": "after an @",
        "NDCG@0": "after an @",
        "NDCG@x": "@",
    }.items():
        with pytest.raises(InputError, match=told):
            check_metric(text)


def test_the_metric_that_chooses_is_measured_in_any_case():
    assert measures({}, "NDCG@10") == {"metrics": ["NDCG", "Recall"], "topk": [10]}
    assert measures({"topk": 5}, "NDCG@10") == {"metrics": ["NDCG", "Recall"], "topk": [5, 10]}
    assert measures({"metrics": ["Hit"], "topk": [20, 1]}, "MRR@3") == {
        "metrics": ["Hit", "MRR"],
        "topk": [20, 1, 3],
    }
    assert measures({"metrics": ["recall"], "topk": [3]}, "Recall@3") == {"metrics": ["recall"], "topk": [3]}
