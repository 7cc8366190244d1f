"""Train the shortlist: one Optuna trial a point. Poor trials are pruned and finished ones kept in an SQLite file.

Validation NDCG@10 chooses the point. Only the chosen point is tested once at the end. The study keeps the test
figures and a rerun does not test again.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genpas_plugins.sampling.policy import SamplingPolicy, shortest
from genpas_plugins.settings.settings_diff import differences
from genpas_plugins.support.console import Tell
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.run_result import DIVERGED

if TYPE_CHECKING:
    import optuna

OnEpoch = Callable[[int, float], None]
Train = Callable[[SamplingPolicy, OnEpoch], Mapping[str, Any]]
"""Train at a point and return plain values. "score" is the best validation NDCG@10.

Calls on_epoch(epoch, score) after every validation and does not catch its exceptions.
"""
Test = Callable[[Mapping[str, Any]], Mapping[str, float]]  # return the test figures of what a `Train` returned
Discard = Callable[[SamplingPolicy], None]

PRUNERS = ("median", "successive_halving", "none")
NAME = "genpas"
_SETTINGS, _TEST, _LABEL, _RESULT = "settings", "test", "point", "result"
_SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True)
class Trial:
    """A finished trial."""

    label: str
    pruned: bool  # whether training was stopped early
    score: float  # the best validation NDCG@10
    epochs: int  # how many validations it had
    result: Mapping[str, Any] = field(default_factory=dict)  # what training returned. Empty if pruned.


@dataclass(frozen=True)
class Outcome:
    """The finished trials and the chosen trial with its test figures. The best come first and pruned ones last."""

    trials: list[Trial]
    chosen: Trial
    test: Mapping[str, float]


def check_pruner(name: str) -> None:
    """Raise InputError for an unknown pruner."""
    if name not in PRUNERS:
        raise InputError(f"No pruner is called {name!r}; there are {', '.join(PRUNERS)}.")


def run_study(
    points: Sequence[SamplingPolicy],
    train: Train,
    test: Test,
    file: Path,  # the SQLite file of the study
    *,
    settings: Mapping[str, Any] | None = None,  # plain values that a result depends on, as data, model, epochs and seed
    # "median", "successive_halving" or "none". Stops a trial with a worse validation than the others.
    pruner: str = "median",
    discard: Discard | None = None,  # called with a pruned point, whose files may be removed
    progress: Tell | None = None,
) -> Outcome:
    """Train every point that the study has not finished, choose the best point and test it.

    A killed run leaves the finished trials. The next run trains the interrupted point again from its start. Two runs
    must not share a file at a time: each would take the other's trial for an interrupted one.

    Raises InputError for a file that is not a study or a study with other settings.
    """
    check_pruner(pruner)
    with _quiet():
        study = open_study(file, pruner, dict(settings or {}))
        tell = progress or (lambda step, done, total: None)
        wanted = {policy.label: policy for policy in points}
        _forget_interrupted(study)
        known = finished_trials(study)
        todo = [policy for label, policy in wanted.items() if label not in known]
        for done, policy in enumerate(todo, start=len(wanted) - len(todo)):
            tell("training the shortlist", done, len(wanted))
            _train_one(study, policy, train, discard)
        tell("training the shortlist", len(wanted), len(wanted))
        trials = sorted(
            (trial for label, trial in finished_trials(study).items() if label in wanted),
            key=lambda trial: (trial.pruned, -trial.score, list(wanted).index(trial.label)),
        )
        if not trials or trials[0].pruned:
            raise InputError(f"Every trial in {file} was pruned; search again with --pruner none and another --out.")
        chosen = trials[0]
        return Outcome(trials, chosen, _tested(study, chosen, test))


def open_study(file: Path, pruner: str, settings: dict[str, Any]) -> optuna.Study:
    """Open or make the study of a file. Raises InputError for another kind of file and for other settings."""
    import optuna
    import sqlalchemy.exc

    if file.exists():
        with file.open("rb") as stream:
            if stream.read(len(_SQLITE)) not in (_SQLITE, b""):
                raise InputError(f"{file} is not a study: it is not an SQLite file. Remove it or choose another --out.")
    if "?" in str(file.resolve()):
        raise InputError(f"{file}: SQLAlchemy takes what follows a '?' for options; choose a path without one.")
    file.parent.mkdir(parents=True, exist_ok=True)
    pruners: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
        # Nothing to compare with before three trials, and a first epoch says little.
        "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
        "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
        "none": optuna.pruners.NopPruner,
    }
    try:
        with _quiet():
            study = optuna.create_study(
                storage=f"sqlite:///{file.resolve()}",
                study_name=NAME,
                direction="maximize",
                pruner=pruners[pruner](),
                sampler=optuna.samplers.RandomSampler(seed=0),  # suggests nothing: a trial is a point of the shortlist
                load_if_exists=True,
            )
            text = json.dumps(settings, sort_keys=True)
            made_with = json.loads(study.user_attrs.get(_SETTINGS, text))
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError, ValueError) as error:
        raise InputError(f"{file} cannot be read as a study: {error}. Remove it or choose another --out.") from error
    changed = "; ".join(differences(made_with, json.loads(text)))
    if changed:
        raise InputError(
            f"{file} holds trials of other settings: {changed}. Choose another --out, or remove the file to train anew."
        )
    if _SETTINGS not in study.user_attrs:
        study.set_user_attr(_SETTINGS, text)
    return study


def finished_trials(study: optuna.Study) -> dict[str, Trial]:
    """Return the complete or pruned trials by the label of their point."""
    from optuna.trial import TrialState

    trials = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        scores = list(trial.intermediate_values.values())
        score = trial.value if trial.state == TrialState.COMPLETE and trial.value is not None else max(scores)
        result = json.loads(trial.user_attrs.get(_RESULT, "{}"))
        label = trial.user_attrs[_LABEL]
        trials[label] = Trial(label, trial.state == TrialState.PRUNED, score, len(scores), result)
    return trials


def _train_one(study: optuna.Study, policy: SamplingPolicy, train: Train, discard: Discard | None) -> None:
    import optuna

    trial = study.ask()
    trial.set_user_attr(_LABEL, policy.label)
    for name in ("alpha", "beta", "gamma"):
        trial.set_user_attr(name, shortest(getattr(policy, name)))  # text: JSON has no infinity

    def on_epoch(epoch: int, score: float) -> None:
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        result = dict(train(policy, on_epoch))
        if math.isnan(result["score"]):
            raise InputError(f"Training at {policy.label} has no validation NDCG@10: it is NaN. {DIVERGED}")
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        if discard is not None:
            discard(policy)
        return
    except BaseException:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        raise
    trial.set_user_attr(_RESULT, json.dumps(result))
    study.tell(trial, float(result["score"]))


def _forget_interrupted(study: optuna.Study) -> None:
    """Mark the trial that a killed run left as failed. It then neither counts nor prunes."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _tested(study: optuna.Study, chosen: Trial, test: Test) -> dict[str, float]:
    saved = study.user_attrs.get(_TEST, {})
    if chosen.label not in saved:
        saved = {**saved, chosen.label: {key: float(value) for key, value in test(chosen.result).items()}}
        study.set_user_attr(_TEST, saved)
    return dict(saved[chosen.label])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
