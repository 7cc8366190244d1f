"""What `genpas reproduce` leaves beside the cells: reproduction.json, reproduction.md, and the plots it links to."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from genpas_plugins.experiments.earlier_report import fits, head, read_report
from genpas_plugins.experiments.markdown import note, section
from genpas_plugins.experiments.rows import row_values
from genpas_plugins.experiments.table import Table
from genpas_plugins.experiments.table_training import Part
from genpas_plugins.search.search_output import write
from genpas_plugins.support.json_text import to_json

REPORT = "reproduction.json"

VALIDATION, ALONG = "validation", "along"
"""Ends of the names of a data set's plots."""


def write_report(parts: Sequence[Part], out: Path) -> dict[str, Any]:
    """Write reproduction.json and reproduction.md from the cells' files, one section a part; return the former.

    Data sets that only an earlier call wrote about keep their place if their rows are still the table's; else they are
    left out, which is said. Raises InputError if reproduction.json is no report.
    """
    table, seeds, measured = parts[0].table, parts[0].seeds, parts[0].runs.measured
    before = read_report(out / REPORT)
    own = {part.name: _values(part) for part in parts}
    kept = {}
    for name, rows in before["datasets"].items():
        if name in own or fits(before, name, table, measured):
            kept[name] = rows
        else:
            typer.echo(
                f"{out / REPORT} loses {name}, of which it had other rows or figures than {table.file.name} has now; "
                f"--datasets {name} writes them anew.",
                err=True,
            )
    sections = {**kept, **own}
    pairs = {**before["pairs"], **{part.name: part.runs.epochs * part.runs.pairs_per_epoch for part in parts}}
    text = f"# {table.file.stem}: {table.model}, seeds {', '.join(map(str, seeds))}\n"
    for name, rows in sections.items():
        text += section(name, rows, table, measured) + _links(name, table, out)
    result = {
        **head(table),
        "seeds": list(seeds),
        "pairs": {name: pairs[name] for name in sections},
        "datasets": sections,
    }
    write(out / REPORT, to_json(result))
    write(out / "reproduction.md", f"{text}\n{note(table)}\n")
    return result


def _links(name: str, table: Table, out: Path) -> str:
    """Return Markdown that shows the plots of a data set that are there."""
    shows = {VALIDATION: f"validation {table.metric} against pairs seen"}
    if table.along is not None:
        shows[ALONG] = f"test {table.metric} by {table.along.name}"
    text = ""
    for kind, shown in shows.items():
        file = out / f"{name}-{kind}.svg"
        if file.is_file():
            png = quote(file.with_suffix(".png").name)
            text += f"\n[![{name}: {shown}]({quote(file.name)})]({png})\n"
    return text


def draw_plots(parts: Sequence[Part], out: Path) -> None:
    """Draw the plots of what has been run as .svg and .png; without Matplotlib, say so."""
    if importlib.util.find_spec("matplotlib") is None:
        typer.echo("No plots: they need Matplotlib, pip install 'genpas-plugins[plot]'.", err=True)
        return
    from genpas_plugins.experiments import plots

    for part in parts:
        rows = _values(part)
        if any(row["curve"] for row in rows):
            plots.save(plots.validation_curves(part.name, rows, part.table), out / f"{part.name}-{VALIDATION}")
        if len(part.table.points) > 1 and any(row["test"] is not None for row in rows):
            plots.save(plots.along_curves(part.name, rows, part.table), out / f"{part.name}-{ALONG}")


def _values(part: Part) -> list[dict[str, Any]]:
    published = part.table.published.get(part.name, {})
    return [row_values(row, part.seeds, published.get(row.method.label, {})) for row in part.rows]
