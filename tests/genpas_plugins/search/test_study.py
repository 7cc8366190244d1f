"""The study with a stub in place of training: what is trained, pruned, resumed, and how often the test is looked at."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from genpas_plugins import InputError, SamplingPolicy
from genpas_plugins.search.study import OnEpoch, open_study, run_study

optuna = pytest.importorskip("optuna")

POINTS = [SamplingPolicy(alpha, 0, -math.inf) for alpha in (3, 1, 4, 1.5, 9, 2, 6)]
SCORES = {policy.label: policy.alpha / 10 for policy in POINTS}
BEST = SamplingPolicy(9, 0, -math.inf)


class Stub:
    """Trains four epochs that climb to the point's score, and counts what it is asked."""

    def __init__(self, scores: Mapping[str, float] = SCORES, dies_at: str | None = None) -> None:
        self.scores, self.dies_at = scores, dies_at
        self.trained: list[str] = []
        self.tested: list[str] = []
        self.discarded: list[str] = []

    def train(self, policy: SamplingPolicy, on_epoch: OnEpoch) -> dict[str, Any]:
        self.trained.append(policy.label)
        for epoch in range(4):
            if policy.label == self.dies_at and epoch == 2:
                raise KeyboardInterrupt
            on_epoch(epoch, self.scores[policy.label] * (epoch + 1) / 4)
        return {"score": self.scores[policy.label], "checkpoint": policy.label}

    def test(self, result: Mapping[str, Any]) -> dict[str, float]:
        self.tested.append(result["checkpoint"])
        return {"ndcg@10": self.scores[result["checkpoint"]] / 2}

    def discard(self, policy: SamplingPolicy) -> None:
        self.discarded.append(policy.label)

    def run(self, file: Path, points: list[SamplingPolicy] = POINTS, **more: Any) -> Any:
        return run_study(points, self.train, self.test, file, discard=self.discard, **{"pruner": "none", **more})


def test_every_point_is_trained_once_and_the_best_is_tested_once(tmp_path: Path):
    stub = Stub()
    outcome = stub.run(tmp_path / "study.db")
    assert stub.trained == [policy.label for policy in POINTS]
    assert stub.tested == [BEST.label]
    assert outcome.chosen.label == BEST.label and outcome.test == {"ndcg@10": 0.45}
    assert [trial.score for trial in outcome.trials] == sorted(SCORES.values(), reverse=True)
    assert all(trial.epochs == 4 and not trial.pruned for trial in outcome.trials)


def test_a_rerun_trains_and_tests_nothing(tmp_path: Path):
    first = Stub().run(tmp_path / "study.db")
    again = Stub()
    assert again.run(tmp_path / "study.db") == first
    assert again.trained == [] and again.tested == []


def test_a_run_goes_on_where_the_last_one_was_interrupted(tmp_path: Path):
    interrupted = Stub(dies_at=POINTS[2].label)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(tmp_path / "study.db")
    assert interrupted.tested == []
    again = Stub()
    outcome = again.run(tmp_path / "study.db")
    assert again.trained == [policy.label for policy in POINTS[2:]]
    assert outcome == Stub().run(tmp_path / "whole.db")


def test_a_trial_that_a_killed_run_left_in_training_is_trained_again(tmp_path: Path):
    study = open_study(tmp_path / "study.db", "none", {})
    trial = study.ask()
    trial.set_user_attr("point", BEST.label)
    trial.report(0.99, 0)
    stub = Stub()
    outcome = stub.run(tmp_path / "study.db")
    assert len(stub.trained) == len(POINTS)
    assert outcome.chosen.score == 0.9


def test_a_longer_shortlist_trains_what_is_new_and_tests_only_a_new_choice(tmp_path: Path):
    Stub().run(tmp_path / "study.db", POINTS[:3])
    same = Stub()
    same.run(tmp_path / "study.db", POINTS[:4])
    assert same.trained == [POINTS[3].label] and same.tested == []
    better = Stub()
    better.run(tmp_path / "study.db", POINTS)
    assert better.trained == [policy.label for policy in POINTS[4:]] and better.tested == [BEST.label]


def test_poor_trials_are_pruned_and_never_chosen(tmp_path: Path):
    scores = {policy.label: score for policy, score in zip(POINTS, (0.9, 0.8, 0.7, 0.1, 0.95, 0.2, 0.3), strict=True)}
    stub = Stub(scores)
    outcome = stub.run(tmp_path / "study.db", pruner="median")
    pruned = {trial.label for trial in outcome.trials if trial.pruned}
    assert pruned == {POINTS[3].label, POINTS[5].label, POINTS[6].label} == set(stub.discarded)
    assert [trial.pruned for trial in outcome.trials] == [False] * 4 + [True] * 3
    assert all(trial.epochs < 4 for trial in outcome.trials if trial.pruned)
    assert stub.tested == [POINTS[4].label]
    again = Stub(scores)
    assert again.run(tmp_path / "study.db", pruner="median") == outcome and again.trained == []


def test_a_study_of_other_settings_is_refused(tmp_path: Path):
    Stub().run(tmp_path / "study.db", settings={"model": "SASRec", "seed": 1})
    stub = Stub()
    with pytest.raises(InputError, match="seed was 1 and is 2 now"):
        stub.run(tmp_path / "study.db", settings={"model": "SASRec", "seed": 2})
    assert stub.trained == []


@pytest.mark.parametrize("content", [b"PAR1 is no database", b"SQLite format 3\x00 and then nothing of the kind"])
def test_a_file_that_is_no_study_is_refused_and_left_alone(content: bytes, tmp_path: Path):
    file = tmp_path / "study.db"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"study\.db (is not|cannot be read as) a study"):
        Stub().run(file)
    assert file.read_bytes() == content


def test_an_unknown_pruner_is_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(InputError, match="median, successive_halving, none"):
        Stub().run(tmp_path / "study.db", pruner="hyperband")
    assert list(tmp_path.iterdir()) == []


def test_the_study_is_one_sqlite_file_that_optuna_and_another_folder_can_open(tmp_path: Path):
    first = Stub().run(tmp_path / "a" / "study.db")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert Stub().run(tmp_path / "b" / "study.db") == first
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'b' / 'study.db'}")
    assert study.best_trial.user_attrs["point"] == BEST.label
    with sqlite3.connect(tmp_path / "b" / "study.db") as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def test_an_error_in_training_ends_the_study_and_is_no_finished_trial(tmp_path: Path):
    stub = Stub({**SCORES, POINTS[1].label: math.nan})

    def broken(policy: SamplingPolicy, on_epoch: Callable[[int, float], None]) -> dict[str, Any]:
        if policy == POINTS[1]:
            raise RuntimeError("out of memory")
        return stub.train(policy, on_epoch)

    with pytest.raises(RuntimeError, match="out of memory"):
        run_study(POINTS, broken, stub.test, tmp_path / "study.db", pruner="none")
    again = Stub()
    again.run(tmp_path / "study.db")
    assert again.trained == [policy.label for policy in POINTS[1:]]


def test_a_score_that_is_no_number_chooses_nothing(tmp_path: Path):
    with pytest.raises(InputError, match=f"Training at {POINTS[1].label} has no validation"):
        Stub({**SCORES, POINTS[1].label: math.nan}).run(tmp_path / "study.db")
