"""`genpas reproduce` through RecBole: tuned alike, tested once in both protocols, stopped and resumed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.cli import app
from genpas_plugins.experiments.cell import Cell
from genpas_plugins.experiments.cell_training import Comparison
from genpas_plugins.experiments.table import read_table
from genpas_plugins.experiments.table_training import Clock
from genpas_plugins.support.folder_lock import sole_use
from recbole_ext import run_cell
from recbole_ext.run_one import train

TABLE = """
model: SASRec
rows: [last_target, "1,0,0"]
targets: parallel
epochs: 4
pairs_per_epoch: 60
settings: {hidden_size: 8, inner_size: 8, n_layers: 1, n_heads: 1, MAX_ITEM_LIST_LENGTH: 5, topk: [5], eval_step: 2,
           mask_history: true}
grid: [{hidden_dropout_prob: 0.5}, {hidden_dropout_prob: 0.1}]
published: {tiny: {"1,0,0": {NDCG@10: 0.1234}}}
"""
TUNING = [f"{row}.hidden_dropout_prob={dropout}.seed1" for row in ("last_target", "1,0,0") for dropout in (0.5, 0.1)]

Reproduce = Callable[..., Any]


@pytest.fixture
def reproduce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reproduce:
    """Return reproduce(*arguments), which runs `genpas reproduce t.yaml --out out` and says which cells it trained."""
    lengths = [6 + user % 4 for user in range(40)]
    values = np.random.default_rng(0).integers(1, 26, sum(lengths))
    SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=25).save(tmp_path / "tiny")
    (tmp_path / "t.yaml").write_text(TABLE)
    trained: list[str] = []
    run = Comparison.run

    def counted(self: Comparison, cell: Cell, *given: Any, **more: Any) -> dict[str, Any]:
        if len(trained) == counted.stop:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        result = run(self, cell, *given, **more)
        trained.append(cell.name)
        return result

    monkeypatch.setattr(Comparison, "run", counted)

    def invoke(*arguments: object, stop: int | None = None, out: str = "out") -> tuple[Any, list[str]]:
        trained.clear()
        counted.stop = stop  # type: ignore[attr-defined]
        seeds = [] if "--seeds" in arguments else ["--seeds", "1,2"]
        given = ["reproduce", "t.yaml", "--stores", "tiny", *seeds, "--out", out, *map(str, arguments)]
        return CliRunner().invoke(app, given), list(trained)

    return invoke


def cells(out: Path) -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text())["result"] for file in (out / "cells" / "tiny").iterdir()}


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(part) for key, part in value.items() if key != "seconds"}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def test_a_table_is_tuned_tested_once_and_resumed(reproduce: Reproduce, tmp_path: Path):
    done, trained = reproduce(stop=3)
    assert (done.exit_code, trained) == (130, TUNING[:3])
    told = [line for line in done.stderr.splitlines() if line.startswith("tiny")]
    assert [line.partition(": validation 0.")[0] for line in told] == [
        f"tiny {number} of 6: {name}" for number, name in enumerate(TUNING[:3], start=1)
    ]
    out = tmp_path / "out"
    row, not_run = json.loads((out / "reproduction.json").read_text())["datasets"]["tiny"]
    assert row["seeds"] == [1] and row["test"]["masked"]["ndcg@5"]["sd"] is None
    assert (not_run["chosen"], not_run["test"], not_run["seeds"]) == (None, None, [])
    assert [point["validation"] is None for point in not_run["tuning"]] == [False, True]
    page = (out / "reproduction.md").read_text()
    assert "| 1,0,0 | – | – | not run | not run |" in page and "0.1234" in page

    with sole_use(out / "work"):
        done, trained = reproduce()
        assert (done.exit_code, trained) == (2, []) and "another run is at work" in done.stderr

    done, trained = reproduce("--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    kept = cells(out)
    chosen = {}
    for row in result["datasets"]["tiny"]:
        scores = [kept[f"{row['method']}.hidden_dropout_prob={dropout}.seed1"]["validation"] for dropout in (0.5, 0.1)]
        assert row["chosen"] == {"hidden_dropout_prob": (0.5, 0.1)[int(np.argmax(scores))]}
        chosen[row["method"]] = f"{row['method']}.hidden_dropout_prob={row['chosen']['hidden_dropout_prob']}"
        for protocol in ("masked", "unmasked"):
            figures = [kept[f"{chosen[row['method']]}.seed{seed}"]["test"][protocol] for seed in (1, 2)]
            assert {f"{metric}@{k}" for metric in ("ndcg", "recall") for k in (5, 10)} == figures[0].keys()
            for name, spread in row["test"][protocol].items():
                assert spread["mean"] == pytest.approx(np.mean([figure[name] for figure in figures]))
        assert (row["pairs_seen"], row["seeds"]) == (240, [1, 2])
    assert trained == [*TUNING[3:], *(f"{name}.seed2" for name in chosen.values())]
    tested = {name for name, cell in kept.items() if "test" in cell}
    assert tested == {f"{name}.seed{seed}" for name in chosen.values() for seed in (1, 2)} and len(kept) == 6
    for cell in (cell for cell in kept.values() if "test" in cell):
        assert cell["groups"].keys() == cell["test"].keys()
    assert {cell["trained_on"]["targets"] for cell in kept.values()} == {"parallel"}
    assert all(cell["environment"]["versions"]["torch"] for cell in kept.values())

    whole, trained = reproduce("--json", out="whole")
    assert len(trained) == 6 and without_seconds(json.loads(whole.stdout)) == without_seconds(result)

    # Results without the work beside them, as git keeps them, are enough for the table, not for another seed.
    shutil.rmtree(out / "work")
    done, trained = reproduce()
    assert (done.exit_code, trained) == (0, []) and "Nothing was left to do" in done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "│ 1,0,0 " in line)
    assert line.count("±") == 4 and "0.1234" in line
    page = (out / "reproduction.md").read_text()
    assert "| 1,0,0 | hidden_dropout_prob 0." in page and "masked Recall@10 | published NDCG@10 |" in page
    (tmp_path / "t.yaml").write_text(TABLE.replace("hidden_size: 8", "hidden_size: 16"))
    done, trained = reproduce()
    assert (done.exit_code, trained) == (2, []) and "settings.hidden_size was '8' and is '16' now" in done.stderr


def test_a_tuned_cell_without_its_checkpoint_is_trained_anew(reproduce: Reproduce, tmp_path: Path):
    (tmp_path / "t.yaml").write_text(TABLE.replace("grid: [{hidden_dropout_prob: 0.5}, ", "grid: ["))
    cell = "last_target.hidden_dropout_prob=0.1.seed1"
    done, _ = reproduce("--seeds", "1")
    assert done.exit_code == 0, done.stderr
    file = tmp_path / "out" / "cells" / "tiny" / f"{cell}.json"
    content = json.loads(file.read_text())
    test = content["result"].pop("test")
    file.write_text(json.dumps(content))
    done, trained = reproduce("--seeds", "1")
    assert (done.exit_code, trained, cells(tmp_path / "out")[cell]["test"]) == (0, [], test)
    file.write_text(json.dumps(content))
    shutil.rmtree(tmp_path / "out" / "work")
    done, trained = reproduce("--seeds", "1")
    assert (done.exit_code, trained, cells(tmp_path / "out")[cell]["test"]) == (0, [cell], test)


def test_the_budget_ends_between_cells_and_between_epochs(
    reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done, trained = reproduce("--minutes", 0)
    assert (done.exit_code, trained) == (0, [])
    assert f"The time is over: tiny {TUNING[0]} was not begun. The same command" in done.stderr
    assert done.stdout.count("not run") == 6
    # A cell asks before it begins, then after no and after two of its four epochs: the second ends in its middle.
    answers = iter([True, True, True, True, True, False])
    asked = []

    def has(self: Clock, seconds: float) -> bool:
        asked.append(seconds)
        return next(answers)

    monkeypatch.setattr(Clock, "has", has)
    done, trained = reproduce()
    assert (done.exit_code, trained) == (0, TUNING[:1])
    assert re.search(rf"The time is over: tiny {TUNING[1]} was cut after .* a run takes about .*: give", done.stderr)
    kept = cells(tmp_path / "out")
    assert list(kept) == TUNING[:1] and asked == [0, 0, 0, kept[TUNING[0]]["seconds"], 0, 0]


ALONG = """
grid: [{hidden_dropout_prob: 0.5}, {hidden_dropout_prob: 0.1}]
along:
  name: share of the users
  points: [{genpas_train_users: 0.25, n_layers: 1}, {genpas_train_users: 1, n_layers: 2}]
"""


def test_what_is_varied_is_trained_point_by_point_and_reported(reproduce: Reproduce, tmp_path: Path):
    head = TABLE[: TABLE.index("grid:")].replace("epochs: 4", "epochs: 2").replace("n_layers: 1, ", "")
    (tmp_path / "t.yaml").write_text(head + ALONG)
    done, trained = reproduce("--json")
    assert done.exit_code == 2 and "t.yaml names no data sets; name them behind --datasets" in done.stderr
    (tmp_path / "t.yaml").write_text(f"datasets: [tiny]\n{head}{ALONG}")
    done, trained = reproduce("--json")
    assert done.exit_code == 0, done.stderr
    points = [f"genpas_train_users={share},n_layers={layers}" for share, layers in ((0.25, 1), (1, 2))]
    tuning = [
        f"{row}.{point},hidden_dropout_prob={dropout}.seed1"
        for point in points
        for row in ("last_target", "1,0,0")
        for dropout in (0.5, 0.1)
    ]
    assert trained[:8] == tuning and len(trained) == 12
    assert [name.split(",hidden")[0] for name in trained[8:]] == [
        f"{row}.{point}" for point in points for row in ("last_target", "1,0,0")
    ]
    result = json.loads(done.stdout)
    rows, kept = result["datasets"]["tiny"], cells(tmp_path / "out")
    assert result["along"] == "share of the users" and {row["pairs_seen"] for row in rows} == {120}
    assert [(row["method"], *row["point"].values()) for row in rows] == [
        ("last_target", 0.25, 1),
        ("1,0,0", 0.25, 1),
        ("last_target", 1, 2),
        ("1,0,0", 1, 2),
    ]
    for row in rows:
        assert row["curve"][-1]["pairs"] == 120 and row["curve"][-1]["validation"]["sd"] is not None
        users = row["groups"].get("users", {})
        assert set(users) == ({"seen", "unseen"} if row["point"]["genpas_train_users"] == 0.25 else set())
        n = sum(group["masked"]["n"]["mean"] for group in row["groups"]["popularity"].values())
        assert n == 40 and (not users or users["seen"]["masked"]["n"] == {"mean": 10, "sd": 0})
        dropout = row["chosen"]["hidden_dropout_prob"]
        own = f"{row['method']}.{points[rows.index(row) // 2]},hidden_dropout_prob={dropout}.seed{{}}"
        figures = [kept[own.format(seed)]["test"]["unmasked"]["ndcg@10"] for seed in (1, 2)]
        assert row["test"]["unmasked"]["ndcg@10"]["mean"] == pytest.approx(np.mean(figures))
    page = (tmp_path / "out" / "reproduction.md").read_text()
    assert "| method | share of the users 0.25, n_layers 1 | share of the users 1, n_layers 2 |" in page
    assert "By popularity of the target" in page and "Users seen and not seen in training" in page

    (tmp_path / "t.yaml").write_text((head + ALONG).replace("n_layers", "n_layrs"))
    done, trained = reproduce()
    assert (done.exit_code, trained) == (2, []) and "Did you mean 'n_layers'" in done.stderr

    pytest.importorskip("matplotlib")
    for plot in ("tiny-validation", "tiny-along"):
        assert f"({plot}.svg)]({plot}.png)" in page
        assert (tmp_path / "out" / f"{plot}.svg").is_file() and (tmp_path / "out" / f"{plot}.png").is_file()


def test_a_data_set_that_is_not_asked_for_keeps_its_section(reproduce: Reproduce, tmp_path: Path):
    text = TABLE.replace("grid: [{hidden_dropout_prob: 0.5}, ", "grid: [").replace("epochs: 4", "epochs: 2")
    (tmp_path / "t.yaml").write_text(text)
    shutil.copytree(tmp_path / "tiny", tmp_path / "more")
    out = tmp_path / "out"
    done, trained = reproduce("--seeds", "1")
    assert done.exit_code == 0 and len(trained) == 2, done.stderr
    first, page = json.loads((out / "reproduction.json").read_text()), (out / "reproduction.md").read_text()
    section = page[page.index("## tiny") : page.rindex("Full ranking of all items")]

    more = ("--stores", "more", "--datasets", "more", "--seeds", "1")
    done, trained = reproduce(*more, "--json")
    assert done.exit_code == 0 and len(trained) == 2, done.stderr
    both = json.loads(done.stdout)
    assert both == json.loads((out / "reproduction.json").read_text())
    assert both["datasets"]["tiny"] == first["datasets"]["tiny"] and both["pairs"] == {"tiny": 120, "more": 120}
    page = (out / "reproduction.md").read_text()
    assert section in page and page.index("## tiny") < page.index("## more")
    # The other one asked for: nothing to train, nothing moved.
    done, trained = reproduce("--seeds", "1", "--json")
    assert (trained, json.loads(done.stdout)) == ([], both) and (out / "reproduction.md").read_text() == page

    # Rows that are no longer the table's are left out, which is said; the cells stay.
    (tmp_path / "t.yaml").write_text(text.replace('"1,0,0"]', '"1,0,0", multi_target]'))
    done, trained = reproduce(*more, "--minutes", 0)
    assert (done.exit_code, trained) == (0, []) and "loses tiny" in done.stderr
    assert list(json.loads((out / "reproduction.json").read_text())["datasets"]) == ["more"]
    assert len(cells(out)) == 2

    (out / "reproduction.json").write_text("{}")
    done, trained = reproduce("--seeds", "1")
    assert (done.exit_code, trained) == (2, []) and "was not written by `genpas reproduce`" in done.stderr
    assert (out / "reproduction.json").read_text() == "{}"


def test_groups_are_shown_if_all_tested_seeds_have_them(reproduce: Reproduce, tmp_path: Path):
    text = TABLE.replace("grid: [{hidden_dropout_prob: 0.5}, ", "grid: [").replace("epochs: 4", "epochs: 2")
    (tmp_path / "t.yaml").write_text(text.replace('[last_target, "1,0,0"]', '["1,0,0"]'))
    done, _ = reproduce("--json")
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)["datasets"]["tiny"]
    assert row["seeds"] == [1, 2] and row["groups"]["popularity"]
    file = tmp_path / "out" / "cells" / "tiny" / "1,0,0.hidden_dropout_prob=0.1.seed2.json"
    content = json.loads(file.read_text())
    del content["result"]["groups"]
    file.write_text(json.dumps(content))
    done, trained = reproduce("--json")
    (without,) = json.loads(done.stdout)["datasets"]["tiny"]
    assert trained == [] and without == {**row, "groups": {}}


def test_both_protocols_are_those_of_runs_that_test_by_them(settings: dict[str, Any], tmp_path: Path):
    given = {**settings, "metrics": ["NDCG", "Recall"], "topk": [5, 10], "valid_metric": "NDCG@10", "epochs": 1}
    given |= {"genpas": {"strategy": "multi_target"}, "mask_history": True}
    run = run_cell.run(
        {**given, "checkpoint_dir": str(tmp_path / "a")},
        **{"model": "SASRec", "dataset": "tiny", "config_files": [], "criterion": "NDCG@10"},
        on_epoch=lambda epoch, score: None,
        test=False,
    )
    assert "test" not in run
    data = tmp_path / "moved"
    shutil.copytree(Path(settings["data_path"]) / "tiny", data)
    figures = run_cell.test(Path(run["checkpoint"]), data)["test"]
    masked = train(given, model="SASRec", dataset="tiny", test=True)["test"]
    assert figures["masked"] == masked and figures["unmasked"] != masked
    # One epoch trains alike whatever validation is by, so the weights are the same.
    assert (
        figures["unmasked"]
        == train({**given, "mask_history": False}, model="SASRec", dataset="tiny", test=True)["test"]
    )


TABLES = sorted((Path(__file__).parents[2] / "configs" / "reproduce").glob("*.yaml"))


@pytest.mark.parametrize("file", TABLES, ids=lambda file: file.stem)
def test_the_shipped_tables_have_settings_that_recbole_knows(file: Path):
    table = read_table(file)
    keys = table.recbole_keys
    run_cell.check_known(table.model, keys)
    with pytest.raises(InputError, match=r"'hidden_droput_prob'\. Did you mean 'hidden_dropout_prob'"):
        run_cell.check_known(table.model, [*keys, "hidden_droput_prob"])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("hidden_size: 8", "hiden_size: 8", "Did you mean 'hidden_size'"),
        ("SASRec", "SASRek", "no model 'SASRek'"),
        ("SASRec", "BERT4Rec", "not possible with BERT4Rec"),
        ("eval_step: 2", "eval_step: 3", "eval_step is 3"),
    ],
)
def test_what_could_not_be_trained_is_said_before_training(
    old: str, new: str, told: str, reproduce: Reproduce, tmp_path: Path
):
    (tmp_path / "t.yaml").write_text(TABLE.replace(old, new))
    done, trained = reproduce()
    assert (done.exit_code, done.stdout, trained) == (2, "", [])
    assert told in done.stderr and "Traceback" not in done.stderr
