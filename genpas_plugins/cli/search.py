"""`genpas search`: the exponents (α, β, γ) to train on, found without training or by training a shortlist."""

from __future__ import annotations

import time
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
    from genpas_plugins.search.grid import Grid

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
        str, typer.Option(help="transitions: a closed-form model. published: KL, then alignment.")
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

    A closed-form model is fitted under the exact distribution of every point and ranks validation. Its NDCG@10 and the
    effective number of different pairs predict a training. Half of the users choose the best point. It is taken if it
    is surely better than multi_target on the other half, else multi_target is.
    --by published is the procedure of the paper: points with the lowest KL to the validation targets, ranked by
    alignment / discrimination. --train trains the best ones and chooses by validation NDCG@10; only the chosen one is
    tested. A run with the same --out continues where the last one stopped.
    """
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.data.temporal import LEAVE_LAST_OUT, evaluated_counts, read_split
    from genpas_plugins.sampling.policy import named_policy
    from genpas_plugins.search import procedures
    from genpas_plugins.search.search_output import genpas_yaml
    from genpas_plugins.search.shortlist import check_amounts, require_validation

    keep, chosen_similarity = _published_options(by, keep, similarity, strategies)
    named = [named_policy(name) for name in strategies or ()]
    grid = _read_grid(grid_file, {"alpha": alpha, "beta": beta, "gamma": gamma})
    check_amounts(keep, best)
    views = read_split(SequenceStore.open(store), split)
    require_validation(views.validation)
    views.train.require_pairs()
    if out is not None:
        _check_out(out, store)
    training = None
    if train:
        from genpas_plugins.experiments.search_training import SearchTraining, train_shortlist
        from genpas_plugins.search.study import check_pruner

        if split != LEAVE_LAST_OUT:
            raise InputError("--train splits by leave-last-out through RecBole. Leave out --train or --split.")
        if out is None:
            raise InputError("--train needs --out DIR, where the study, the checkpoints and RecBole's files go.")
        check_pruner(pruner or "median")
        more = {"seed": 2020 if seed is None else seed, "epochs": epochs, "pairs_per_epoch": pairs_per_epoch}
        training = SearchTraining.checked(store, out, model or "SASRec", config or (), settings or (), **more)
    else:
        _check_untrained(out, [model, config, settings, epochs, seed, pruner])
    typer.echo(f"{len(grid.points):,} points: {grid}", err=True)

    started = time.perf_counter()
    with progress_bar() as tell:
        if by == "published":
            found = procedures.published(views, grid, keep, best, chosen_similarity, progress=tell)
        else:
            found = procedures.by_transitions(views, [*grid.points, *named], best, progress=tell)
    result = {
        "store": str(store),
        "split": {"name": split, **evaluated_counts(views)},
        "by": by,
        "grid": {"alpha": grid.alpha, "beta": grid.beta, "gamma": grid.gamma, "points": len(grid.points)},
        "strategies": [policy.label for policy in named],
        "best": best,
        "seconds": round(time.perf_counter() - started, 3),
        **found.result,
        "study": None,
    }
    policy, why = found.policy, found.why
    if training is not None:
        policy, result["study"] = train_shortlist(training, found.points, pruner or "median")
        why = f"best validation NDCG@10 of {training.model} over a shortlist of {len(found.points)} points"
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


def _published_options(
    by: str, keep: float | None, similarity: str | None, strategies: list[str] | None
) -> tuple[float, Similarity]:
    from genpas_plugins.search.procedures import PROCEDURES, exact_similarity
    from genpas_plugins.search.shortlist import KEEP

    if by not in PROCEDURES:
        raise InputError(f"--by {by}: write {' or '.join(PROCEDURES)}.")
    if by == "transitions" and (keep is not None or similarity is not None):
        raise InputError("--keep and --similarity are of the published procedure; add --by published.")
    if by == "published" and strategies:
        raise InputError("--strategies are ranked by transitions; the published procedure needs exponents. Remove it.")
    return KEEP if keep is None else keep, exact_similarity(similarity or "recency_containment")


def _check_untrained(out: Path | None, training_options: list[Any]) -> None:
    if any(option not in (None, []) for option in training_options):
        raise InputError("--model, --config, --set, --epochs, --seed and --pruner are for training; add --train.")
    if out is not None and (out / "study.db").exists():
        raise InputError(f"{out} holds a trained study, whose choice this would replace; add --train or another --out.")


def _read_grid(file: Path | None, given: dict[str, list[str] | None]) -> Grid:
    from genpas_plugins.search.grid import Grid, read_grid
    from genpas_plugins.settings.points import read_number

    values = {name: [read_number(word) for word in words] for name, words in given.items() if words}
    if file is None:
        return Grid.read(values, "command line")
    if values:
        raise InputError(f"--grid and --{next(iter(values))} both give values; keep one of the two.")
    return read_grid(file)


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
    from genpas_plugins.search.procedures import by_counts, interval

    reference, difference = result["multi_target"], result["difference"]
    rows = [[str(rank), row] for rank, row in enumerate(result["shortlist"], start=1)]
    if reference not in result["shortlist"]:
        rows.append(["", reference])
    print_table(
        ("rank", "α", "β", "γ", "predicted", "NDCG@10", "pairs", "name"),
        [
            [
                rank,
                *(_exponent(row[name]) for name in ("alpha", "beta", "gamma")),
                f"{row['predicted']:.4f}",
                f"{row['ndcg@10']:.4f}",
                f"{row['pairs']:.2f}",
                row["name"],
            ]
            for rank, row in rows
        ],
        title=f"{result['grid']['points']:,} points{_strategies(result)}, ranked by a closed-form model on validation",
        caption="NDCG@10: of the transition model under the point's exact distribution, history masked, on half of the "
        "users\npairs: effective number of different pairs over multi_target's\npredicted: both, as they predict "
        "trained SASRec. It is no SASRec: compare points, not models",
        left=["name"],
    )
    if difference["point"] == reference["point"]:
        typer.echo("No point is above multi_target.")
        return
    typer.echo(
        f"{difference['point']} over multi_target on the other {difference['users']:,} users, predicted: "
        f"{interval(difference)}.{by_counts(result)}"
    )
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
