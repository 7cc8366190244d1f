"""`genpas compare`: methods beside each other, each trained on as many pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genpas_plugins.augment import OPERATORS
from genpas_plugins.cli.options import JSON, StorePath
from genpas_plugins.support.console import print_json, progress_bar


def command(
    store: StorePath,
    *,
    methods: Annotated[
        list[str],
        typer.Option(
            "--methods",
            metavar="METHOD,…",
            help="One or several: last_target, multi_target, slide_window or exponents alpha,beta,gamma; operators "
            f"({', '.join(OPERATORS)}; rate 0.3, probability 0.5) and basrec "
            "follow behind a +, as in multi_target+insert+basrec; basrec mixes after 20 plain epochs, a .yaml file "
            "with its own warmup_epochs after fewer. Or a .yaml file with a genpas key and, if wanted, a "
            "mixing one. Either from a store of `genpas regenerate`: multi_target@STORE2.",
        ),
    ],
    pairs: Annotated[
        int,
        typer.Option(min=1, help="Pairs that every run sees: a multiple of the pairs an epoch. No run stops early."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Directory for the table, every run's figures, checkpoints and RecBole's files.",
        ),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="RecBole's name of the model to train.")] = "SASRec",
    seeds: Annotated[
        list[str] | None, typer.Option(metavar="N,…", help="Each seed is a run of every method. Default: 2020.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="What chooses the checkpoint on validation; Recall@20 and others of RecBole's.")
    ] = "NDCG@10",
    pairs_per_epoch: Annotated[
        int | None, typer.Option(min=1, help="Pairs an epoch, of all methods. Default: as many as multi_target has.")
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="RecBole YAML for all methods; repeatable, the last one wins. Its epochs, seed, stopping_step and "
            "valid_metric give way to the options here.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of RecBole's, the value in YAML; repeatable."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Train methods on equally many pairs; print a table.

    Each method is trained with every seed; figures are means and standard deviations over the seeds. A run with the
    same --out goes on where the last one stopped, and trains only methods and seeds that it lacks.
    """
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.experiments.budget import read_seeds, whole_epochs
    from genpas_plugins.experiments.cell import Cell
    from genpas_plugins.experiments.cell_training import Comparison, finished_line
    from genpas_plugins.experiments.methods import check_mixing, read_methods, with_epochs
    from genpas_plugins.experiments.text_table import NOTE, grid, markdown, print_table, row
    from genpas_plugins.search.search_output import write
    from genpas_plugins.search.shortlist import require_validation
    from genpas_plugins.settings.points import join_points
    from genpas_plugins.settings.yaml_text import parse_settings
    from genpas_plugins.support.folder_lock import sole_use
    from genpas_plugins.support.json_text import to_json

    numbers, named = read_seeds(seeds or ["2020"]), read_methods(join_points(methods))
    for method in named:
        if method.store is not None:
            SequenceStore.open(method.store)
    split = SequenceStore.open(store).leave_last_out()
    require_validation(split.validation)
    split.train.require_pairs()
    per_epoch = split.train.n_pairs if pairs_per_epoch is None else pairs_per_epoch
    epochs = whole_epochs(pairs, per_epoch)
    chosen = [with_epochs(method, per_epoch) for method in named]
    for method in chosen:
        check_mixing(method, epochs)
    overrides = parse_settings(settings or (), "genpas compare", "write --set key=value")
    runs = Comparison.checked(
        store, out, model, config or (), overrides, metric=metric, epochs=epochs, pairs_per_epoch=per_epoch
    )
    # Seed by seed: whoever stops early has all methods beside each other.
    cells = [Cell(method, seed) for seed in numbers for method in chosen]
    with sole_use(out):
        done = {cell: runs.finished(cell) for cell in cells}
        todo = [cell for cell in cells if done[cell] is None]
        typer.echo(
            f"{len(chosen)} methods × {len(numbers)} seeds, {len(cells) - len(todo)} of {len(cells)} runs done; a run "
            f"is {epochs:,} epochs of {per_epoch:,} pairs.",
            err=True,
        )
        with progress_bar() as tell:
            if todo:
                runs.prepare(todo, tell)
            for number, cell in enumerate(todo, start=len(cells) - len(todo)):
                tell("runs", number, len(cells))
                ran = done[cell] = runs.run(cell, tell)
                typer.echo(finished_line(cell, ran, number + 1, len(cells)), err=True)
        if not todo:
            typer.echo("Nothing was left to do: every run is finished.", err=True)
        rows = [
            row(method.label, [result for cell in cells if cell.method is method and (result := done[cell])])
            for method in chosen
        ]
        result = {
            "store": str(store),
            "model": model,
            "metric": runs.metric,
            "pairs": pairs,
            "pairs_per_epoch": per_epoch,
            "seeds": numbers,
            "methods": [{**figures, **method.settings} for figures, method in zip(rows, chosen, strict=True)],
        }
        lines = grid(rows, runs.metric)
        title = f"{model} on {store.resolve().name}: {pairs:,} pairs, seeds {', '.join(map(str, numbers))}"
        write(out / "comparison.json", to_json(result))
        write(out / "comparison.md", markdown(lines, title))
    if as_json:
        print_json(result)
        return
    print_table(lines, title)
    typer.echo(NOTE)
    typer.echo(f"Written: {out / 'comparison.md'} and {out / 'comparison.json'}.")
