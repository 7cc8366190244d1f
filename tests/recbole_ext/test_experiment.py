"""`genpas experiment` through RecBole: tuned alike, tested once in both protocols, stopped and resumed."""

from __future__ import annotations

import itertools
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
from genpas_plugins.data.temporal import evaluated_counts, temporal_split
from genpas_plugins.experiments import training
from genpas_plugins.experiments.run import RecBoleRun
from genpas_plugins.experiments.table import read_table
from genpas_plugins.experiments.training import Clock
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import mine_patterns
from genpas_plugins.neural.dr4sr.regenerated_store import regenerated_store
from genpas_plugins.support.folder_lock import lock_folder
from recbole_ext import experiment_cell
from recbole_ext.training_run import evaluate_checkpoint, train

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

Experiment = Callable[..., Any]


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Return experiment(*arguments), which runs `genpas experiment` in this process and says which cells it trained.

    Without --methods it takes t.yaml; stop=n interrupts it before the run n, from 0.
    """
    lengths = [6 + user % 4 for user in range(40)]
    values = np.random.default_rng(0).integers(1, 26, sum(lengths))
    SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=25).save(tmp_path / "tiny")
    (tmp_path / "t.yaml").write_text(TABLE)
    small = "hidden_size: 8\ninner_size: 8\nn_layers: 1\nMAX_ITEM_LIST_LENGTH: 5\ntopk: [5]\nstopping_step: 1\n"
    (tmp_path / "small.yaml").write_text(small)
    (tmp_path / "mine.yaml").write_text(
        "genpas: {strategy: multi_target, augment: {operator: insert, rate: 0.3}}\n"
        "mixing: {method: basrec, warmup_epochs: 1}\n"
    )
    trained: list[str] = []
    original = RecBoleRun.train

    def counted(self: RecBoleRun, *given: Any) -> Any:
        if len(trained) == counted.stop:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        result = original(self, *given)
        trained.append(self.name)
        return result

    monkeypatch.setattr(RecBoleRun, "train", counted)

    def invoke(*arguments: object, stop: int | None = None, out: str = "out") -> tuple[Any, list[str]]:
        trained.clear()
        counted.stop = stop  # type: ignore[attr-defined]
        words = list(map(str, arguments))
        usual = {"--stores": "tiny", "--seeds": "1,2", "--out": out}
        given = [*([] if "--methods" in words else ["t.yaml"]), *words]
        given += [word for option, value in usual.items() if option not in words for word in (option, value)]
        return CliRunner().invoke(app, ["experiment", *given]), list(trained)

    return invoke


def cells(out: Path) -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text())["result"] for file in (out / "cells" / "tiny").glob("*.json")}


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(part) for key, part in value.items() if key != "seconds"}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def test_a_table_is_tuned_tested_once_and_resumed(experiment: Experiment, tmp_path: Path):
    done, trained = experiment(stop=3)
    assert (done.exit_code, trained) == (130, TUNING[:3])
    told = [line for line in done.stderr.splitlines() if line.startswith("tiny")]
    assert [line.partition(": validation 0.")[0] for line in told] == [
        f"tiny {number} of 6: {name}" for number, name in enumerate(TUNING[:3], start=1)
    ]
    out = tmp_path / "out"
    row, not_run = json.loads((out / "table.json").read_text())["datasets"]["tiny"]
    assert row["seeds"] == [1] and row["figures"]["masked NDCG@5"]["sd"] is None
    assert (not_run["chosen"], not_run["figures"]["masked NDCG@5"], not_run["seeds"]) == (None, None, [])
    assert [point["validation"] is None for point in not_run["tuning"]] == [False, True]
    page = (out / "table.md").read_text()
    assert "| 1,0,0 | not run | – | not run | not run |" in page and "0.1234" in page

    with lock_folder(out / "work"):
        done, trained = experiment()
        assert (done.exit_code, trained) == (2, []) and "another run is at work" in done.stderr

    done, trained = experiment("--json")
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
            beyond = ("coverage", "gini", "novelty", "popularity")
            assert {f"{metric}@{k}" for metric in ("ndcg", "recall", *beyond) for k in (5, 10)} == figures[0].keys()
            for name in ("NDCG@5", "NDCG@10", "Recall@5", "Recall@10"):
                mean = row["figures"][f"{protocol} {name}"]["mean"]
                assert mean == pytest.approx(np.mean([figure[name.lower()] for figure in figures]))
        assert (row["figures"]["pairs"], row["seeds"]) == (240, [1, 2])
    assert trained == [*TUNING[3:], *(f"{name}.seed2" for name in chosen.values())]
    tested = {name for name, cell in kept.items() if "test" in cell}
    assert tested == {f"{name}.seed{seed}" for name in chosen.values() for seed in (1, 2)} and len(kept) == 6
    for cell in (cell for cell in kept.values() if "test" in cell):
        assert cell["groups"].keys() == cell["test"].keys()
    assert {cell["trained_on"]["targets"] for cell in kept.values()} == {"parallel"}
    assert all(cell["environment"]["versions"]["torch"] for cell in kept.values())

    whole, trained = experiment("--json", out="whole")
    assert len(trained) == 6
    assert without_seconds(json.loads(whole.stdout)) == without_seconds(result)

    # Results without the work beside them, as git keeps them, are enough for the table, not for another seed.
    shutil.rmtree(out / "work")
    done, trained = experiment()
    assert (done.exit_code, trained) == (0, []) and "Nothing was left to do" in done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "│ 1,0,0 " in line)
    assert line.count("±") == 4 and "0.1234" in line
    page = (out / "table.md").read_text()
    assert "| 1,0,0 | hidden_dropout_prob 0." in page and "masked Recall@10 | published NDCG@10 |" in page
    (tmp_path / "t.yaml").write_text(TABLE.replace("hidden_size: 8", "hidden_size: 16"))
    done, trained = experiment()
    assert (done.exit_code, trained) == (2, []) and "settings.hidden_size was '8' and is '16' now" in done.stderr


def test_rows_stop_early_and_only_the_best_are_tested_against_multi_target(experiment: Experiment, tmp_path: Path):
    rows = 'rows: [last_target, multi_target, "1,0,0"]\npatience: 1\ntest_best: 1'
    text = TABLE.replace('rows: [last_target, "1,0,0"]', rows).replace("epochs: 4", "epochs: 20")
    (tmp_path / "t.yaml").write_text(re.sub("grid: .*", "", text).replace("eval_step: 2", "eval_step: 1"))
    done, _ = experiment("--json", "--seeds", "1")
    assert done.exit_code == 0, done.stderr
    for cell in cells(tmp_path / "out").values():
        curve = [point["validation"] for point in cell["curve"]]
        assert len(curve) == 20 or curve[-1] < max(curve)
        assert all(later >= before for before, later in itertools.pairwise(curve[:-1]))
    result = json.loads(done.stdout)["datasets"]["tiny"]
    best = max(result, key=lambda row: row["tuning"][0]["validation"])["method"]
    assert {row["method"] for row in result if row["seeds"]} == {best, "multi_target"}
    for row in result:
        name = next(name for name in row["figures"] if name.startswith("validation within"))
        assert name == f"validation within {min(r['curve'][-1]['pairs'] for r in result):,} pairs"
        difference = row["figures"].get("masked NDCG@10 over multi_target")
        if row["seeds"] and row["method"] != "multi_target":
            of_test = [r["figures"]["masked NDCG@10"]["mean"] for r in (row, result[1])]
            assert difference["mean"] == pytest.approx(of_test[0] - of_test[1], abs=1e-4)
            assert difference["low"] <= difference["mean"] <= difference["high"]
        else:
            assert difference is None


def test_a_table_may_split_in_time(experiment: Experiment, tmp_path: Path):
    store = SequenceStore.open(tmp_path / "tiny")
    times = np.concatenate([np.arange(n) * 5 + user for user, n in enumerate(store.lengths())])
    columns = {"timestamp": times.astype(np.int64)}
    timed = SequenceStore.from_arrays(store.values, store.offsets, n_items=store.n_items, columns=columns)
    timed.save(tmp_path / "timed")
    text = re.sub("grid: .*\n|published: .*", "", TABLE) + "split: temporal:0.6,0.2,0.2\n"
    (tmp_path / "t.yaml").write_text(text)
    done, _ = experiment("--stores", "timed", "--seeds", "1", "--json")
    assert done.exit_code == 0, done.stderr
    (file, *_) = (tmp_path / "out" / "cells" / "timed").glob("*.json")
    cell = json.loads(file.read_text())
    split = temporal_split(timed, (0.6, 0.2, 0.2))
    report = cell["result"]["trained_on"]["split"]
    assert report["test"] == evaluated_counts(split)["test"] and cell["configuration"]["split"].startswith("temporal")
    assert cell["result"]["trained_on"]["users"] == split.train.groups.size.sum()
    assert "split in time (temporal:0.6,0.2,0.2)" in (tmp_path / "out" / "table.md").read_text()


def test_a_tuned_cell_without_its_checkpoint_is_trained_anew(experiment: Experiment, tmp_path: Path):
    (tmp_path / "t.yaml").write_text(TABLE.replace("grid: [{hidden_dropout_prob: 0.5}, ", "grid: ["))
    cell = "last_target.hidden_dropout_prob=0.1.seed1"
    done, _ = experiment("--seeds", "1")
    assert done.exit_code == 0, done.stderr
    file = tmp_path / "out" / "cells" / "tiny" / f"{cell}.json"
    content = json.loads(file.read_text())
    test = content["result"].pop("test")
    file.write_text(json.dumps(content))
    done, trained = experiment("--seeds", "1")
    assert (done.exit_code, trained, cells(tmp_path / "out")[cell]["test"]) == (0, [], test)
    file.write_text(json.dumps(content))
    shutil.rmtree(tmp_path / "out" / "work")
    done, trained = experiment("--seeds", "1")
    assert (done.exit_code, trained, cells(tmp_path / "out")[cell]["test"]) == (0, [cell], test)


def test_the_budget_ends_between_cells_and_between_epochs(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done, trained = experiment("--minutes", 0)
    assert (done.exit_code, trained) == (0, [])
    assert f"The time is over: tiny {TUNING[0]} did not start. The same command" in done.stderr
    assert done.stdout.count("not run") == 8
    # A cell asks before it begins and after two of its four epochs: the second ends in its middle.
    answers = iter([True, True, True, False])
    asked = []

    def has(self: Clock, seconds: float) -> bool:
        asked.append(seconds)
        return next(answers)

    monkeypatch.setattr(Clock, "has", has)
    done, trained = experiment()
    assert (done.exit_code, trained) == (0, TUNING[:1])
    over = rf"The time is over: tiny {TUNING[1]} was ended after .* and is not kept: a run takes about .* minutes\."
    assert re.search(over, done.stderr)
    kept = cells(tmp_path / "out")
    assert list(kept) == TUNING[:1] and asked == [0, 0, kept[TUNING[0]]["seconds"], 0]


ALONG = """
grid: [{hidden_dropout_prob: 0.5}, {hidden_dropout_prob: 0.1}]
along:
  name: share of the users
  points: [{genpas_train_users: 0.25, n_layers: 1}, {genpas_train_users: 1, n_layers: 2}]
"""


def test_what_is_varied_is_trained_point_by_point_and_reported(experiment: Experiment, tmp_path: Path):
    head = TABLE[: TABLE.index("grid:")].replace("epochs: 4", "epochs: 2").replace("n_layers: 1, ", "")
    (tmp_path / "t.yaml").write_text(f"datasets: [tiny]\n{head}{ALONG}")
    done, trained = experiment("--json")
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
    assert result["along"] == "share of the users" and {row["figures"]["pairs"] for row in rows} == {120}
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
        assert row["figures"]["unmasked NDCG@10"]["mean"] == pytest.approx(np.mean(figures))
    page = (tmp_path / "out" / "table.md").read_text()
    assert "| method | share of the users 0.25, n_layers 1 | share of the users 1, n_layers 2 |" in page
    assert "By popularity of the target" in page and "Users seen and not seen in training" in page

    (tmp_path / "t.yaml").write_text((head + ALONG).replace("n_layers", "n_layrs"))
    done, trained = experiment()
    assert (done.exit_code, trained) == (2, []) and "Did you mean 'n_layers'" in done.stderr

    pytest.importorskip("matplotlib")
    for plot in ("tiny-validation", "tiny-along"):
        assert f"({plot}.svg)]({plot}.png)" in page
        assert (tmp_path / "out" / f"{plot}.svg").is_file() and (tmp_path / "out" / f"{plot}.png").is_file()


def test_a_data_set_that_is_not_asked_for_keeps_its_section(experiment: Experiment, tmp_path: Path):
    text = TABLE.replace("grid: [{hidden_dropout_prob: 0.5}, ", "grid: [").replace("epochs: 4", "epochs: 2")
    (tmp_path / "t.yaml").write_text(text)
    shutil.copytree(tmp_path / "tiny", tmp_path / "more")
    out = tmp_path / "out"
    done, trained = experiment("--seeds", "1")
    assert done.exit_code == 0 and len(trained) == 2, done.stderr
    first, page = json.loads((out / "table.json").read_text()), (out / "table.md").read_text()
    section = page[page.index("## tiny") : page.rindex("Full ranking of all items")]

    more = ("--stores", "more", "--datasets", "more", "--seeds", "1")
    done, trained = experiment(*more, "--json")
    assert done.exit_code == 0 and len(trained) == 2, done.stderr
    both = json.loads(done.stdout)
    assert both == json.loads((out / "table.json").read_text())
    assert both["datasets"]["tiny"] == first["datasets"]["tiny"]
    page = (out / "table.md").read_text()
    assert section in page and page.index("## tiny") < page.index("## more")
    # The other one asked for: nothing to train, nothing moved.
    done, trained = experiment("--seeds", "1", "--json")
    assert (trained, json.loads(done.stdout)) == ([], both) and (out / "table.md").read_text() == page

    # A row that is new is not run there; with other settings the data set is left out, and its cells stay.
    (tmp_path / "t.yaml").write_text(text.replace('"1,0,0"]', '"1,0,0", multi_target]'))
    done, trained = experiment(*more, "--minutes", 0, "--json")
    assert (done.exit_code, trained) == (0, [])
    assert [len(row["seeds"]) for row in json.loads(done.stdout)["datasets"]["tiny"]] == [1, 1, 0]
    (tmp_path / "t.yaml").write_text(text.replace("hidden_size: 8", "hidden_size: 16"))
    done, trained = experiment(*more, "--minutes", 0, "--out", "other")
    shutil.copytree(out / "cells" / "tiny", tmp_path / "other" / "cells" / "tiny")
    done, trained = experiment(*more, "--minutes", 0, "--out", "other")
    assert (done.exit_code, trained) == (0, []) and "leaves out tiny" in done.stderr
    assert list(json.loads((tmp_path / "other" / "table.json").read_text())["datasets"]) == ["more"]
    assert len(cells(tmp_path / "other")) == 2


def test_a_report_is_made_without_stores(experiment: Experiment, tmp_path: Path):
    text = TABLE.replace("grid: [{hidden_dropout_prob: 0.5}, ", "grid: [").replace("epochs: 4", "epochs: 2")
    (tmp_path / "t.yaml").write_text(text)
    done, _ = experiment("--json")
    shutil.rmtree(tmp_path / "tiny")
    again, trained = experiment("--json", "--report", "--stores", "nowhere")
    assert trained == [] and json.loads(again.stdout) == json.loads(done.stdout)


def test_groups_are_shown_if_all_tested_seeds_have_them(experiment: Experiment, tmp_path: Path):
    text = TABLE.replace("grid: [{hidden_dropout_prob: 0.5}, ", "grid: [").replace("epochs: 4", "epochs: 2")
    (tmp_path / "t.yaml").write_text(text.replace('[last_target, "1,0,0"]', '["1,0,0"]'))
    done, _ = experiment("--json")
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)["datasets"]["tiny"]
    assert row["seeds"] == [1, 2] and row["groups"]["popularity"]
    file = tmp_path / "out" / "cells" / "tiny" / "1,0,0.hidden_dropout_prob=0.1.seed2.json"
    content = json.loads(file.read_text())
    del content["result"]["groups"]
    file.write_text(json.dumps(content))
    done, trained = experiment("--json")
    (without,) = json.loads(done.stdout)["datasets"]["tiny"]
    assert trained == [] and without == {**row, "groups": {}}


def test_both_protocols_are_those_of_runs_that_test_by_them(settings: dict[str, Any], tmp_path: Path):
    given = {**settings, "metrics": ["NDCG", "Recall"], "topk": [5, 10], "valid_metric": "NDCG@10", "epochs": 1}
    given |= {"genpas": {"strategy": "multi_target"}, "mask_history": True}
    run = train({**given, "checkpoint_dir": str(tmp_path / "a")}, model="SASRec", dataset="tiny")
    data = tmp_path / "moved"
    shutil.copytree(Path(settings["data_path"]) / "tiny", data)
    figures = experiment_cell.test(Path(run.checkpoint), data).test
    alone = evaluate_checkpoint(run.checkpoint)
    assert {name: figures["masked"][name] for name in alone} == alone
    assert {name: figures["unmasked"][name] for name in alone} != alone
    # One epoch trains alike whatever validation is by, so the weights are the same.
    unmasked = train({**given, "mask_history": False}, model="SASRec", dataset="tiny")
    assert {name: figures["unmasked"][name] for name in alone} == evaluate_checkpoint(unmasked.checkpoint)


TABLES = sorted((Path(__file__).parents[2] / "configs" / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("file", TABLES, ids=lambda file: file.stem)
def test_the_shipped_tables_have_settings_that_recbole_knows(file: Path):
    table = read_table(file)
    keys = table.recbole_keys
    experiment_cell.check_known(table.models, keys)
    with pytest.raises(InputError, match=r"'learning_rat'\. Did you mean 'learning_rate'"):
        experiment_cell.check_known(table.models, [*keys, "learning_rat"])


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
    old: str, new: str, told: str, experiment: Experiment, tmp_path: Path
):
    (tmp_path / "t.yaml").write_text(TABLE.replace(old, new))
    done, trained = experiment()
    assert (done.exit_code, done.stdout, trained) == (2, "", [])
    assert told in done.stderr and "Traceback" not in done.stderr


METHODS = ("--methods", "last_target,mine.yaml")
BUDGET = ("--pairs", 120, "--pairs-per-epoch", 60, "--config", "small.yaml")


def test_the_shorthand_makes_a_table_that_is_resumed(experiment: Experiment, tmp_path: Path):
    arguments = (*METHODS, *BUDGET, "--metric", "Recall@10", "--json")
    done, trained = experiment(*arguments, stop=3)
    assert (done.exit_code, trained) == (130, ["last_target.seed1", "mine.yaml.seed1", "last_target.seed2"])
    done, trained = experiment(*arguments)
    assert done.exit_code == 0, done.stderr
    assert trained == ["mine.yaml.seed2"] and "tiny 4 of 4: mine.yaml.seed2: validation 0." in done.stderr
    result = json.loads(done.stdout)
    rows = result["datasets"]["tiny"]
    assert (result["table"], result["metric"]) == ("out", "Recall@10")
    assert [row["method"] for row in rows] == ["last_target", "mine.yaml"]
    assert {row["figures"]["pairs"] for row in rows} == {120}
    kept = cells(tmp_path / "out")
    assert len(kept) == 4
    for name, cell in kept.items():
        assert [point["pairs"] for point in cell["curve"]] == [60, 120]  # stopping_step of the file stops no run
        assert cell["validation"] == max(point["validation"] for point in cell["curve"])
        assert (cell["trained_on"]["mixing"] is not None) == name.startswith("mine")
        assert (tmp_path / "out" / "work" / "tiny" / cell["checkpoint"]).is_file()
    assert rows[0]["figures"]["KL"] == kept["last_target.seed1"]["trained_on"]["kl_validation"]
    done, trained = experiment(*arguments[:-1])
    assert (done.exit_code, trained) == (0, []) and "Nothing was left to do: every run is finished." in done.stderr
    assert "Recall@10" in done.stdout and "mine.yaml" in done.stdout


def test_the_environment_is_known_before_anything_is_trained(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    described: list[int] = []
    monkeypatch.setattr(training, "describe", lambda: described.append(1) or {"commit": "abc"})
    arguments = ("--methods", "last_target", *BUDGET)
    done, trained = experiment(*arguments, stop=0)
    assert (done.exit_code, trained, described) == (130, [], [1])
    experiment(*arguments)
    assert [cell["environment"] for cell in cells(tmp_path / "out").values()] == [{"commit": "abc"}] * 2


def test_a_cell_of_other_settings_is_refused(experiment: Experiment, tmp_path: Path):
    arguments = ("--methods", "last_target", "--pairs", 60, "--pairs-per-epoch", 60, "--config", "small.yaml")
    more = ("--seeds", "1")
    done, trained = experiment(*arguments, *more)
    assert done.exit_code == 0 and trained == ["last_target.seed1"], done.stderr
    changes = {
        ("--metric", "NDCG@5"): "metric was 'NDCG@10' and is 'NDCG@5' now",
        ("--set", "learning_rate=0.1"): "settings.learning_rate was not set and is '0.1' now",
        ("--model", "LightSANs"): "model was 'SASRec' and is 'LightSANs' now",
    }
    for change, said in changes.items():
        done, trained = experiment(*arguments, *more, *change)
        assert (done.exit_code, trained) == (2, [])
        assert f"was trained otherwise: {said}. Choose" in done.stderr
    SequenceStore.from_arrays([1, 2, 3, 4, 5], [0, 5], n_items=25).save(tmp_path / "tiny", overwrite=True)
    done, trained = experiment(*arguments, *more)
    assert (done.exit_code, trained) == (2, []) and "otherwise: the store has other content. Choose" in done.stderr


def test_a_regenerated_store_is_trained_on_and_tested_as_the_original(experiment: Experiment, tmp_path: Path):
    original = SequenceStore.open(tmp_path / "tiny")
    rows = np.arange(40)
    written = np.random.default_rng(4).integers(1, 26, (40, 1, 4))
    patterns = mine_patterns(original.leave_last_out().train)
    store = regenerated_store(original, patterns, Regenerated(rows, written, np.zeros((40, 1), bool)))
    store.save(tmp_path / "new")
    done, trained = experiment("--methods", "last_target,last_target@new", *BUDGET, "--json")
    assert done.exit_code == 0, done.stderr
    assert len(trained) == 4
    plain, new = json.loads(done.stdout)["datasets"]["tiny"]
    assert (plain["method"], new["method"]) == ("last_target", "last_target@new")
    assert plain["figures"]["KL"] != new["figures"]["KL"] and plain["figures"].keys() == new["figures"].keys()

    store = SequenceStore.from_arrays(original.values[::-1], original.offsets, n_items=25)
    store.save(tmp_path / "other")
    done, trained = experiment("--methods", "last_target@other", *BUDGET, "--out", "out2")
    assert (done.exit_code, trained) == (2, []) and "was not regenerated from" in done.stderr
    (tmp_path / "empty").mkdir()
    done, _ = experiment("--methods", "last_target@empty", *BUDGET)
    assert done.exit_code == 2 and "empty" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["multi_target+basrec"], "20 plain epochs before it begins, and a run has 2"),
        (["multi_target", "--set", "eval_step=3"], "eval_step is 3"),
        (["multi_target", "--set", "eval_step=0"], "eval_step is 0"),
        (["multi_target", "--set", "train_neg_sample_args={sample_num: 1}"], "RecBole refuses"),
        (["multi_target", "--model", "NoSuchModel"], "no model 'NoSuchModel'"),
        (["multi_target", "--out", "small.yaml"], "small.yaml"),
        (["multi_targt"], "Did you mean 'multi_target'"),
        (["multi_target,multi_target"], "twice"),
        (["multi_target", "--pairs", 61], "Write 60 or 120"),
        (["multi_target", "--seeds", "x"], "x"),
        (["multi_target", "--metric", "AUC@10"], "'AUC' cannot choose"),
        (["multi_target", "--set", "epochs=3"], "or --pairs"),
        (["multi_target", "--set", "mixing=x"], "mixing: a row sets that itself"),
        (["multi_target", "--config", "no.yaml"], "no.yaml does not"),
        (["multi_target", "--config", "mine.yaml"], "mine.yaml, line 1: genpas says what is trained on"),
        (["multi_target", "t.yaml"], "Leave out --methods"),
    ],
)
def test_what_could_not_be_trained_by_a_shorthand_is_said_before(
    arguments: list[str], told: str, experiment: Experiment, tmp_path: Path
):
    given = dict(zip(BUDGET[::2], BUDGET[1::2], strict=True))
    words = [word for option, value in given.items() if option not in arguments for word in (option, value)]
    done, trained = experiment("--methods", *arguments, *words)
    assert (done.exit_code, done.stdout, trained) == (2, "", [])
    assert told in done.stderr and "Traceback" not in done.stderr


def test_without_a_table_there_is_nothing_to_do(tmp_path: Path):
    done = CliRunner().invoke(app, ["experiment", "--out", "out"])
    assert done.exit_code == 2 and "Name a file as TABLE, or give --methods and --pairs" in done.stderr
    (tmp_path / "t.yaml").write_text(TABLE[: TABLE.index("published")])
    done = CliRunner().invoke(app, ["experiment", "t.yaml", "--out", "out"])
    assert done.exit_code == 2 and "t names no data set. Name them after --datasets" in done.stderr


def test_the_keys_of_a_table_are_printed():
    done = CliRunner().invoke(app, ["experiment", "--keys"])
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()][:4] == ["title", "model", "rows", "epochs"]
