"""The tables of `genpas reproduce`, made from the cells' files: test figures beside published ones, and the tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genpas_plugins.cli.compare_methods import Method
from genpas_plugins.cli.compare_table import figure_text, spread, table_lines
from genpas_plugins.cli.compare_training import Cell, Comparison
from genpas_plugins.cli.reproduce_settings import Point, Table

PROTOCOLS = ("masked", "unmasked")
NOT_RUN = "not run"
NOTE = (
    "Full ranking of all items, leave-last-out; masked: without the items of the user's history, unmasked: with them. "
    "Figures are mean ± standard deviation over the seeds. Each row has the same pairs and the same grid, of which "
    "validation chose with the first seed; the epoch is the best on validation, and only the chosen setting is tested. "
    "Seconds: training and validation of a run."
)


def chosen_point(runs: Comparison, table: Table, method: Method, seed: int) -> Point | None:
    """Return the point of the grid with the best validation, None while one is not trained; the first of equal ones."""
    scores: dict[Point, float] = {}
    for point in table.grid:
        result = runs.trained(Cell(method, seed, point))
        if result is None:
            return None
        scores[point] = result["validation"]
    return max(scores, key=scores.__getitem__)


def row(
    runs: Comparison, table: Table, method: Method, seeds: Sequence[int], published: Mapping[str, float]
) -> dict[str, Any]:
    """Return a row as plain values: None for what was not run, a spread is {"mean", "sd"}."""
    point = chosen_point(runs, table, method, seeds[0])
    tuned = [(point, runs.trained(Cell(method, seeds[0], point))) for point in table.grid]
    done = {} if point is None else {seed: runs.finished(Cell(method, seed, point)) for seed in seeds}
    results = [result for result in done.values() if result is not None]
    return {
        "method": method.label,
        "chosen": None if point is None else dict(point),
        "seeds": [seed for seed, result in done.items() if result is not None],
        "validation": spread([result["validation"] for result in results]) if results else None,
        "test": {protocol: _spreads(results, protocol, runs.measured) for protocol in PROTOCOLS} if results else None,
        "published": dict(published),
        "pairs_seen": results[0]["pairs_seen"] if results else None,
        "seconds": spread([result["seconds"] for result in results]) if results else None,
        "kl_validation": results[0]["trained_on"]["kl_validation"] if results else None,
        "tuning": [
            {
                "settings": dict(point),
                "validation": None if result is None else result["validation"],
                "seconds": None if result is None else result["seconds"],
            }
            for point, result in tuned
        ],
    }


def markdown(name: str, rows: Sequence[Mapping[str, Any]], table: Table, measured: Sequence[str]) -> str:
    """Return a data set's section: the table, and the tuning's validation figures if there was a choice."""
    lines = ["", f"## {name}", "", *table_lines(_grid(rows, table, measured))]
    if len(table.grid) > 1:
        head = ["method", *(_point_text(point["settings"]) for point in rows[0]["tuning"])]
        tuning = [[row["method"], *(_figure(point["validation"]) for point in row["tuning"])] for row in rows]
        lines += ["", f"Validation {table.metric} of the grid:", "", *table_lines([head, *tuning])]
    return "\n".join(lines) + "\n"


def _spreads(results: Sequence[Mapping[str, Any]], protocol: str, measured: Sequence[str]) -> dict[str, Any]:
    return {name: spread([result["test"][protocol][name] for result in results]) for name in measured}


def _grid(rows: Sequence[Mapping[str, Any]], table: Table, measured: Sequence[str]) -> list[list[str]]:
    published = [name for name in measured if any(name in row["published"] for row in rows)]
    head = ["method", "setting", "seeds", f"validation {table.metric}"]
    head += [f"masked {name}" for name in measured] + [f"published {name}" for name in published]
    lines = [[*head, *(f"unmasked {name}" for name in measured), "pairs", "seconds"]]
    for row in rows:
        masked, unmasked = (
            [NOT_RUN if row["test"] is None else figure_text(row["test"][protocol][name], 4) for name in measured]
            for protocol in PROTOCOLS
        )
        lines.append(
            [
                row["method"],
                "–" if row["chosen"] is None else _point_text(row["chosen"]),
                ", ".join(map(str, row["seeds"])) or "–",
                NOT_RUN if row["validation"] is None else figure_text(row["validation"], 4),
                *masked,
                *(f"{row['published'][name]:.4f}" if name in row["published"] else "–" for name in published),
                *unmasked,
                "–" if row["pairs_seen"] is None else f"{row['pairs_seen']:,}",
                "–" if row["seconds"] is None else figure_text(row["seconds"], 0),
            ]
        )
    return lines


def _point_text(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in point.items()) or "–"


def _figure(value: float | None) -> str:
    return NOT_RUN if value is None else f"{value:.4f}"
