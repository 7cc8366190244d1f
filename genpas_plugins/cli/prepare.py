"""`genpas prepare`: interactions in a file → a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, Overwrite
from genpas_plugins.data.readers import READERS, reader_of
from genpas_plugins.support.console import print_json, print_lines, progress_bar
from genpas_plugins.support.errors import InputError

_FORMATS = "; ".join(f"{reader.name}: {reader.what}" for reader in READERS.values())


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
        str | None, typer.Option(metavar="NAME", help=f"{_FORMATS}. Default: by the file's name and content.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Read interactions and save each user's sequence."""
    if order is not None and file_order:
        raise InputError(f"--order {order} and --file-order contradict each other; keep one of the two.")
    if None in (user, item, order):
        reader = reader_of(source, format)
        usual_user, usual_item, usual_order = reader.usual_columns(reader.scan(source).columns)
        user, item, order = user or usual_user, item or usual_item, order or usual_order
    order = None if file_order else order
    from genpas_plugins.data.prepare.build import build_store

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
