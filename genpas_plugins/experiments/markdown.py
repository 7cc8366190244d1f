"""The tables of `genpas reproduce` in Markdown: figures beside published ones, along an axis, by groups; tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genpas_plugins.experiments.measured_settings import check_metric
from genpas_plugins.experiments.rows import PROTOCOLS
from genpas_plugins.experiments.table import Table
from genpas_plugins.experiments.text_table import figure_text, table_lines
from genpas_plugins.settings.genpas import PREFIX

NOT_RUN = "not run"
GROUPS = {
    "popularity": "By popularity of the target, G1 the most popular items and G3 the long tail",
    "users": "Users seen and not seen in training",
}
"""What the kinds of groups are called."""

Rows = Sequence[Mapping[str, Any]]


def note(table: Table) -> str:
    """Return what stands below the tables: how their figures came about."""
    grid = " and the same grid, of which validation chose with the first seed" if len(table.grid) > 1 else ""
    tested = ", and only the chosen setting is tested" if len(table.grid) > 1 else ""
    return (
        "Full ranking of all items, leave-last-out; masked: without the items of the user's history, unmasked: with "
        f"them. Figures are mean ± standard deviation over the seeds. Each row has the same pairs{grid}; the epoch is "
        f"the best on validation{tested}. Seconds: training and validation of a run."
    )


def section(name: str, rows: Rows, table: Table, measured: Sequence[str]) -> str:
    """Return a data set's section: what is varied, the table, groups, and the tuning if there was a choice."""
    lines = ["", f"## {name}", ""]
    if table.along is not None and len(table.points) > 1:
        for protocol in PROTOCOLS:
            lines += [f"Test {table.metric}, {protocol}, by {table.along.name}:", ""]
            lines += [*table_lines(_along(rows, table, protocol)), ""]
    lines += table_lines(_figures(rows, table, measured))
    for kind in dict.fromkeys(kind for row in rows for kind in row["groups"]):
        title = f"{GROUPS.get(kind, f'By {kind}')} (test {table.metric})"
        lines += ["", f"{title}:", "", *table_lines(_groups(rows, table, kind))]
    if len(table.grid) > 1:
        head = [*_head(table), *(point_text(point["settings"]) for point in rows[0]["tuning"])]
        tuning = [[*_names(row, table), *(_figure(point["validation"]) for point in row["tuning"])] for row in rows]
        lines += ["", f"Validation {table.metric} of the grid:", "", *table_lines([head, *tuning])]
    return "\n".join(lines) + "\n"


def point_text(point: Mapping[str, Any]) -> str:
    """Return the settings of a point in one line.

    >>> point_text({"genpas_train_users": 0.1, "hidden_size": 64})
    'train_users 0.1, hidden_size 64'
    """
    return ", ".join(f"{key.removeprefix(PREFIX)} {value}" for key, value in point.items()) or "–"


def place_text(point: Mapping[str, Any], table: Table, *, named: bool = True) -> str:
    """Return where a point lies along what is varied: the first setting by the axis' name, the others by their own.

    named : False leaves the axis' name out, for a column that has it
    """
    if table.along is None or not point:
        return point_text(point)
    (_, value), *others = point.items()
    first = f"{table.along.name} {value}" if named else str(value)
    return ", ".join([first, *([point_text(dict(others))] if others else [])])


def summary(rows: Rows, table: Table) -> list[list[str]]:
    """Return head and rows of a small table for the terminal: the metric that chooses, in both protocols."""
    name = table.metric.lower()
    published = any(name in row["published"] for row in rows)
    head = [*_head(table), "seeds", f"validation {table.metric}", f"masked {table.metric}"]
    lines = [[*head, *(["published"] if published else []), f"unmasked {table.metric}", "seconds"]]
    for row in rows:
        masked, unmasked = (_test(row, protocol, name) for protocol in PROTOCOLS)
        lines.append(
            [
                *(*_names(row, table), _seeds(row), _validation(row), masked),
                *([_published(row, name)] if published else []),
                *(unmasked, _seconds(row)),
            ]
        )
    return lines


def _head(table: Table) -> list[str]:
    return ["method"] if table.along is None else ["method", table.along.name]


def _names(row: Mapping[str, Any], table: Table) -> list[str]:
    return [row["method"]] if table.along is None else [row["method"], place_text(row["point"], table, named=False)]


def _seeds(row: Mapping[str, Any]) -> str:
    return ", ".join(map(str, row["seeds"])) or "–"


def _validation(row: Mapping[str, Any]) -> str:
    return NOT_RUN if row["validation"] is None else figure_text(row["validation"], 4)


def _published(row: Mapping[str, Any], name: str) -> str:
    return f"{row['published'][name]:.4f}" if name in row["published"] else "–"


def _seconds(row: Mapping[str, Any]) -> str:
    return "–" if row["seconds"] is None else figure_text(row["seconds"], 0)


def _along(rows: Rows, table: Table, protocol: str) -> list[list[str]]:
    """Return the test figure of every method (down) at every point (across)."""
    figures = {(row["method"], tuple(row["point"].items())): _test(row, protocol, table.metric.lower()) for row in rows}
    head = ["method", *(place_text(dict(point), table) for point in table.points)]
    methods = dict.fromkeys(row["method"] for row in rows)
    return [head, *([method, *(figures[method, point] for point in table.points)] for method in methods)]


def _figures(rows: Rows, table: Table, measured: Sequence[str]) -> list[list[str]]:
    published = [name for name in measured if any(name in row["published"] for row in rows)]
    tuned = table.grid != ((),)
    head = [*_head(table), *(["setting"] if tuned else []), "seeds", f"validation {table.metric}"]
    head += [f"masked {check_metric(name)}" for name in measured]
    head += [f"published {check_metric(name)}" for name in published]
    lines = [[*head, *(f"unmasked {check_metric(name)}" for name in measured), "pairs", "seconds"]]
    for row in rows:
        masked, unmasked = ([_test(row, protocol, name) for name in measured] for protocol in PROTOCOLS)
        lines.append(
            [
                *_names(row, table),
                *(["–" if row["chosen"] is None else point_text(row["chosen"])] if tuned else []),
                _seeds(row),
                _validation(row),
                *masked,
                *(_published(row, name) for name in published),
                *unmasked,
                "–" if row["pairs_seen"] is None else f"{row['pairs_seen']:,}",
                _seconds(row),
            ]
        )
    return lines


def _groups(rows: Rows, table: Table, kind: str) -> list[list[str]]:
    """Return users and the test figure in both protocols of every group, for the rows that have any."""
    names = list(dict.fromkeys(group for row in rows for group in row["groups"].get(kind, {})))
    head = [*_head(table), *(f"{group} {what}" for group in names for what in ("users", *PROTOCOLS))]
    lines = [head]
    for row in (row for row in rows if kind in row["groups"]):
        line = _names(row, table)
        for group in names:
            figures = row["groups"][kind].get(group, {})
            counts = next((of_protocol["n"] for of_protocol in figures.values()), None)
            line.append("–" if counts is None else f"{counts['mean']:,.0f}")
            for protocol in PROTOCOLS:
                figure = figures.get(protocol, {}).get(table.metric.lower())
                line.append("–" if figure is None else figure_text(figure, 4))
        lines.append(line)
    return lines


def _test(row: Mapping[str, Any], protocol: str, name: str) -> str:
    return NOT_RUN if row["test"] is None else figure_text(row["test"][protocol][name], 4)


def _figure(value: float | None) -> str:
    return NOT_RUN if value is None else f"{value:.4f}"
