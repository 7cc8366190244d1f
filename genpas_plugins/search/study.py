"""Training the shortlist: one Optuna trial a point, poor ones pruned, every finished one kept in an SQLite file.

Chosen by validation NDCG@10. The test set is looked at once, at the end, for the chosen point; what it said is kept in
the study too, so that a rerun reads it instead of looking again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genpas_plugins.sampling.policy import SamplingPolicy, shortest
from genpas_plugins.settings.settings_diff import differences
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    import optuna

OnEpoch = Callable[[int, float], None]
Train = Callable[[SamplingPolicy, OnEpoch], Mapping[str, Any]]
"""Train at a point and return plain values, "score" among them: the best validation NDCG@10.

Calls on_epoch(epoch, score) after every validation, and lets through what that raises.
"""
Test = Callable[[Mapping[str, Any]], Mapping[str, float]]
"""Return the test figures of what a `Train` returned."""
Discard = Callable[[SamplingPolicy], None]
Tell = Callable[[str, int, int | None], None]

PRUNERS = ("median", "successive_halving", "none")
NAME = "genpas"
_SETTINGS, _TEST, _LABEL, _RESULT = "settings", "test", "point", "result"
_SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True)
class Trial:
    """A finished trial of the point `label`.

    score  : best validation NDCG@10
    epochs : how many validations it had
    result : what training returned; empty if pruned
    """

    label: str
    pruned: bool
    score: float
    epochs: int
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """All finished trials of the points asked for, best first and pruned ones last; the chosen one and its test."""

    trials: list[Trial]
    chosen: Trial
    test: Mapping[str, float]


def check_pruner(name: str) -> None:
    """Raise InputError for a pruner that there is not."""
    if name not in PRUNERS:
        raise InputError(f"No pruner is called {name!r}; there are {', '.join(PRUNERS)}.")


def run_study(
    points: Sequence[SamplingPolicy],
    train: Train,
    test: Test,
    file: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    pruner: str = "median",
    discard: Discard | None = None,
    progress: Tell | None = None,
) -> Outcome:
    """Train every point that the study in `file` has not finished, choose the best, and test that one.

    settings : plain values that a result depends on (data, model, epochs, seed …); a study made with others is refused
    pruner   : "median", "successive_halving" or "none"; stops a trial whose validation falls behind the others'
    discard  : called with a point that was pruned: what its training left may go
    progress : called with a step's name, how much of it is done and its total

    A run that is killed leaves the finished trials; the next one goes on from there and trains the interrupted point
    again from its start. Two runs on one file at a time are not meant: each takes the other's trial for interrupted.

    Raises InputError for a file that is no study, or one of other settings.
    """
    check_pruner(pruner)
    with _quiet():
        study = open_study(file, pruner, dict(settings or {}))
        tell = progress or (lambda step, done, total: None)
        wanted = {policy.label: policy for policy in points}
        _forget_interrupted(study)
        known = finished(study)
        todo = [policy for label, policy in wanted.items() if label not in known]
        for done, policy in enumerate(todo, start=len(wanted) - len(todo)):
            tell("training the shortlist", done, len(wanted))
            _train_one(study, policy, train, discard)
        tell("training the shortlist", len(wanted), len(wanted))
        trials = sorted(
            (trial for label, trial in finished(study).items() if label in wanted),
            key=lambda trial: (trial.pruned, -trial.score, list(wanted).index(trial.label)),
        )
        if not trials or trials[0].pruned:
            raise InputError(f"Every trial in {file} was pruned; search again with --pruner none and another --out.")
        chosen = trials[0]
        return Outcome(trials, chosen, _tested(study, chosen, test))


def open_study(file: Path, pruner: str, settings: dict[str, Any]) -> optuna.Study:
    """Open or make the study in an SQLite file. Raises InputError for another kind of file and for other settings."""
    import optuna
    import sqlalchemy.exc

    if file.exists():
        with file.open("rb") as stream:
            if stream.read(len(_SQLITE)) not in (_SQLITE, b""):
                raise InputError(f"{file} is no study: it is not an SQLite file. Remove it or choose another --out.")
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
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        raise InputError(f"{file} is no study that can be read: {error}. Remove it or choose another --out.") from error
    text = json.dumps(settings, sort_keys=True)
    made_with = json.loads(study.user_attrs.get(_SETTINGS, text))
    changed = "; ".join(differences(made_with, json.loads(text)))
    if changed:
        raise InputError(
            f"{file} holds trials of other settings: {changed}. Choose another --out, or remove the file to train anew."
        )
    if _SETTINGS not in study.user_attrs:
        study.set_user_attr(_SETTINGS, text)
    return study


def finished(study: optuna.Study) -> dict[str, Trial]:
    """Return the trials that need no training any more, by the label of their point."""
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
    """Mark what a killed run left in training as failed, so that it neither counts nor prunes."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _tested(study: optuna.Study, chosen: Trial, test: Test) -> dict[str, float]:
    """Return the test figures of the chosen point: from the study if it was tested before."""
    saved = study.user_attrs.get(_TEST, {})
    if chosen.label not in saved:
        saved = {**saved, chosen.label: {key: float(value) for key, value in test(chosen.result).items()}}
        study.set_user_attr(_TEST, saved)
    return dict(saved[chosen.label])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log meanwhile: it announces every trial, across the progress bar."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
