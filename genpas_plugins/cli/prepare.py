"""`genpas prepare`: interactions in a file → a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, Overwrite, comma_list
from genpas_plugins.data.readers import READERS, reader_of
from genpas_plugins.data.source import ReadOptions, usual_columns
from genpas_plugins.support.console import print_json, print_lines, progress_bar
from genpas_plugins.support.errors import InputError

_FORMATS = "; ".join(f"{reader.name}: {reader.what}" for reader in READERS.values())

# Options of `genpas append` too.
Format = Annotated[
    str | None, typer.Option(metavar="NAME", help=f"{_FORMATS}. Default: by the file's name and content.")
]
Columns = Annotated[
    str, typer.Option(metavar="NAMES", help="Columns of a file without a header line: user_id,item_id,timestamp")
]
TimeFormat = Annotated[
    str | None, typer.Option(metavar="FORM", help="How times are written: %d/%m/%Y. Default: ISO 8601.")
]
NullValues = Annotated[
    str, typer.Option(metavar="WORDS", help="Ids that mean a missing value: NA,null. Their rows are dropped.")
]
Strip = Annotated[bool, typer.Option("--strip", help="Remove blanks around ids.")]
Encoding = Annotated[str, typer.Option(help="Encoding of text files.")]
MaxLine = Annotated[int, typer.Option(min=1, help="Bytes that a line of text may have.")]


def command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="File, directory of part files, or glob pattern.")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="STORE", help="Directory to make.")],
    user: Annotated[
        str | None, typer.Option(help="Column with user ids. Default: user_id, userId or reviewerID.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(help="Column with item ids. Default: item_id, movieId, asin or parent_asin.")
    ] = None,
    order: Annotated[
        list[str] | None,
        typer.Option(
            help="Column to sort a user's interactions by; repeatable, the most important first. Default: "
            "timestamp or unixReviewTime in any format, else the order of the file."
        ),
    ] = None,
    file_order: Annotated[
        bool, typer.Option("--file-order", help="Keep the order of the file even if it has a column of times.")
    ] = False,
    ties: Annotated[
        str, typer.Option(metavar="WORD", help="Order of equal values of --order: file, or random:SEED.")
    ] = "file",
    column: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Further column to keep; repeatable.")
    ] = None,
    k_core: Annotated[
        int, typer.Option(min=0, help="Drop users and items with fewer interactions, until none is left to drop.")
    ] = 0,
    format: Format = None,
    columns: Columns = "",
    time_format: TimeFormat = None,
    null_values: NullValues = "",
    strip: Strip = False,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Keep one of the interactions with equal user, item and order.")
    ] = False,
    encoding: Encoding = "utf-8",
    max_line: MaxLine = 1 << 24,
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Read interactions and save each user's sequence."""
    if order and file_order:
        raise InputError(f"--order {order[0]} and --file-order contradict each other; keep one of the two.")
    options = ReadOptions(comma_list(columns), encoding, max_line)
    reader, is_asked = reader_of(source, format, options), bool(order)
    if not (user and item and order):
        usual_user, usual_item, usual_order = usual_columns(reader.scan(source, options).columns)
        user, item, order = user or usual_user, item or usual_item, order or ([usual_order] if usual_order else [])
    order = [] if file_order else order
    from genpas_plugins.data.prepare.build import build_store

    notes: list[str] = []
    with progress_bar() as tell:
        store = build_store(
            source,
            out,
            user=user,
            item=item,
            order=order,
            ties=ties,
            columns=tuple(column or ()),
            k_core=k_core,
            format=reader.name,
            options=options,
            time_format=time_format,
            null_values=comma_list(null_values),
            strip=strip,
            drop_duplicates=drop_duplicates,
            overwrite=overwrite,
            progress=tell,
            note=notes.append,
        )
    built = {
        "store": str(out),
        "users": store.n_sequences,
        "items": store.n_items,
        "interactions": store.n_interactions,
        "columns": list(store.columns),
        "read": {"format": reader.name, "user": user, "item": item, "order": order, "ties": ties},
        "notes": notes,
    }
    if as_json:
        print_json(built)
        return
    why = "" if is_asked else " (--file-order keeps its order)"
    print_lines(
        [
            ("store", out),
            ("users", store.n_sequences),
            ("items", store.n_items),
            ("interactions", store.n_interactions),
            ("columns", ", ".join(store.columns) or "-"),
            ("format", reader.name),
            (
                "order",
                f"by {', then '.join(order)}, ties {'as in the file' if ties == 'file' else ties}{why}"
                if order
                else "of the file (--order NAME sorts by a column)",
            ),
            *(("note", note) for note in notes),
        ]
    )
