"""`genpas reproduce`: a published table, tuned on validation, tested in both protocols, resumable cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from genpas_plugins.cli.output import JSON, Tell, print_json, progress_bar
from genpas_plugins.errors import InputError, nearest

_STORES, _SOURCE = "--stores", "interactions.parquet"


class SeveralStores(TyperCommand):
    """A command whose --stores takes all words that follow, up to an option or a YAML file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its words, as the parser wants it, then parse."""
        return super().parse_args(ctx, repeat_stores(args))


def repeat_stores(arguments: Sequence[str]) -> list[str]:
    """Write --stores a b as --stores=a --stores=b.

    >>> repeat_stores(["--stores", "beauty", "toys", "sasrec.yaml", "--json"])
    ['--stores=beauty', '--stores=toys', 'sasrec.yaml', '--json']
    """
    repeated, taking = [], False
    for word in arguments:
        if word == _STORES:
            taking = True
            continue
        taking = taking and not word.startswith("-") and not word.endswith((".yaml", ".yml"))
        repeated.append(f"{_STORES}={word}" if taking else word)
    return repeated


def command(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="YAML file with rows, settings, grid and published figures.")
    ],
    *,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Directory for the table, a JSON file a cell, and a folder of work."),
    ],
    stores: Annotated[
        list[Path] | None,
        typer.Option(_STORES, metavar="DIR...", help="Stores of `genpas prepare`, named as the data sets are."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="GENPAS_DATA_DIR",
            metavar="DIR",
            help=f"Directory with NAME/{_SOURCE} of every data set, prepared once. Columns: user_id, item_id, and "
            "position or timestamp to order by.",
        ),
    ] = None,
    datasets: Annotated[
        str | None, typer.Option(help="Names, comma-separated, in this order. Default: those with published figures.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, comma-separated; the first one tunes.")] = "1,2,3",
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Time budget: no run is begun that would not fit, none goes on after.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Reproduce a published table through RecBole, each row under the same budget of pairs and the same tuning.

    Data set by data set, row by row: every point of the grid with the first seed; then, after all rows, the points that
    validation chose with the other seeds. Only these are tested, with the user's history masked in the ranking and not.
    The same command goes on where the last one stopped; the table says what was not run.
    """
    from genpas_plugins.cli.compare import read_seeds
    from genpas_plugins.cli.compare_training import check_settings
    from genpas_plugins.cli.reproduce_settings import read_table
    from genpas_plugins.cli.reproduce_training import Clock, Part, comparison, write_report

    asked, numbers = read_table(table), read_seeds(seeds)
    try:
        check_settings(asked.model, [*asked.settings, *(key for point in asked.grid for key, _ in point)])
    except InputError as error:
        raise InputError(f"{table}: {error}") from error
    names = list(asked.published) if datasets is None else [name.strip() for name in datasets.split(",")]
    clock = Clock(minutes)
    with progress_bar() as tell:
        found = find_stores(names, stores or (), data_dir, out / "work", tell)
        parts = [Part(asked, numbers, name, comparison(asked, name, store, out)) for name, store in found.items()]

        write_report(parts, out)  # what other settings trained is refused here, before anything is trained
        for part in parts:
            if not part.train(clock, tell, lambda: write_report(parts, out)):
                typer.echo("The time is over; the same command goes on with what is left.", err=True)
                break
    result = write_report(parts, out)
    if as_json:
        print_json(result)
        return
    typer.echo((out / "reproduction.md").read_text(encoding="utf-8"))
    typer.echo(f"Written: {out / 'reproduction.md'} and {out / 'reproduction.json'}.")


def find_stores(
    names: Sequence[str], stores: Sequence[Path], data_dir: Path | None, work: Path, tell: Tell
) -> dict[str, Path]:
    """Return the store of every data set; those of `data_dir` are prepared in `work` once.

    Raises InputError for a data set that is not there, and one that is asked for twice.
    """
    if not names or not all(names) or len(set(names)) < len(names):
        raise InputError(f"--datasets {','.join(names)!r}: write names that differ, comma-separated, as beauty,toys.")
    given = {store.resolve().name: store for store in stores}
    if len(given) < len(stores):
        raise InputError(f"{_STORES}: two stores have one name; a data set is named as its directory is.")
    found = {}
    for name in names:
        if name in given:
            found[name] = given[name]
        elif data_dir is None:
            raise InputError(
                f"There is no store {name!r}.{nearest(name, given) if given else ''} Name it behind {_STORES}, or a "
                f"directory with {name}/{_SOURCE} behind --data-dir."
            )
        elif not (data_dir / name / _SOURCE).is_file():
            known = sorted(file.parent.name for file in data_dir.glob(f"*/{_SOURCE}"))
            raise InputError(f"{data_dir / name / _SOURCE} does not exist.{nearest(name, known)}")
        else:
            found[name] = work / "stores" / name
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n", encoding="utf-8")  # data and checkpoints are no results
    for name, store in found.items():
        if name not in given and not store.exists():
            assert data_dir is not None
            _prepare(data_dir / name / _SOURCE, store, tell)
    return found


def _prepare(source: Path, store: Path, tell: Tell) -> None:
    try:
        from genpas_plugins.readers import build_store, read
    except ModuleNotFoundError as error:
        if error.name != "polars":
            raise
        raise InputError("--data-dir needs polars: pip install 'genpas-plugins[readers]', or use --stores.") from error
    columns = read(str(source), None).columns
    order = next((name for name in ("position", "timestamp") if name in columns), None)
    build_store(str(source), store, user="user_id", item="item_id", order=order, progress=tell)
