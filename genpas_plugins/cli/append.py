"""`genpas append`: more interactions in a store that exists."""

from __future__ import annotations

from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, StorePath, check_choice, comma_list
from genpas_plugins.cli.prepare import Columns, Encoding, Format, MaxLine, NullValues, Strip, TimeFormat
from genpas_plugins.data.readers import reader_of
from genpas_plugins.data.source import ReadOptions, usual_columns
from genpas_plugins.support.console import print_json, print_lines, progress_bar
from genpas_plugins.support.errors import InputError


def command(
    store: StorePath,
    source: Annotated[str, typer.Argument(metavar="MORE", help="File, directory of part files, or glob pattern.")],
    *,
    user: Annotated[str | None, typer.Option(help="Column with user ids. Default: as for `genpas prepare`.")] = None,
    item: Annotated[str | None, typer.Option(help="Column with item ids. Default: as for `genpas prepare`.")] = None,
    order: Annotated[
        list[str] | None,
        typer.Option(help="Column that sorts the store; repeatable. Default: as its history or the format has it."),
    ] = None,
    file_order: Annotated[
        bool, typer.Option("--file-order", help="New interactions follow the old ones, in the order of the file.")
    ] = False,
    late: Annotated[
        str, typer.Option(help="An interaction before its user's last one: refuse it, or merge it by order.")
    ] = "refuse",
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Drop new interactions whose user, item and order are known.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Append what was appended before, a second time.")] = False,
    format: Format = None,
    columns: Columns = "",
    time_format: TimeFormat = None,
    null_values: NullValues = "",
    strip: Strip = False,
    encoding: Encoding = "utf-8",
    max_line: MaxLine = 1 << 24,
    as_json: JSON = False,
) -> None:
    """Add interactions to a store, atomically.

    Known users and items keep their numbers, and new ones follow. The store is as before or complete, whenever the
    command ends. MORE has the columns of the store.
    """
    from genpas_plugins.data.prepare.append import LATE, append_interactions
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.data.storage import read_history

    check_choice("--late", late, LATE)
    if order and file_order:
        raise InputError(f"--order {order[0]} and --file-order contradict each other; keep one of the two.")
    before = SequenceStore.open(store)
    options = ReadOptions(comma_list(columns), encoding, max_line)
    reader = reader_of(source, format, options)
    usual_user, usual_item, usual_order = usual_columns(reader.scan(source, options).columns)
    if not order and not file_order:
        order = next((step["order"] for step in reversed(read_history(store)) if "order" in step), None)
        if order is None and usual_order in before.columns:
            order = [str(usual_order)]
        if order is None:
            raise InputError(
                f"The order of {store} is not known. Name the column that sorts it with --order NAME, or use "
                "--file-order if all of MORE is later."
            )
    notes: list[str] = []
    with progress_bar() as tell:
        after = append_interactions(
            store,
            source,
            user=user or usual_user,
            item=item or usual_item,
            order=order,
            late=late,
            drop_duplicates=drop_duplicates,
            again=again,
            format=reader.name,
            options=options,
            time_format=time_format,
            null_values=comma_list(null_values),
            strip=strip,
            progress=tell,
            note=notes.append,
        )
    step = read_history(store)[-1]
    grown = {
        name: {"before": getattr(before, field), "after": getattr(after, field)}
        for name, field in (("users", "n_sequences"), ("items", "n_items"), ("interactions", "n_interactions"))
    }
    if as_json:
        print_json(
            {"store": str(store), **grown, "order": order or [], "late_users": step["late_users"], "notes": notes}
        )
        return
    print_lines(
        [
            ("store", store),
            *((name, f"{count['before']} -> {count['after']}") for name, count in grown.items()),
            ("order", f"by {', then '.join(order)}" if order else "of the file, after what the store had"),
            ("users with merged late interactions", step["late_users"]),
            *(("note", note) for note in notes),
        ]
    )
