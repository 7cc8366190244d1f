"""The table of `genpas compare`: a row a method, figures as mean ± standard deviation over the seeds."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

NOTE = (
    "The checkpoint is the best on validation, tested once. Pairs seen are drawn pairs; what operators and mixing add "
    "to them is extra computation, which the seconds of training and validation show. KL: from validation targets to "
    "training targets."
)


def row(label: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a method's row of what its seeds gave, as plain values; a spread is {"mean", "sd"}, see `spread`."""
    return {
        "method": label,
        "pairs_seen": cells[0]["pairs_seen"],
        "validation": spread([cell["validation"] for cell in cells]),
        "test": {name: spread([cell["test"][name] for cell in cells]) for name in cells[0]["test"]},
        "seconds": spread([cell["seconds"] for cell in cells]),
        "kl_validation": cells[0]["trained_on"]["kl_validation"],
    }


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean and standard deviation, that of a sample (n - 1), None of one value.

    >>> spread([1.0, 3.0])
    {'mean': 2.0, 'sd': 1.4142135623730951}
    """
    return {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else None}


def grid(rows: Sequence[Mapping[str, Any]], metric: str) -> list[list[str]]:
    """Return head and rows as text."""
    head = ["method", "pairs seen", f"validation {metric}", *(f"test {name}" for name in rows[0]["test"])]
    return [
        [*head, "seconds", "KL"],
        *(
            [
                row["method"],
                f"{row['pairs_seen']:,}",
                *(figure_text(figure, 4) for figure in (row["validation"], *row["test"].values())),
                figure_text(row["seconds"], 1),
                f"{row['kl_validation']:.4f}",
            ]
            for row in rows
        ),
    ]


def markdown(lines: Sequence[Sequence[str]], title: str) -> str:
    """Return a Markdown page with the table."""
    return "\n".join([f"# {title}", "", *table_lines(lines), "", NOTE, ""])


def table_lines(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return head and rows as the lines of a Markdown table."""
    head, *rows = (f"| {' | '.join(line)} |" for line in lines)
    return [head, f"| {' | '.join(['---', *['--:'] * (len(lines[0]) - 1)])} |", *rows]


def print_table(lines: Sequence[Sequence[str]], title: str) -> None:
    """Print head and rows as a drawn table on stdout, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, name in enumerate(lines[0]):
        table.add_column(name, justify="right" if number else "left")
    for line in lines[1:]:
        table.add_row(*line)
    # A pipe says no width: then wide enough for a table.
    Console(width=None if sys.stdout.isatty() else 150, highlight=False, markup=False).print(table)


def figure_text(figure: Mapping[str, float | None], digits: int) -> str:
    """Return a spread as "mean ± standard deviation", a dash for the latter of one value."""
    sd = figure["sd"]
    return f"{figure['mean']:.{digits}f} ± {'–' if sd is None else f'{sd:.{digits}f}'}"
