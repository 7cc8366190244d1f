"""`genpas analyze`: what it accepts, writes and prints, and how bad input ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("scipy")


from genpas_plugins import SequenceStore
from genpas_plugins.cli import app

Run = Callable[..., Any]
ALL = ["last_target", "multi_target", "slide_window"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(5)
    lengths = random.integers(2, 12, 40)
    path = tmp_path_factory.mktemp("stores") / "small"
    SequenceStore.from_arrays(random.integers(1, 30, lengths.sum()), np.cumsum([0, *lengths]), n_items=30).save(path)
    return path


@pytest.fixture
def analyze(saved: Path, tmp_path: Path) -> Run:
    def run(*arguments: object, out: Path = tmp_path / "out", before: tuple[object, ...] = (saved,)) -> Any:
        words = ["analyze", *before, *arguments, "--out", out]
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


def policies(result: Any) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return list(json.loads(result.stdout)["policies"])


@pytest.mark.parametrize(
    "words",
    [
        ["--strategies", ",".join(ALL), "--point", "1,0,0"],
        ["--strategies", ALL[0], "--strategies", ALL[1], "--strategies", ALL[2], "--point", "1,0,0"],
        ["--point", "1,0,0", "--strategies", ALL[0], f"--strategies={ALL[1]}, {ALL[2]}"],
    ],
)
def test_strategies_are_given_in_one_go_or_one_by_one(analyze: Run, words: list[str]):
    assert policies(analyze(*words, "--json")) == [*ALL, "1,0,0"]


def test_the_store_may_come_last(analyze: Run, saved: Path):
    assert policies(analyze("--json", "--strategies", ",".join(ALL[:2]), saved, before=())) == ALL[:2]


def test_without_any_policy_all_strategies_are_taken(analyze: Run):
    assert policies(analyze("--json")) == ALL


def test_points_are_named_by_their_exponents_and_taken_once(analyze: Run):
    words = ["--point", "1,0,0,1.0,-0,0", "--point=-1,inf,-inf,-inf,.5,.inf", "--strategies", f"{ALL[0]},{ALL[0]}"]
    assert policies(analyze(*words, "--json")) == ["last_target", "1,0,0", "-1,inf,-inf", "-inf,0.5,inf"]


def test_json_prints_the_file_and_nothing_else(analyze: Run, tmp_path: Path):
    result = analyze("--json", "--similarity", "overlap", "--smoothing", "1e-6")
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "report.json").read_text())
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert report["smoothing"] == 1e-6 and report["similarity"].startswith("overlap")
    assert set(report["kl"]) == {"test", "validation"} and "last_target|multi_target" in report["rank_agreement"]


def test_text_names_the_page(analyze: Run, tmp_path: Path):
    result = analyze()
    assert result.exit_code == 0 and str(tmp_path / "out" / "report.html") in result.stdout.replace("\n", "")
    assert "multi_target" in result.stdout


def test_an_estimated_similarity_has_a_standard_error(analyze: Run):
    report = json.loads(analyze("--similarity", "jaccard", "--json").stdout)
    assert report["alignment_discrimination"]["multi_target"]["standard_error"] > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--strategies", "last_targt"], "'last_target'"),
        (["--strategies", "last_target,multi"], "'multi'"),
        (["--strategies", "sampled"], "--point"),
        (["--point", "1,0"], "'1,0' is not a point"),
        (["--point", "1,0,x"], "three numbers"),
        (["--point", "1,0,nan"], "gamma is NaN"),
        (["--point", "1;0;0"], "not a point"),
        (["--smoothing", "nan"], "above 0"),
        (["--smoothing", "0"], "above 0"),
        (["--similarity", "jacard"], "'jaccard'"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(analyze: Run, tmp_path: Path, words: list[str], told: str):
    result = analyze(*words)
    assert result.exit_code == 2 and result.stdout == ""
    assert told in result.stderr and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_kept_unless_told(analyze: Run, tmp_path: Path):
    (tmp_path / "out").mkdir()
    assert "--overwrite" in analyze().stderr
    assert list((tmp_path / "out").iterdir()) == []
    assert analyze("--overwrite").exit_code == 0


def test_an_empty_validation_set_is_a_sentence(analyze: Run, tmp_path: Path):
    store = tmp_path / "short"
    SequenceStore.from_arrays([1, 2, 2, 1], [0, 2, 4]).save(store)
    result = analyze(before=(store,))
    assert result.exit_code == 2 and "validation set is empty" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["short"]
