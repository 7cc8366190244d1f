"""Write results as tables on the terminal and in the Markdown file beside the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.goals import Goal

_NOT_QUIET = "The machine was not quiet: other work took turns with the measurements, which widens the spreads."
GOAL_HEAD = ["measurement", "goal", "bound", "measured", "verdict"]


@dataclass(frozen=True)
class Grid:
    """A table of text with a title and a head."""

    title: str
    head: list[str]
    rows: list[list[str]]


def goals_grid(goals: Sequence[Goal]) -> Grid:
    """Return the table of the goals, the last table of a run."""
    rows = [[goal.section, goal.what, goal.bound_text, goal.measured_text, goal.verdict] for goal in goals]
    return Grid("Goals", GOAL_HEAD, rows)


def show(console: Console, results: dict[str, Any], tables: Sequence[Grid]) -> None:
    """Print the tables, missed goals in red."""
    for grid in tables:
        table = Table(title=grid.title, title_justify="left")
        for column in grid.head:
            table.add_column(column)
        for row in grid.rows:
            styles = {"met": "green", "missed": "bold red"}
            table.add_row(*(Text(cell, style=styles.get(cell, "")) for cell in row))
        console.print(table)
    for message in results["skipped"]:
        console.print(Text(message, style="yellow"))


def markdown(results: dict[str, Any], tables: Sequence[Grid], *, module: str, title: str) -> str:
    """Return the Markdown file: the environment, then goals and tables."""
    hardware, commit = results["hardware"], results["commit"]
    revision = f"`{commit.rstrip('+')}`" if commit else "unknown"
    facts = [
        ("command", f"`{results['command']}`"),
        *([("size", "smoke test: the figures mean nothing")] if results["quick"] else []),
        ("date", f"{results['date']}, {results['seconds'] / 60:.1f} minutes"),
        ("commit", revision + (", and changes that were not committed" if commit and commit.endswith("+") else "")),
        ("cpu", f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB, {hardware['machine']}"),
        ("load before the start", str(hardware["load_at_start"])),
        ("other work meanwhile", f"{results['other_load']} cores on average"),
        ("threads", f"{results['threads']} in every measuring process"),
        ("versions", ", ".join(f"{name} {version}" for name, version in results["versions"].items() if version)),
        *((f"data: {name}", shape) for name, shape in results["data"].items()),
    ]
    parts = [
        f"<!-- Written by `python -m {module}`; do not edit. -->",
        f"# {title}",
        _rows_to_markdown(["", ""], [list(fact) for fact in facts]),
        "Spreads are median (lowest–highest).",
        *([_NOT_QUIET] if results["other_load"] > 0.25 else []),
        *(f"Skipped: {message}" for message in results["skipped"]),
        *(f"## {grid.title}\n\n{_rows_to_markdown(grid.head, grid.rows)}" for grid in [tables[-1], *tables[:-1]]),
    ]
    return "\n\n".join(parts) + "\n"


def _rows_to_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
