"""What a table leaves beside its cells: table.json, table.md and the plots that the page links to."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from genpas_plugins.analysis.paired_bootstrap import LEVEL, Difference
from genpas_plugins.data.temporal import LEAVE_LAST_OUT
from genpas_plugins.experiments.columns import (
    Column,
    beyond_accuracy,
    columns,
    place_columns,
    place_text,
    point_text,
    spread,
)
from genpas_plugins.experiments.results import Cells
from genpas_plugins.experiments.rows import PROTOCOLS, REFERENCE, RowResult, Spread, of_group, of_test, row_results
from genpas_plugins.experiments.table import Point, Table
from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import to_json

Rows = Sequence[RowResult]

GROUPS = {
    "popularity": "By popularity of the target, G1 the most popular items and G3 the long tail",
    "users": "Users seen and not seen in training",
}
"""Titles of the kinds of groups."""


_BEYOND = (
    f"Over {REFERENCE}: the mean difference with its {LEVEL:.0%} interval and p, by paired bootstrap over the users. "
    "Coverage: share of the items. Novelty: mean of -log2 of a recommended item's share of the training interactions. "
    "Popularity: mean number of its training interactions."
)

Report = tuple[dict[str, Any], dict[str, Rows]]  # the content of table.json, and the rows of every data set


def write_report(
    table: Table, parts: Sequence[Cells], seeds: tuple[int, ...], out: Path, *, plots: bool = False
) -> Report:
    """Write table.json and table.md from the files of all cells below `out`.

    Raises InputError if a cell of `parts` was trained with other settings. Such a cell of a further data set is
    left out with a message.
    """
    sections: dict[str, Rows] = {part.plan.name: row_results(part) for part in parts}
    for folder in sorted(path for path in (out / "cells").glob("*") if path.is_dir() and path.name not in sections):
        try:
            sections[folder.name] = row_results(Cells.in_folder(table, folder, seeds))
        except InputError as error:
            typer.echo(f"The report leaves out {folder.name}. {error}", err=True)
    names = [*(name for name in table.names if name in sections), *sections]
    sections = {name: sections[name] for name in dict.fromkeys(names)}
    if plots:
        _draw(sections, table, out)
    head = {"table": table.title, "model": ", ".join(table.models), "metric": table.metric}
    along = None if table.along is None else table.along.name
    result = {**head, "along": along, "datasets": {name: _values(rows, table) for name, rows in sections.items()}}
    text = "".join(section(name, rows, table) + _links(name, table, out) for name, rows in sections.items())
    write_text(out / "table.json", to_json(result))
    write_text(out / "table.md", f"# {table.title}: {', '.join(table.models)}\n{text}\n{note(table)}\n")
    return result, sections


def _values(rows: Rows, table: Table) -> list[dict[str, Any]]:
    shown = [*columns(table, rows), *beyond_accuracy(table, rows)]

    def plain(value: Any) -> Any:
        return value._asdict() if isinstance(value, Spread | Difference) else value

    def groups(row: RowResult, kind: str, name: str) -> dict[str, Any]:
        names = ("n", *(metric.lower() for metric in table.measured))
        return {p: {m: plain(row.spread(of_group(kind, name, p, m))) for m in names} for p in PROTOCOLS}

    return [
        {
            "method": row.method,
            "point": dict(row.at),
            "chosen": None if row.chosen is None else dict(row.chosen),
            "seeds": list(row.tested),
            "figures": {column.name: plain(column.value(row)) for column in shown},
            "curve": [{"pairs": pairs, "validation": plain(spread)} for pairs, spread in row.curve],
            "groups": {kind: {name: groups(row, kind, name) for name in of} for kind, of in row.groups.items()},
            "tuning": [
                {"settings": dict(at), "validation": cell and cell.run.validation} for at, cell in row.tuning.items()
            ],
        }
        for row in rows
    ]


def note(table: Table) -> str:
    """Return the text below the tables: how the figures came about."""
    tuned = " and the same grid; validation chooses its point with the first seed" if table.tuned else ""
    tested = ", and only the chosen point is tested" if table.tuned else ""
    split = "leave-last-out" if table.split == LEAVE_LAST_OUT else f"split in time ({table.split})"
    split += f", ties {table.ties or 'in the order of the store'}"
    pairs = "Each row has the same pairs"
    if table.patience is not None:
        pairs = f"Each row is trained until {table.patience} validations in a row are no better"
    if table.test_best is not None:
        tested += f". Only the {table.test_best} rows with the best validation and multi_target are tested"
    return (
        f"Full ranking of all items, {split}. Masked: without the items of the user's history; unmasked: with "
        f"them. Figures are mean ± standard deviation over the seeds. {pairs}{tuned}. The epoch "
        f"is the best on validation{tested}. Pairs are drawn pairs: operators and mixing add computation, which the "
        "seconds of training and validation show. Users, pairs and effective targets, (Σw)²/Σw², are of the first "
        "epoch. Draws 1 are independent, draws 2 evenly spaced. KL: from the validation to the training targets."
    )


def section(name: str, rows: Rows, table: Table) -> str:
    """Return a data set's section: what is varied, the table, groups and the tuning if there was a choice."""
    place, metric = place_columns(table), table.metric
    lines = ["", f"## {name}"]

    def add(title: str, shown: list[list[str]]) -> None:
        lines.extend(["", *([f"{title}:", ""] if title else []), *table_lines(shown)])

    if table.along is not None and len(table.points) > 1:
        for protocol in PROTOCOLS:
            add(f"Test {metric}, {protocol}, by {table.along.name}", _along(rows, table, protocol))
    add("", grid(rows, columns(table, rows)))
    if beyond := beyond_accuracy(table, rows):
        add("What is recommended, history masked", grid([row for row in rows if row.tested], [*place, *beyond]))
        lines.extend(["", _BEYOND])
    for kind in dict.fromkeys(kind for row in rows for kind in row.groups):
        having = [row for row in rows if kind in row.groups]
        names = dict.fromkeys(name for row in having for name in row.groups[kind])
        shown = [column for name in names for column in _group_columns(kind, name, metric)]
        add(f"{GROUPS.get(kind, f'By {kind}')} (test {metric})", grid(having, [*place, *shown]))
    if table.tuned:
        add(f"Validation {metric} of the grid", grid(rows, [*place, *map(_tuning_column, table.grid)]))
    return "\n".join(lines) + "\n"


def _group_columns(kind: str, name: str, metric: str) -> list[Column]:
    users = Column(f"{name} users", lambda row: (n := row.spread(of_group(kind, name))) and f"{n.mean:,.0f}")
    return [users, *(Column(f"{name} {p}", spread(of_group(kind, name, p, metric))) for p in PROTOCOLS)]


def _tuning_column(point: Point) -> Column:
    return Column(point_text(point), lambda row: (cell := row.tuning[point]) and cell.run.validation)


def _along(rows: Rows, table: Table, protocol: str) -> list[list[str]]:
    figure = Column("", spread(of_test(protocol, table.metric)))
    figures = {(row.method, row.at): figure.text(row) for row in rows}
    head = ["method", *(place_text(point, table) for point in table.points)]
    methods = dict.fromkeys(row.method for row in rows)
    return [head, *([method, *(figures[method, point] for point in table.points)] for method in methods)]


def summary(rows: Rows, table: Table) -> list[list[str]]:
    """Return head and rows of the small table on the terminal."""
    return grid(rows, [column for column in columns(table, rows) if column.brief])


def grid(rows: Rows, shown: Sequence[Column]) -> list[list[str]]:
    """Return head and rows of columns as text."""
    head = ["method", *(column.name for column in shown)]
    return [head, *([row.method, *(column.text(row) for column in shown)] for row in rows)]


def table_lines(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return head and rows as the lines of a Markdown table."""
    head, *rows = (f"| {' | '.join(line)} |" for line in lines)
    return [head, f"| {' | '.join(['---', *['--:'] * (len(lines[0]) - 1)])} |", *rows]


def _links(name: str, table: Table, out: Path) -> str:
    titles = {f"{name}-validation": f"validation {table.metric} against pairs seen"}
    if table.along is not None:
        titles[f"{name}-along"] = f"test {table.metric} by {table.along.name}"
    shown = {quote(stem): title for stem, title in titles.items() if (out / f"{stem}.svg").is_file()}
    return "".join(f"\n[![{name}: {title}]({stem}.svg)]({stem}.png)\n" for stem, title in shown.items())


def _draw(sections: Mapping[str, Rows], table: Table, out: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        typer.echo("No plots: they need Matplotlib, pip install 'genpas-plugins[plot]'.", err=True)
        return
    from genpas_plugins.experiments import plots

    for name, rows in sections.items():
        if any(row.curve for row in rows):
            plots.save(plots.validation_curves(name, rows, table), out / f"{name}-validation")
        if len(table.points) > 1 and any(row.tested for row in rows):
            plots.save(plots.along_curves(name, rows, table), out / f"{name}-along")
