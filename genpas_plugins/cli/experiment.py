"""`genpas experiment`: a table of methods under one budget. It is tuned on validation and resumable cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genpas_plugins.cli.options import JSON, ConfigFiles, Settings
from genpas_plugins.support.console import print_json, print_lines, print_table, progress_bar
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    from genpas_plugins.experiments.report import Report
    from genpas_plugins.experiments.table import Table

_MAKES = "Without TABLE:"


def _print_keys(asked: bool) -> None:
    if asked:
        from genpas_plugins.experiments.table import Table
        from genpas_plugins.settings.field_words import key_help

        print_lines(key_help(Table))
        raise typer.Exit


def command(
    table: Annotated[
        Path | None, typer.Argument(metavar="[TABLE]", help="YAML file, as in configs/experiment.")
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Directory for the table, its cells and work files.")
    ],
    stores: Annotated[
        list[Path] | None, typer.Option(metavar="DIR,…", help="Stores of `genpas prepare`, named as the data sets.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="GENPAS_DATA_DIR",
            metavar="DIR",
            help="Directory with NAME/interactions.parquet of every data set, prepared once. Its columns are user_id, "
            "item_id, and position or timestamp to order by.",
        ),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,…", help="Data sets, in order. Default: the table's, or all stores."),
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(metavar="N,…", min=0, max=2**32 - 1, help="The first tunes. Default: 1,2,3.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Time budget: no run starts that would not fit, and none goes on after.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Train nothing: write the table from the files of finished cells.")
    ] = False,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD,…",
            help=f"{_MAKES} rows. last_target, multi_target, slide_window or exponents as 1,0,0; then +operators (rate "
            "0.3, probability 0.5) and +basrec or +dr4sr_plus. Or a .yaml file with a genpas key. Then @STORE of "
            "`regenerate`.",
        ),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(min=1, help=f"{_MAKES} pairs of every run, a multiple of the pairs an epoch.")
    ] = None,
    pairs_per_epoch: Annotated[
        int | None, typer.Option(min=1, help=f"{_MAKES} pairs an epoch. Default: as many as multi_target has.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help=f"{_MAKES} RecBole's name of the model. Default: SASRec.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help=f"{_MAKES} chooses the checkpoint on validation. Default: NDCG@10.")
    ] = None,
    config: ConfigFiles = None,
    settings: Settings = None,
    as_json: JSON = False,
    keys: Annotated[
        bool, typer.Option("--keys", is_eager=True, callback=_print_keys, help="Print the keys of TABLE and stop.")
    ] = False,
) -> None:
    """Train a table of methods through RecBole.

    Every row has the same budget of pairs and the same tuning. With the first seed, a row is trained at every point of
    the grid, and validation chooses one. The other seeds are trained at that point. Only chosen runs are tested, with
    the user's history masked in the ranking and not masked. If the table varies something along an axis, all rows of
    one value come before the next.

    The same command goes on where the last one stopped. The table has every finished cell in its folder, and shows
    what was not run. Without TABLE, --methods and --pairs make a table; --config and --set then hold its settings.
    """
    from genpas_plugins.experiments.report import note, summary, write_report

    budget = {"pairs": pairs, "pairs_per_epoch": pairs_per_epoch}
    options = {"methods": methods, **budget, "model": model, "metric": metric, "config": config, "set": settings}
    asked = _table(table, {name: value for name, value in options.items() if value is not None}, out)
    numbers = tuple(dict.fromkeys(seeds or (1, 2, 3)))
    if report:
        result, sections = write_report(asked, [], numbers, out, plots=True)
    else:
        names = datasets or asked.names or [store.resolve().name for store in stores or ()]
        result, sections = _train(asked, names, stores or (), data_dir, numbers, minutes, out)
    if as_json:
        print_json(result)
        return
    for name, rows in sections.items():
        head, *lines = summary(rows, asked)
        print_table(head, lines, title=f"{name}: {', '.join(asked.models)}, test {asked.metric} masked and unmasked")
    typer.echo(note(asked))
    typer.echo(f"Written: {out / 'table.md'} and {out / 'table.json'}.")


def _table(file: Path | None, options: dict[str, Any], out: Path) -> Table:
    from genpas_plugins.experiments.allowed_settings import OWN
    from genpas_plugins.experiments.run import check_models, settings_of
    from genpas_plugins.experiments.table import Table, read_table
    from genpas_plugins.settings.points import join_points
    from genpas_plugins.settings.yaml_text import parse_settings

    if file is not None and options:
        name = next(iter(options)).replace("_", "-")
        raise InputError(f"--{name} makes a table without a file. Leave out --{name}, or TABLE, which is {file}.")
    if file is None and "methods" not in options:
        raise InputError("There is no table. Name a file as TABLE, or give --methods and --pairs.")
    if file is not None:
        table = read_table(file)
    else:
        rows, files = join_points(options.pop("methods")), settings_of(options.pop("config", ()))
        written = parse_settings(options.pop("set", ()), "genpas experiment", "write --set key=value")
        settings = {key: value for key, value in files.items() if key not in (*OWN, "model", "dataset")} | written
        content = {"title": out.resolve().name, "model": files.get("model", "SASRec"), **options}
        table = Table.read({**content, "rows": rows, "settings": settings}, "the command line")
    try:
        check_models(table.models, table.recbole_keys)
    except InputError as error:
        raise InputError(f"{file or 'the command line'}: {error}") from error
    return table


def _train(  # noqa: PLR0917 – what the command was given
    table: Table,
    names: Sequence[str],
    stores: Sequence[Path],
    data_dir: Path | None,
    seeds: tuple[int, ...],
    minutes: float | None,
    out: Path,
) -> Report:
    from genpas_plugins.experiments.plan import Plan
    from genpas_plugins.experiments.report import write_report
    from genpas_plugins.experiments.results import Cells
    from genpas_plugins.experiments.stores import find_stores
    from genpas_plugins.experiments.training import Clock, OutOfTime, Training
    from genpas_plugins.support.folder_lock import lock_folder

    if not names:
        raise InputError(f"{table.title} names no data set. Name them after --datasets, or stores after --stores.")
    clock, work = Clock(minutes), out.resolve() / "work"
    with lock_folder(work), progress_bar() as tell:
        found = find_stores(names, stores, data_dir, work, tell, times=table.needs_times)
        parts = {name: Cells(Plan.on_store(table, name, seeds, found[name]), out / "cells" / name) for name in names}

        def keep() -> Report:
            return write_report(table, list(parts.values()), seeds, out)

        keep()  # cells of other settings are refused here, before anything is trained
        trainings = [
            Training(cells, found[name].resolve(), work / name, clock, tell, keep, data_dir and data_dir / name)
            for name, cells in parts.items()
        ]
        if all(training.is_complete() for training in trainings):
            typer.echo("Nothing was left to do: every run is finished.", err=True)
        try:
            for training in trainings:
                training.run()
        except OutOfTime as ended:
            typer.echo(f"The time is over: {ended} The same command goes on with the rest.", err=True)
        return write_report(table, list(parts.values()), seeds, out, plots=True)
