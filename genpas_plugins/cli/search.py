"""`genpas search`: the exponents (α, β, γ) to train on, found without training or by training a shortlist."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genpas_plugins.cli.options import JSON, ConfigFiles, Settings, StorePath
from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.console import figure, print_json, print_table, progress_bar
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import to_json

if TYPE_CHECKING:
    from genpas_plugins.analysis.similarity import Similarity
    from genpas_plugins.experiments.search_training import SearchTraining
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
    keep: Annotated[float, typer.Option(help="Share of the grid with the lowest KL that is ranked.")] = 0.2,
    best: Annotated[int, typer.Option(help="Length of the shortlist.")] = 10,
    similarity: Annotated[
        str, typer.Option(help="Similarity of histories, for alignment and discrimination; an exact one.")
    ] = "recency_containment",
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

    Points with the lowest KL to the validation targets are kept. They are ranked by alignment / discrimination. --train
    trains the best ones and chooses by validation NDCG@10; only the chosen one is tested. A run with the same --out
    continues where the last one stopped.
    """
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.search.criteria import Criteria
    from genpas_plugins.search.optimum import optimum
    from genpas_plugins.search.search_output import check_replaceable, genpas_yaml, row
    from genpas_plugins.search.shortlist import check_amounts, require_validation, shortlist

    grid = _grid(grid_file, {"alpha": alpha, "beta": beta, "gamma": gamma})
    check_amounts(keep, best)
    chosen_similarity = _similarity(similarity)
    split = SequenceStore.open(store).leave_last_out()
    require_validation(split.validation)
    split.train.require_pairs()
    if out is not None:
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file; --out names a directory.")
        check_replaceable(out / "genpas.yaml")
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
        criteria = Criteria.of(split.train, split.validation, chosen_similarity)
        found = shortlist(criteria, grid, keep=keep, best=best, progress=tell)
        continuous = optimum(criteria, grid, found, progress=tell)
    seconds = time.perf_counter() - started
    result: dict[str, Any] = {
        "store": str(store),
        "grid": {"alpha": grid.alpha, "beta": grid.beta, "gamma": grid.gamma, "points": len(grid.points)},
        "keep": keep,
        "kept": found.n_kept,
        "kl_cut": found.kl_cut,
        "best": best,
        "similarity": criteria.index.similarity.label,
        "seconds": round(seconds, 3),
        "shortlist": [row(candidate) for candidate in found.ranked],
        "optimum": {name: row(candidate) for name, candidate in continuous._asdict().items()},
        "study": None,
    }
    policy = found.ranked[0].policy
    why = f"best A/D of the {found.n_kept} of {len(grid.points)} points with the lowest KL, {store.name}"
    if trials is not None and out is not None:
        policy, result["study"] = _trained(trials, [candidate.policy for candidate in found.ranked], out, pruner)
        why = f"best validation NDCG@10 of {model} over a shortlist of {len(found.ranked)} points, {store.name}"
    result["chosen"] = policy.label
    if out is not None:
        write_text(out / "search.json", to_json(result))
        write_text(out / "genpas.yaml", genpas_yaml(policy, why, pairs_per_epoch))
    if as_json:
        print_json(result)
        return
    _print(result)
    if out is not None:
        typer.echo(f"Written: {out / 'search.json'} and {out / 'genpas.yaml'}, a --config for RecBole.")


def _check_untrained(out: Path | None, training_options: list[Any]) -> None:
    if any(option not in (None, []) for option in training_options):
        raise InputError("--model, --config, --set, --epochs, --seed and --pruner are for training; add --train.")
    if out is not None and (out / "study.db").exists():
        raise InputError(f"{out} holds a trained study, whose choice this would replace; add --train or another --out.")


def _trained(trials: SearchTraining, points: list[Any], out: Path, pruner: str) -> tuple[Any, dict[str, Any]]:
    from genpas_plugins.search.study import open_study, run_study
    from genpas_plugins.support.folder_lock import sole_use

    # A study of other settings is refused before anything is written.
    open_study(out / "study.db", pruner, trials.depends_on)
    with sole_use(out), progress_bar() as tell:
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


def _cells(entry: dict[str, Any]) -> list[str]:
    exponents = [f"{entry[name]:.4g}" for name in ("alpha", "beta", "gamma")]
    return [
        *exponents,
        f"{entry['kl']:.4f}",
        *(figure(entry[k], ".3g") for k in ("alignment", "discrimination")),
        figure(entry["ratio"], ".2f"),
    ]
