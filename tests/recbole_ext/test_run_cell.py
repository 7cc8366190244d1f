"""`genpas compare` through RecBole: trained under one budget, resumed after an interruption, never mixed up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from genpas_plugins import SequenceStore
from genpas_plugins.cli import app
from genpas_plugins.experiments import cell_training
from genpas_plugins.experiments.cell import Cell
from genpas_plugins.experiments.cell_training import Comparison
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import mine_patterns
from genpas_plugins.neural.dr4sr.regenerated_store import regenerated_store
from genpas_plugins.support.folder_lock import sole_use

METHODS = ("last_target", "mine.yaml")
BUDGET = ("--pairs", 120, "--pairs-per-epoch", 60, "--seeds", "1,2", "--config", "small.yaml")

Compare = Callable[..., Any]


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Return compare(*arguments), which runs `genpas compare tiny --out out` and says which cells it trained."""
    lengths = [6 + user % 4 for user in range(40)]
    values = [1 + (7 * place) % 25 for place in range(sum(lengths))]
    SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=25).save(tmp_path / "tiny")
    small = "hidden_size: 8\ninner_size: 8\nn_layers: 1\nMAX_ITEM_LIST_LENGTH: 5\ntopk: [5]\nstopping_step: 1\n"
    (tmp_path / "small.yaml").write_text(small)
    (tmp_path / "mine.yaml").write_text(
        "genpas: {strategy: multi_target, augment: {operator: insert, rate: 0.3}}\n"
        "mixing: {method: basrec, warmup_epochs: 1}\n"
    )
    trained: list[str] = []
    run = Comparison.run

    def counted(self: Comparison, cell: Cell, *given: Any) -> dict[str, Any]:
        if len(trained) == counted.stop:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        trained.append(cell.name)
        return run(self, cell, *given)

    monkeypatch.setattr(Comparison, "run", counted)

    def invoke(*arguments: object, stop: int | None = None) -> tuple[Any, list[str]]:
        trained.clear()
        counted.stop = stop  # type: ignore[attr-defined]
        words = ["compare", "tiny", *map(str, arguments)]
        done = CliRunner().invoke(app, [*words, *([] if "--out" in words else ["--out", "out"])])
        return done, list(trained)

    return invoke


def without_seconds(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result["methods"]]


def test_an_interrupted_comparison_goes_on_and_says_what_an_uninterrupted_one_says(compare: Compare, tmp_path: Path):
    arguments = ("--methods", ",".join(METHODS), *BUDGET, "--metric", "Recall@10", "--json")
    done, trained = compare(*arguments, stop=3)
    assert done.exit_code == 130
    assert trained == ["last_target.seed1", "mine.yaml.seed1", "last_target.seed2"]
    assert not (tmp_path / "out" / "comparison.json").exists()

    done, trained = compare(*arguments)
    assert done.exit_code == 0, done.stderr
    assert trained == ["mine.yaml.seed2"] and "4 of 4: mine.yaml.seed2: validation 0." in done.stderr
    assert "left to do" not in done.stderr
    result = json.loads(done.stdout)
    assert result == json.loads((tmp_path / "out" / "comparison.json").read_text())
    whole, trained = compare(*arguments, "--out", "again")
    assert len(trained) == 4
    assert without_seconds(json.loads(whole.stdout)) == without_seconds(result)

    assert [row["method"] for row in result["methods"]] == list(METHODS)
    assert {row["pairs_seen"] for row in result["methods"]} == {120}
    for row in result["methods"]:
        assert row["validation"]["sd"] is not None and row["seconds"]["mean"] > 0
        assert set(row["test"]) == {f"{metric}@{k}" for metric in ("ndcg", "recall") for k in (5, 10)}
    cells = {file.stem: json.loads(file.read_text())["result"] for file in (tmp_path / "out" / "cells").iterdir()}
    assert len(cells) == 4
    for name, cell in cells.items():
        assert [point["pairs"] for point in cell["curve"]] == [60, 120]  # stopping_step of the file stops nobody
        assert cell["validation"] == max(point["validation_recall@10"] for point in cell["curve"])
        assert (cell["trained_on"]["mixing"] is not None) == name.startswith("mine")
        assert (tmp_path / "out" / cell["checkpoint"]).is_file()
    first = [cells[f"last_target.seed{seed}"]["validation"] for seed in (1, 2)]
    assert result["methods"][0]["validation"]["mean"] == pytest.approx(np.mean(first))
    assert result["methods"][0]["kl_validation"] == cells["last_target.seed1"]["trained_on"]["kl_validation"]

    with sole_use(tmp_path / "out"):
        done, trained = compare(*arguments[:-1])
        assert (done.exit_code, trained) == (2, []) and "another run is at work" in done.stderr

    done, trained = compare(*arguments[:-1])
    assert (done.exit_code, trained) == (0, [])
    assert "Recall@10" in done.stdout and "mine.yaml" in done.stdout and "4 of 4 runs done" in done.stderr
    assert "Nothing was left to do: every run is finished." in done.stderr


def test_the_environment_is_known_before_anything_is_trained(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    described: list[int] = []
    monkeypatch.setattr(cell_training, "describe", lambda: described.append(1) or {"commit": "abc"})
    arguments = ("--methods", "last_target", *BUDGET)
    done, trained = compare(*arguments, stop=0)
    assert (done.exit_code, trained, described) == (130, [], [1])
    done, _ = compare(*arguments)
    cells = [json.loads(file.read_text())["result"] for file in (tmp_path / "out" / "cells").iterdir()]
    assert [cell["environment"] for cell in cells] == [{"commit": "abc"}] * 2


def test_a_cell_of_other_settings_is_refused(compare: Compare, tmp_path: Path):
    arguments = ("--methods", "last_target", "--pairs", 60, "--pairs-per-epoch", 60, "--config", "small.yaml")
    done, trained = compare(*arguments)
    assert done.exit_code == 0 and trained == ["last_target.seed2020"], done.stderr
    assert "± –" in (tmp_path / "out" / "comparison.md").read_text()
    for change, said in {
        ("--metric", "NDCG@5"): "metric was 'NDCG@10' and is 'NDCG@5' now",
        ("--set", "learning_rate=0.1"): "settings.learning_rate was not set and is '0.1' now",
        ("--model", "LightSANs"): "model was 'SASRec' and is 'LightSANs' now",
        ("--pairs", "120"): "epochs was 1 and is 2 now",
    }.items():
        kept = arguments[:2] + arguments[4:] if change[0] == "--pairs" else arguments
        done, trained = compare(*kept, *change)
        assert (done.exit_code, trained) == (2, [])
        assert f"was trained otherwise: {said}. Choose" in done.stderr
    (tmp_path / "other.yaml").write_text((tmp_path / "small.yaml").read_text() + "\n")
    done, trained = compare(*arguments[:-1], "other.yaml")
    assert "was trained otherwise: a --config file has other content, or there are others. Choose" in done.stderr
    SequenceStore.from_arrays([1, 2, 3, 4, 5], [0, 5], n_items=25).save(tmp_path / "tiny", overwrite=True)
    done, trained = compare(*arguments)
    assert (done.exit_code, trained) == (2, []) and "otherwise: the store has other content. Choose" in done.stderr
    cell = tmp_path / "out" / "cells" / "last_target.seed2020.json"
    cell.write_text("{}")
    done, _ = compare(*arguments)
    assert done.exit_code == 2 and "is no finished cell" in done.stderr


def test_a_regenerated_store_is_trained_on_and_tested_as_the_original(compare: Compare, tmp_path: Path):
    original = SequenceStore.open(tmp_path / "tiny")
    rows = np.arange(40)
    written = np.random.default_rng(4).integers(1, 26, (40, 1, 4))
    patterns = mine_patterns(original.leave_last_out().train)
    store = regenerated_store(original, patterns, Regenerated(rows, written, np.zeros((40, 1), bool)))
    store.save(tmp_path / "new")
    methods = ("--methods", "last_target,last_target@new")
    done, trained = compare(*methods, *BUDGET, "--json")
    assert done.exit_code == 0, done.stderr
    assert len(trained) == 4
    plain, new = json.loads(done.stdout)["methods"]
    assert (plain["method"], new["method"]) == ("last_target", "last_target@new")
    assert plain["kl_validation"] != new["kl_validation"] and plain["test"].keys() == new["test"].keys()

    store = SequenceStore.from_arrays(original.values[::-1], original.offsets, n_items=25)
    store.save(tmp_path / "other")
    done, trained = compare("--methods", "last_target@other", *BUDGET, "--out", "out2")
    assert (done.exit_code, trained) == (2, []) and "was not regenerated from" in done.stderr
    (tmp_path / "empty").mkdir()
    done, _ = compare("--methods", "last_target@empty", *BUDGET)
    assert done.exit_code == 2 and "empty" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--methods", "multi_target+basrec"], "20 plain epochs before it mixes, and a run has 2"),
        (["--methods", "multi_target", "--set", "eval_step=3"], "eval_step is 3"),
        (["--methods", "multi_target", "--set", "eval_step=0"], "eval_step is 0"),
        (["--methods", "multi_target", "--set", "train_neg_sample_args={sample_num: 1}"], "RecBole refuses"),
        (["--methods", "multi_target", "--model", "NoSuchModel"], "no model 'NoSuchModel'"),
        (["--methods", "multi_target", "--out", "tiny"], "is the store itself"),
        (["--methods", "multi_target", "--out", "small.yaml"], "is a file"),
    ],
)
def test_what_could_not_be_trained_is_said_before_training(arguments: list[str], told: str, compare: Compare):
    done, trained = compare(*arguments, *BUDGET)
    assert (done.exit_code, done.stdout, trained) == (2, "", [])
    assert told in done.stderr and "Traceback" not in done.stderr
