"""`genpas search`: the exponents (α, β, γ) to train on, found without training or by training a shortlist."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genpas_plugins.cli.options import JSON, ConfigFiles, Settings, SplitWord, StorePath, check_not_the_store
from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.console import figure, print_json, print_table, progress_bar
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import to_json

if TYPE_CHECKING:
    from genpas_plugins.analysis.similarity import Similarity
    from genpas_plugins.data.sequences import Split
    from genpas_plugins.experiments.search_training import SearchTraining
    from genpas_plugins.sampling.policy import Policy
    from genpas_plugins.search.grid import Grid
    from genpas_plugins.support.console import Tell

_VALUES = "inf and -inf are allowed"


def command(
    store: StorePath,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Directory for search.json, genpas.yaml and, if trained, study.db."),
    ] = None,
    alpha: Annotated[list[str] | None, typer.Option(metavar="X,…", help=f"Values of α; {_VALUES}.")] = None,
    beta: Annotated[list[str] | None, typer.Option(metavar="X,…", help=f"Values of β; {_VALUES}.")] = None,
    gamma: Annotated[list[str] | None, typer.Option(metavar="X,…", help=f"Values of γ; {_VALUES}.")] = None,
    grid_file: Annotated[
        Path | None, typer.Option("--grid", metavar="FILE", help="YAML with alpha, beta and gamma, a list each.")
    ] = None,
    strategies: Annotated[
        list[str] | None,
        typer.Option("--strategies", metavar="NAME,…", help="Constructions to rank beside the grid; transitions."),
    ] = None,
    by: Annotated[
        str, typer.Option(help="transitions: a closed-form model's NDCG@10. published: KL, then alignment.")
    ] = "transitions",
    keep: Annotated[
        float | None, typer.Option(help="Share of the grid with the lowest KL that is ranked; published. Default: 0.2.")
    ] = None,
    best: Annotated[int, typer.Option(help="Length of the shortlist.")] = 10,
    similarity: Annotated[
        str | None,
        typer.Option(help="Similarity of histories; published; an exact one. Default: recency_containment."),
    ] = None,
    split: SplitWord = "leave_last_out",
    train: Annotated[bool, typer.Option("--train", help="Train the shortlist through RecBole.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="RecBole's name of the model to train. Default: SASRec.")
    ] = None,
    config: ConfigFiles = None,
    settings: Settings = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs a trial. Default: RecBole's.")] = None,
    pairs_per_epoch: Annotated[
        int | None, typer.Option(min=1, help="Pairs an epoch. Default: as many as multi_target has.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of every trial. Default: 2020.")] = None,
    pruner: Annotated[str | None, typer.Option(help="median, successive_halving or none. Default: median.")] = None,
    as_json: JSON = False,
) -> None:
    """Search the exponents (α, β, γ) to train on.

    A closed-form model is fitted under the exact distribution of every point and ranks validation. Half of the users
    choose the best point. It is taken if it is surely better than multi_target on the other half, else multi_target is.
    --by published is the procedure of the paper: points with the lowest KL to the validation targets, ranked by
    alignment / discrimination. --train trains the best ones and chooses by validation NDCG@10; only the chosen one is
    tested. A run with the same --out continues where the last one stopped.
    """
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.data.temporal import LEAVE_LAST_OUT, evaluated_counts, read_split
    from genpas_plugins.search.search_output import genpas_yaml
    from genpas_plugins.search.shortlist import check_amounts, require_validation

    keep, chosen_similarity = _published_options(by, keep, similarity)
    named = _named(strategies or (), by)
    grid = _grid(grid_file, {"alpha": alpha, "beta": beta, "gamma": gamma})
    check_amounts(keep, best)
    views = read_split(SequenceStore.open(store), split)
    require_validation(views.validation)
    views.train.require_pairs()
    if out is not None:
        _check_out(out, store)
    if train and split != LEAVE_LAST_OUT:
        raise InputError("--train splits by leave-last-out through RecBole. Leave out --train or --split.")
    trials = None
    if not train:
        _check_untrained(out, [model, config, settings, epochs, seed, pruner])
    model, pruner, seed = model or "SASRec", pruner or "median", 2020 if seed is None else seed
    if train:
        from genpas_plugins.experiments.search_training import SearchTraining
        from genpas_plugins.search.study import check_pruner

        if out is None:
            raise InputError("--train needs --out DIR, where the study, the checkpoints and RecBole's files go.")
        check_pruner(pruner)
        more = {"seed": seed, "epochs": epochs, "pairs_per_epoch": pairs_per_epoch}
        trials = SearchTraining.checked(store, out, model, config or (), settings or (), **more)
    typer.echo(f"{len(grid.points):,} points: " + _axes(grid), err=True)

    started = time.perf_counter()
    with progress_bar() as tell:
        if by == "published":
            policy, points, why, result = _by_published(views, grid, keep, best, chosen_similarity, tell)
        else:
            policy, points, why, result = _by_transitions(views, [*grid.points, *named], best, tell)
    head = {
        "store": str(store),
        "split": {"name": split, **evaluated_counts(views)},
        "by": by,
        "grid": {"alpha": grid.alpha, "beta": grid.beta, "gamma": grid.gamma, "points": len(grid.points)},
        "strategies": [policy.label for policy in named],
        "best": best,
        "seconds": round(time.perf_counter() - started, 3),
    }
    result = {**head, **result, "study": None}
    if trials is not None and out is not None:
        policy, result["study"] = _train(trials, points, out, pruner)
        why = f"best validation NDCG@10 of {model} over a shortlist of {len(points)} points"
    result["chosen"] = policy.label
    if out is not None:
        write_text(out / "search.json", to_json(result))
        write_text(out / "genpas.yaml", genpas_yaml(policy, f"{why}, {store.name}", pairs_per_epoch))
    if as_json:
        print_json(result)
        return
    _print(result)
    if out is not None:
        typer.echo(f"Written: {out / 'search.json'} and {out / 'genpas.yaml'}, a --config for RecBole.")


def _check_out(out: Path, store: Path) -> None:
    from genpas_plugins.search.search_output import check_replaceable

    check_not_the_store(out, store)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; --out names a directory.")
    check_replaceable(out / "genpas.yaml")


def _named(strategies: Sequence[str], by: str) -> list[Policy]:
    from genpas_plugins.sampling.policy import named_policy

    if strategies and by == "published":
        raise InputError("--strategies are ranked by transitions; the published procedure needs exponents. Remove it.")
    return [named_policy(name) for name in strategies]


def _published_options(by: str, keep: float | None, similarity: str | None) -> tuple[float, Similarity]:
    from genpas_plugins.search.shortlist import KEEP

    if by not in ("transitions", "published"):
        raise InputError(f"--by {by}: write transitions or published.")
    if by == "transitions" and (keep is not None or similarity is not None):
        raise InputError("--keep and --similarity are of the published procedure; add --by published.")
    return KEEP if keep is None else keep, _similarity(similarity or "recency_containment")


Found = tuple["Policy", list["Policy"], str, dict[str, Any]]
"""What a search gives: the chosen point, the points to train, why in a few words, and plain values for search.json."""


def _by_published(  # noqa: PLR0917 – what the command was given
    split: Split, grid: Grid, keep: float, best: int, similarity: Similarity, tell: Tell
) -> Found:
    from genpas_plugins.search.criteria import Criteria
    from genpas_plugins.search.optimum import optimum
    from genpas_plugins.search.search_output import row
    from genpas_plugins.search.shortlist import shortlist

    criteria = Criteria.of(split.train, split.validation, similarity)
    found = shortlist(criteria, grid, keep=keep, best=best, progress=tell)
    continuous = optimum(criteria, grid, found, progress=tell)
    points: list[Policy] = [candidate.policy for candidate in found.ranked]
    why = f"best A/D of the {found.n_kept} of {len(grid.points)} points with the lowest KL"
    return (
        points[0],
        points,
        why,
        {
            "keep": keep,
            "kept": found.n_kept,
            "kl_cut": found.kl_cut,
            "similarity": criteria.index.similarity.label,
            "shortlist": [row(candidate) for candidate in found.ranked],
            "optimum": {name: row(candidate) for name, candidate in continuous._asdict().items()},
        },
    )


def _by_transitions(split: Split, points: list[Policy], best: int, tell: Tell) -> Found:
    from genpas_plugins.sampling.policy import SamplingPolicy
    from genpas_plugins.search.by_transitions import MULTI_TARGET, search_by_transitions
    from genpas_plugins.search.search_output import predicted_row
    from genpas_plugins.search.transition_model import TransitionModel

    found = search_by_transitions(TransitionModel.of(split.train, split.validation), points, progress=tell)
    first = found.ranked[0].policy
    gain = f"{found.difference.mean:+.4f} [{found.difference.low:+.4f}, {found.difference.high:+.4f}]"
    over = f"{first.label} over multi_target in the transition model, NDCG@10 {gain}"
    if first is MULTI_TARGET:
        why = "multi_target is first in the transition model"
    else:
        why = over if found.sure else f"multi_target, as no point is surely better: {over}"
    drawn: list[Policy] = [
        SamplingPolicy(policy.alpha, policy.beta, policy.gamma) if isinstance(policy, SamplingPolicy) else policy
        for policy, _ in found.ranked[:best]
    ]
    reference = next(row for row in found.ranked if row.policy is MULTI_TARGET)
    return (
        found.chosen,
        drawn,
        why,
        {
            "shortlist": [predicted_row(row) for row in found.ranked[:best]],
            "multi_target": predicted_row(reference),
            "difference": {"point": first.label, "users": found.users, **found.difference._asdict()},
            "sure": found.sure,
        },
    )


def _check_untrained(out: Path | None, training_options: list[Any]) -> None:
    if any(option not in (None, []) for option in training_options):
        raise InputError("--model, --config, --set, --epochs, --seed and --pruner are for training; add --train.")
    if out is not None and (out / "study.db").exists():
        raise InputError(f"{out} holds a trained study, whose choice this would replace; add --train or another --out.")


def _train(trials: SearchTraining, points: list[Any], out: Path, pruner: str) -> tuple[Any, dict[str, Any]]:
    from genpas_plugins.search.study import open_study, run_study
    from genpas_plugins.support.folder_lock import lock_folder

    # A study of other settings is refused before anything is written.
    open_study(out / "study.db", pruner, trials.depends_on)
    with lock_folder(out), progress_bar() as tell:
        trials.prepare(tell)
        outcome = run_study(
            points,
            trials.train,
            trials.test,
            out / "study.db",
            settings=trials.depends_on,
            pruner=pruner,
            discard=trials.discard,
            progress=tell,
        )
    rows = [
        {"point": trial.label, "validation_ndcg@10": trial.score, "pruned": trial.pruned, "epochs": trial.epochs}
        for trial in outcome.trials
    ]
    by_label = {policy.label: policy for policy in points}
    study = {
        "file": "study.db",
        "model": trials.model,
        "trials": rows,
        "test": dict(outcome.test),
        "trained_on": outcome.chosen.result.get("trained_on"),
        "checkpoint": outcome.chosen.result.get("checkpoint"),
    }
    return by_label[outcome.chosen.label], study


def _grid(file: Path | None, given: dict[str, list[str] | None]) -> Grid:
    from genpas_plugins.search.grid import Grid, read_grid
    from genpas_plugins.settings.points import read_number

    values = {name: [read_number(word) for word in words] for name, words in given.items() if words}
    if file is None:
        return Grid.read(values, "command line")
    if values:
        raise InputError(f"--grid and --{next(iter(values))} both give values; keep one of the two.")
    return read_grid(file)


def _similarity(name: str) -> Similarity:
    from genpas_plugins.analysis.similarity import SIMILARITIES

    exact = [known for known, factory in SIMILARITIES.items() if factory().bilinear]
    if name not in exact:
        raise InputError(f"--similarity {name}: a search needs one that is exact: {', '.join(exact)}.")
    return SIMILARITIES[name]()


def _axes(grid: Grid) -> str:
    from genpas_plugins.sampling.policy import shortest

    axes = {"α": grid.alpha, "β": grid.beta, "γ": grid.gamma}
    return ", ".join(f"{name} ∈ {{{', '.join(map(shortest, values))}}}" for name, values in axes.items())


def _print(result: dict[str, Any]) -> None:
    if result["by"] == "published":
        _print_published(result)
    else:
        _print_transitions(result)
    study = result["study"]
    if study is not None:
        print_table(
            ("point", "validation NDCG@10", "epochs", "test NDCG@10"),
            [
                [
                    trial["point"],
                    f"{trial['validation_ndcg@10']:.4f}" + (" pruned" if trial["pruned"] else ""),
                    str(trial["epochs"]),
                    f"{study['test']['ndcg@10']:.4f}" if number == 0 else "",
                ]
                for number, trial in enumerate(study["trials"])
            ],
            title=f"{study['model']}, trained",
        )
    typer.echo(f"Chosen: {result['chosen']} ({result['seconds']:g} s without training).")


def _print_transitions(result: dict[str, Any]) -> None:
    reference, difference = result["multi_target"], result["difference"]
    rows = [[str(rank), row] for rank, row in enumerate(result["shortlist"], start=1)]
    if reference not in result["shortlist"]:
        rows.append(["", reference])
    print_table(
        ("rank", "α", "β", "γ", "NDCG@10", "name"),
        [
            [rank, *(_exponent(row[name]) for name in ("alpha", "beta", "gamma")), f"{row['ndcg@10']:.4f}", row["name"]]
            for rank, row in rows
        ],
        title=f"{result['grid']['points']:,} points{_strategies(result)}, ranked by a closed-form model on validation",
        caption="NDCG@10: of the transition model under the point's exact distribution, history masked, on half of the "
        "users. It is no SASRec: compare points, not models",
        left=["name"],
    )
    if difference["point"] == reference["point"]:
        typer.echo("No point is above multi_target.")
        return
    interval = f"{difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"
    typer.echo(f"{difference['point']} over multi_target on the other {difference['users']:,} users: {interval}.")
    if not result["sure"]:
        typer.echo("The interval includes 0, so no point is surely better than multi_target.")


def _strategies(result: dict[str, Any]) -> str:
    count = len(result["strategies"])
    return f" and {count} strateg{'y' if count == 1 else 'ies'}" if count else ""


def _exponent(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _print_published(result: dict[str, Any]) -> None:
    optimum = {"nearest": "lowest KL", "best_ratio": "best A/D"}
    between = [[optimum[name], *_cells(entry), ""] for name, entry in result["optimum"].items() if entry is not None]
    print_table(
        ("rank", "α", "β", "γ", "KL", "A", "D", "A/D", "name"),
        [
            *([str(rank), *_cells(entry), entry["name"]] for rank, entry in enumerate(result["shortlist"], start=1)),
            *([[], *between] if between else []),
        ],
        title=f"{result['kept']:,} of {result['grid']['points']:,} points with the lowest KL, ranked by A/D",
        caption="KL: of validation targets from training targets, in nats; lower is better\n"
        "A (alignment): similarity of validation histories to training histories of the same target\n"
        "D (discrimination): their similarity to training histories of other targets\nA/D: higher is better"
        + "\nlowest KL, best A/D: the optimum between the points of the grid"
        * bool(between),
        left=["name"],
    )


def _cells(entry: dict[str, Any]) -> list[str]:
    exponents = [f"{entry[name]:.4g}" for name in ("alpha", "beta", "gamma")]
    return [
        *exponents,
        f"{entry['kl']:.4f}",
        *(figure(entry[k], ".3g") for k in ("alignment", "discrimination")),
        figure(entry["ratio"], ".2f"),
    ]
