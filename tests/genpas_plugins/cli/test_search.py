"""`genpas search`: its table, its files, its refusals, and one shortlist trained through RecBole."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from genpas_plugins import GenPASConfig, SamplingPolicy, SequenceStore
from genpas_plugins.cli import app
from genpas_plugins.search.criteria import Criteria
from genpas_plugins.search.grid import Grid
from genpas_plugins.search.shortlist import shortlist
from genpas_plugins.support.folder_lock import lock_folder

Run = Callable[..., Any]


@pytest.fixture
def search() -> Run:
    """Return search(*arguments), which runs the published procedure of `genpas search` in this process."""
    return lambda *arguments: CliRunner().invoke(app, ["search", *map(str, arguments), "--by", "published"])


@pytest.fixture(scope="module")
def saved(medium: SequenceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "medium"
    medium.save(path)
    return path


def test_the_printed_object_is_the_shortlist_and_stands_in_search_json(search: Run, saved: Path, tmp_path: Path):
    done = search(saved, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result == json.loads((tmp_path / "out" / "search.json").read_text())
    split = SequenceStore.open(saved).leave_last_out()
    expected = shortlist(Criteria.of(split.train, split.validation), Grid())
    assert [row["point"] for row in result["shortlist"]] == [row.policy.label for row in expected.ranked]
    assert [row["ratio"] for row in result["shortlist"]] == [row.ratio for row in expected.ranked]
    assert result["grid"]["points"] == len(Grid().points) == 180 and result["kept"] == expected.n_kept
    assert result["grid"]["gamma"][0] == "-inf"
    assert result["study"] is None and result["chosen"] == result["shortlist"][0]["point"]
    assert result["optimum"]["best_ratio"]["ratio"] >= result["shortlist"][0]["ratio"]
    assert result["optimum"]["nearest"]["kl"] <= min(row["kl"] for row in result["shortlist"])


def test_the_yaml_is_the_chosen_point_and_says_where_it_comes_from(search: Run, saved: Path, tmp_path: Path):
    done = search(saved, "--out", tmp_path, "--alpha", "0,1", "--beta", "inf", "--gamma=-inf", "--pairs-per-epoch", 9)
    assert done.exit_code == 0, done.stderr
    text = (tmp_path / "genpas.yaml").read_text()
    config = GenPASConfig.from_config(yaml.safe_load(text), "genpas.yaml")
    chosen = json.loads((tmp_path / "search.json").read_text())["chosen"]
    assert config is not None and config.policy.label == chosen
    assert config.policy in [SamplingPolicy(alpha, math.inf, -math.inf) for alpha in (0, 1)]
    assert config.pairs_per_epoch == 9
    assert text.startswith("# Written by `genpas search`:") and "medium" in text.splitlines()[0]


def test_the_table_and_the_number_of_points_are_shown(search: Run, saved: Path, tmp_path: Path):
    (tmp_path / "grid.yaml").write_text("alpha: [0, 1]\nbeta: [0]\ngamma: [-.inf, 0, 1]\n")
    done = search(saved, "--grid", tmp_path / "grid.yaml", "--keep", 1, "--best", 6)
    assert done.exit_code == 0, done.stderr
    assert "6 points: α ∈ {0, 1}, β ∈ {0}, γ ∈ {-inf, 0, 1}" in done.stderr
    assert "multi_target" in done.stdout and "best A/D" in done.stdout and "Chosen:" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.yaml"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gamma", "0,nan"], "value 2 of gamma, nan"),
        (["--alpha", "0,,1"], "--alpha '0,,1' has an empty value"),
        (["--beta", "one"], "value 1 of beta, 'one'"),
        (["--keep", "0"], "keep is the share"),
        (["--keep", "1.5"], "1.5"),
        (["--keep", "nan"], "keep is the share"),
        (["--best", "0"], "best must be a whole number from 1 on"),
        (["--grid", "missing.yaml"], "missing.yaml does not exist"),
        (["--grid", "x.yaml", "--beta", "1"], "both give values"),
        (["--similarity", "jaccard"], "needs one that is exact: recency_containment"),
        (["--epochs", "2"], "add --train"),
        (["--config", "x.yaml"], "add --train"),
        (["--beta", "1e9"], "overflows"),
    ],
)
def test_bad_arguments_are_one_sentence_and_leave_nothing(
    arguments: list[str], told: str, search: Run, saved: Path, tmp_path: Path
):
    done = search(saved, "--out", tmp_path / "out", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--pruner", "hyperband"], "No pruner"),
        (["--model", "NoSuchModel"], "no model 'NoSuchModel'"),
        (["--config", "missing.yaml"], "missing.yaml does not exist"),
        (["--set", "seed=3"], "--set seed="),
        (["--set", "genpas_alpha=3"], "--set genpas_alpha="),
        (["--set", "epochs"], "'epochs' is no option"),
    ],
)
def test_what_training_cannot_use_is_said_before_the_search(
    arguments: list[str], told: str, search: Run, saved: Path, tmp_path: Path
):
    pytest.importorskip("recbole")
    pytest.importorskip("optuna")
    done = search(saved, "--out", tmp_path / "out", "--train", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr and "points:" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_training_needs_a_folder(search: Run, saved: Path):
    assert "--train needs --out" in search(saved, "--train").stderr


@pytest.mark.parametrize(("lengths", "told"), [((2, 1), "validation set is empty"), ((3, 3), "No training pair")])
def test_a_store_that_is_too_short_is_refused(lengths: tuple[int, int], told: str, search: Run, tmp_path: Path):
    store = SequenceStore.from_arrays([1, 2, 1, 2, 1, 2][: sum(lengths)], np.cumsum([0, *lengths]))
    store.save(tmp_path / "short")
    done = search(tmp_path / "short", "--out", tmp_path / "out")
    assert done.exit_code == 2 and told in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("sequences", "cause"),
    [
        (([1, 2, 3, 1], [2, 1, 4, 2], [1, 2, 3, 1]), "no validation target is a training target"),
        (([1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]), "all targets are one item"),
    ],
)
def test_a_figure_that_does_not_exist_chooses_nothing(sequences: Any, cause: str, search: Run, tmp_path: Path):
    SequenceStore.from_arrays(np.concatenate(sequences), np.arange(0, 13, 4)).save(tmp_path / "store")
    done = search(tmp_path / "store", "--out", tmp_path / "out")
    assert done.exit_code == 2 and cause in done.stderr and "Chosen" not in done.stdout
    assert not (tmp_path / "out" / "genpas.yaml").exists()


@pytest.mark.parametrize("option", [("--model", "GRU4Rec"), ("--pruner", "none"), ("--seed", "5"), ("--epochs", "2")])
def test_training_options_without_training_are_refused(option, search: Run, saved: Path, tmp_path: Path):
    done = search(saved, *option, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "add --train" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_trained_choice_is_not_replaced_by_an_untrained_one(search: Run, saved: Path, tmp_path: Path):
    (tmp_path / "study.db").touch()
    done = search(saved, "--out", tmp_path)
    assert done.exit_code == 2 and "holds a trained study" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["study.db"]


def test_a_configuration_of_the_user_s_own_is_not_replaced(search: Run, saved: Path, tmp_path: Path):
    (tmp_path / "genpas.yaml").write_text("genpas: multi_target\n")
    done = search(saved, "--out", tmp_path)
    assert done.exit_code == 2 and "not written by" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["genpas.yaml"]


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("optuna"), reason="needs Optuna")
@pytest.mark.skipif(not importlib.util.find_spec("recbole"), reason="needs RecBole")
def test_a_shortlist_is_trained_resumed_and_its_yaml_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lengths = [6 + user % 4 for user in range(40)]
    values = [1 + (7 * place) % 25 for place in range(sum(lengths))]
    SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=25).save(tmp_path / "tiny")
    (tmp_path / "small.yaml").write_text("hidden_size: 8\ninner_size: 8\nMAX_ITEM_LIST_LENGTH: 5\n")

    def genpas(*arguments: object) -> subprocess.CompletedProcess[str]:
        code = "from genpas_plugins.cli import main; main()"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
        )

    train = [
        "search",
        "tiny",
        "--by",
        "published",
        "--out",
        "out",
        "--train",
        "--best",
        "3",
        "--epochs",
        "2",
        "--config",
        "small.yaml",
    ]
    first = genpas(*train, "--set", "learning_rate=1e-2", "--json")
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    trials = result["study"]["trials"]
    assert {trial["point"] for trial in trials} == {row["point"] for row in result["shortlist"]}
    assert result["chosen"] == trials[0]["point"]
    assert trials[0]["validation_ndcg@10"] == max(trial["validation_ndcg@10"] for trial in trials)
    assert set(result["study"]["test"]) == {"ndcg@10", "recall@10"}
    exponents = [result["study"]["trained_on"][name] for name in ("alpha", "beta", "gamma")]
    assert ",".join(str(number).removesuffix(".0") for number in exponents) == result["chosen"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "small.yaml", "tiny"]
    section = next(row for row in result["shortlist"] if row["point"] == result["chosen"])
    assert result["study"]["trained_on"]["kl_validation"] == pytest.approx(section["kl"], rel=1e-9)

    (tmp_path / "out").rename(tmp_path / "moved")
    moved = ["moved" if part == "out" else part for part in train]
    monkeypatch.chdir(tmp_path)
    again = CliRunner().invoke(app, [*moved, "--set", "learning_rate=1e-2", "--json"])
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["study"] == result["study"]
    other = CliRunner().invoke(app, [*moved, "--set", "learning_rate=1e-3"])
    assert other.exit_code == 2 and "holds trials of other settings" in other.stderr

    with lock_folder(tmp_path / "moved"):
        meanwhile = CliRunner().invoke(app, [*moved, "--set", "learning_rate=1e-2"])
    assert meanwhile.exit_code == 2 and "another run is at work" in meanwhile.stderr

    files = ("--config", "moved/recbole.yaml", "--config", "small.yaml", "--config", "moved/genpas.yaml")
    trained = genpas(
        "train", "--model", "SASRec", "--dataset", "store", *files, "--epochs=2", "learning_rate=1e-2", "--json"
    )
    assert trained.returncode == 0, trained.stderr
    run = json.loads(trained.stdout)
    assert run["trained_on"] == json.loads(again.stdout)["study"]["trained_on"]
    assert run["test_result"]["ndcg@10"] == pytest.approx(result["study"]["test"]["ndcg@10"], abs=1e-4)


def test_the_default_search_is_sure_or_takes_multi_target(saved: Path, tmp_path: Path):
    arguments = ["search", str(saved), "--alpha", "0,1", "--beta", "0,inf", "--gamma=-inf,0", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    best = result["shortlist"][0]
    assert result["by"] == "transitions" and best["predicted"] >= result["multi_target"]["predicted"]
    assert result["sure"] == (result["difference"]["low"] > 0) and result["difference"]["point"] == best["point"]
    assert result["chosen"] == (best["point"] if result["sure"] else "multi_target")
    text = (tmp_path / "genpas.yaml").read_text()
    section = GenPASConfig.from_mapping(yaml.safe_load(text)["genpas"])
    assert section.policy.label == result["chosen"]
    shown = CliRunner().invoke(app, arguments)
    first = result["difference"]["point"] == "multi_target"
    assert ("No point is above multi_target" in shown.stdout) == first and ("on the other" in shown.stdout) != first
    assert ("without its more different pairs" in shown.stdout) == (result["counted"]["mean"] < 0 and not first)
    assert ("no point is surely better" in shown.stdout) == (not result["sure"] and not first)
    named = CliRunner().invoke(app, [*arguments, "--strategies", "suffix,last_items:length=2", "--json"])
    ranked = json.loads(named.stdout)
    assert ranked["strategies"] == ["suffix", "last_items:length=2"]
    assert "last_items:length=2" in [row["point"] for row in ranked["shortlist"]]
    for more, told in ((["--keep", "0.5"], "add --by published"), (["--by", "guess"], "transitions or published")):
        refused = CliRunner().invoke(app, [*arguments, *more])
        assert refused.exit_code == 2 and told in refused.stderr
