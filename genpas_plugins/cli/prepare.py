"""`genpas prepare`: interactions in a file → a store."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, Overwrite
from genpas_plugins.support.console import print_json, print_lines, progress_bar
from genpas_plugins.support.errors import InputError

# User, item and time as each format calls them; for Amazon reviews, those of 2014 and 2018, then those of 2023.
USUAL_COLUMNS: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "parquet": (("user_id", "item_id", None),),
    "csv": (("user_id", "item_id", None),),
    "recbole": (("user_id", "item_id", "timestamp"),),
    "movielens": (("userId", "movieId", "timestamp"),),
    "amazon": (("reviewerID", "asin", "unixReviewTime"), ("user_id", "parent_asin", "timestamp")),
}


def usual_columns(format: str, columns: Collection[str]) -> tuple[str, str, str | None]:
    """Return the columns with user, item and time of a file of this format that has these columns.

    The time is None where the format has none of its own, or the file lacks it.
    """
    choices = USUAL_COLUMNS[format]
    user, item, order = next((names for names in choices if {names[0], names[1]} <= set(columns)), choices[0])
    return user, item, order if order in columns else None


def command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="File, directory of part files, or glob pattern.")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="STORE", help="Directory to make.")],
    user: Annotated[
        str | None, typer.Option(help="Column with user ids. Default: as the format has it, or user_id.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(help="Column with item ids. Default: as the format has it, or item_id.")
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help="Column to sort a user's interactions by; ties keep the order of the file. "
            "Default: the format's own time column; parquet and CSV files have none and keep the order of the file."
        ),
    ] = None,
    file_order: Annotated[
        bool, typer.Option("--file-order", help="Keep the order of the file even if the format has a time column.")
    ] = False,
    column: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Further column to keep; repeatable.")
    ] = None,
    k_core: Annotated[
        int, typer.Option(min=0, help="Drop users and items with fewer interactions, until none is left to drop.")
    ] = 0,
    format: Annotated[
        str | None, typer.Option(help="parquet, csv, recbole, amazon or movielens. Default: by the file's name.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Read interactions and save each user's sequence."""
    try:
        from genpas_plugins.data.readers import build_store, detect_format, read
    except ModuleNotFoundError as error:
        if error.name != "polars":
            raise
        raise InputError("Reading a source needs polars: pip install 'genpas-plugins[readers]'.") from error

    if order is not None and file_order:
        raise InputError(f"--order {order} and --file-order contradict each other; keep one of the two.")
    if None in (user, item, order):
        found = read(source, format)
        usual_user, usual_item, usual_order = usual_columns(format or detect_format(source), found.columns)
        user, item, order = user or usual_user, item or usual_item, order or usual_order
    order = None if file_order else order
    with progress_bar() as tell:
        store = build_store(
            source,
            out,
            user=user or "user_id",
            item=item or "item_id",
            order=order,
            columns=tuple(column or ()),
            k_core=k_core,
            format=format,
            overwrite=overwrite,
            progress=tell,
        )
    built = {
        "store": str(out),
        "users": store.n_sequences,
        "items": store.n_items,
        "interactions": store.n_interactions,
        "columns": list(store.columns),
        "read": {"user": user, "item": item, "order": order},
    }
    if as_json:
        print_json(built)
        return
    print_lines(
        [
            ("store", out),
            ("users", store.n_sequences),
            ("items", store.n_items),
            ("interactions", store.n_interactions),
            ("columns", ", ".join(store.columns) or "-"),
            (
                "order",
                "of the file (--order NAME sorts by a column)" if order is None else f"by {order}, ties as in the file",
            ),
        ]
    )
