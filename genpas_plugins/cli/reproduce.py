"""`genpas reproduce`: a published table, tuned on validation, tested in both protocols, resumable cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON
from genpas_plugins.experiments.stores import SOURCE, STORES
from genpas_plugins.support.console import print_json, progress_bar
from genpas_plugins.support.errors import InputError


def command(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="YAML file with rows, settings, grid, published figures, what is varied.",
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Directory for the table, a JSON file a cell, and a folder of work."),
    ],
    stores: Annotated[
        list[Path] | None,
        typer.Option(STORES, metavar="DIR,…", help="Stores of `genpas prepare`, named as the data sets are."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="GENPAS_DATA_DIR",
            metavar="DIR",
            help=f"Directory with NAME/{SOURCE} of every data set, prepared once. Columns: user_id, item_id, and "
            "position or timestamp to order by.",
        ),
    ] = None,
    datasets: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", help="Data sets, in this order. Default: the table's.")
    ] = None,
    seeds: Annotated[
        list[str] | None, typer.Option(metavar="N,…", help="The first seed tunes. Default: 1,2,3.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Time budget: no run is begun that would not fit, none goes on after.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Reproduce a published table through RecBole.

    Each row has the same budget of pairs and the same tuning.

    Data set by data set, row by row: every point of the grid with the first seed; then, after all rows, the points that
    validation chose with the other seeds. Only these are tested, with the user's history masked in the ranking and not.
    What the table varies along an axis is run value by value, all rows of one before the next.
    The same command goes on where the last one stopped; the table says what was not run. Data sets that are not asked
    for keep the sections that an earlier command gave them.

    TABLE is a YAML file as those in configs/reproduce, with these keys:

    \b
    - model (required): RecBole's name of the model
    - rows (required): methods as `genpas compare --methods` takes them, that is
      strategies or exponents, either with +operators, and .yaml files; exponents
      need quotes inside [...], as in ['1,0,0', multi_target+insert]
    - epochs (required): the budget, so many for every row
    - pairs_per_epoch: of all rows; default: as many as multi_target has
    - targets, trim: into the genpas section of every row
    - metric: chooses the epoch and the point of the grid, on validation
    - settings: RecBole's, for all runs
    - grid: points to choose from on validation, row by row; a point is settings
      of RecBole's with one value each, the same keys in all
    - along: varies one thing: a name for the axis, and points as in grid, also
      of keys such as genpas_train_users, but not of what rows have: strategy,
      exponents, operators and mixing; one point gives all rows its settings
    - datasets: which ones without --datasets; default: those published
    - published: figures to print beside ours, by data set, row and metric; not
      beside several points of along
    """  # noqa: D301 – \b keeps the list's lines
    from genpas_plugins.experiments.budget import read_seeds
    from genpas_plugins.experiments.cell_training import check_settings
    from genpas_plugins.experiments.markdown import note, summary
    from genpas_plugins.experiments.report import draw_plots, write_report
    from genpas_plugins.experiments.stores import find_stores
    from genpas_plugins.experiments.table import read_table
    from genpas_plugins.experiments.table_training import Clock, OutOfTime, Part, comparison
    from genpas_plugins.experiments.text_table import print_table
    from genpas_plugins.support.folder_lock import sole_use

    asked, numbers = read_table(table), read_seeds(seeds or ["1", "2", "3"])
    try:
        check_settings(asked.model, asked.recbole_keys)
    except InputError as error:
        raise InputError(f"{table}: {error}") from error
    names = list(datasets or asked.datasets)
    if not names:
        raise InputError(f"{table} names no data sets; name them behind --datasets.")
    clock = Clock(minutes)
    with sole_use(out / "work"), progress_bar() as tell:
        found = find_stores(names, stores or (), data_dir, out / "work", tell)
        parts = [Part(asked, numbers, name, comparison(asked, name, store, out)) for name, store in found.items()]

        write_report(parts, out)  # what other settings trained is refused here, before anything is trained
        if all(part.complete for part in parts):
            typer.echo("Nothing was left to do: every run is finished.", err=True)
        try:
            for part in parts:
                part.train(clock, tell, lambda: write_report(parts, out))
        except OutOfTime as ended:
            typer.echo(f"The time is over: {ended} The same command goes on with what is left.", err=True)
        draw_plots(parts, out)
        result = write_report(parts, out)
    if as_json:
        print_json(result)
        return
    for name, rows in result["datasets"].items():
        print_table(summary(rows, asked), f"{name}: {asked.model}, test {asked.metric} masked and unmasked")
    typer.echo(note(asked))
    typer.echo(f"Written: {out / 'reproduction.md'} and {out / 'reproduction.json'}.")
