"""The report about semantic IDs: all figures in one dictionary and its two files beside the IDs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genpas_plugins.pages.report_files import made_with, write_files
from genpas_plugins.pages.semantic_id_html import render_page
from genpas_plugins.semantic_ids.codebook import SemanticIds
from genpas_plugins.support.array_types import Int32, Int64
from genpas_plugins.support.errors import InputError

_GROUPS, _PREFIXES, _BRANCHES, _EXAMPLES = 8, 6, 3, 4
_TITLE = 120


def build_report(ids: SemanticIds, titles: Sequence[str] | None = None, *, name: str = "") -> dict[str, Any]:
    """Return the figures of `SemanticIds.report` and more for the page.

    `usage` has the items of each code with the most used first. `tree` has the prefixes, children and shared items
    of every level. `collision_groups` and `prefixes` have the largest with examples. The others are origin, name
    and made (date and versions). The code that `SemanticIds.resolve` adds does not count for collisions.

    Without `titles` examples show item ids alone. Raises InputError if there is not one title an item.
    """
    if titles is not None and len(titles) != ids.n_items:
        raise InputError(f"There are {len(titles):,} titles for {ids.n_items:,} items; give every item one.")
    levels = ids.depth - 1 if "collisions" in ids.origin and ids.depth > 1 else ids.depth
    order, starts = _prefixes(ids.codes)
    return {
        "name": name,
        **ids.report(levels),
        "usage": [
            sorted(np.bincount(ids.codes[:, level], minlength=ids.sizes[level]).tolist(), reverse=True)
            for level in range(levels)
        ],
        "tree": _tree(starts, ids.n_items),
        "collision_groups": _collision_groups(ids, order, starts[levels], levels, titles),
        "prefixes": _examples(ids, order, starts, titles),
        "origin": dict(ids.origin),
        "made": made_with(("genpas-plugins", "numpy")),
    }


def write_report(report: dict[str, Any], directory: Path) -> None:
    """Write report.json and report.html into `directory`: both whole or neither."""
    write_files(report, render_page(report), directory)


def _prefixes(codes: Int32) -> tuple[Int64, list[Int64]]:
    """Return the items in the order of their codes and the first place of each prefix by number of codes."""
    order = np.lexsort(codes.T[::-1])
    ordered = codes[order]
    begins = np.zeros(len(codes), np.bool_)
    begins[:1] = True
    starts = [np.flatnonzero(begins)]
    for level in range(codes.shape[1]):
        begins[1:] |= ordered[1:, level] != ordered[:-1, level]
        starts.append(np.flatnonzero(begins))
    return order, starts


def _sizes(starts: Int64, n_items: int) -> Int64:
    return np.diff(np.append(starts, n_items))


def _tree(starts: list[Int64], n_items: int) -> list[dict[str, Any]]:
    rows = []
    for level, (parents, slots) in enumerate(itertools.pairwise(starts), start=1):
        children = np.diff(np.append(np.searchsorted(slots, parents), len(slots)))
        items = _sizes(slots, n_items)
        rows.append(
            {
                "level": level,
                "prefixes": len(parents),
                "children_mean": float(children.mean()),
                "children_max": int(children.max()),
                "nodes": len(slots),
                "shared": float(1 - np.count_nonzero(items == 1) / n_items),
                # Mean over items, not over groups: how many items share an item's codes so far.
                "items_left": float(np.sum(items.astype(np.float64) ** 2) / n_items),
                "items_left_max": int(items.max()),
            }
        )
    return rows


def _largest(sizes: Int64, count: int) -> list[int]:
    return [int(place) for place in np.argsort(-sizes, kind="stable")[:count]]


def _some(ids: SemanticIds, rows: Int64, titles: Sequence[str] | None) -> list[dict[str, Any]]:
    def title(row: int) -> str:
        text = titles[row] if titles is not None else ""
        return text if len(text) <= _TITLE else text[: _TITLE - 1].rstrip() + "…"

    known = ids.item_ids
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _EXAMPLES)).round().astype(int))]
    return [
        {"item": known[row].as_py() if known is not None else row + 1, "title": title(row)} for row in chosen.tolist()
    ]


def _collision_groups(
    ids: SemanticIds, order: Int64, starts: Int64, levels: int, titles: Sequence[str] | None
) -> list[dict[str, Any]]:
    sizes = _sizes(starts, ids.n_items)
    groups = []
    for group in _largest(sizes, _GROUPS):
        if sizes[group] > 1:
            rows = order[starts[group] : starts[group] + sizes[group]]
            codes = ids.codes[rows[0], :levels].tolist()
            groups.append({"codes": codes, "items": len(rows), "examples": _some(ids, rows, titles)})
    return groups


def _examples(
    ids: SemanticIds, order: Int64, starts: list[Int64], titles: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Return the first codes with the most items and the largest second codes under each."""
    sizes = _sizes(starts[1], ids.n_items)
    prefixes = []
    for node in _largest(sizes, _PREFIXES):
        first = int(starts[1][node])
        last = first + int(sizes[node])
        branches = []
        if ids.depth > 1:
            inner = starts[2][(starts[2] >= first) & (starts[2] < last)]
            inner_sizes = _sizes(inner, last)
            for branch in _largest(inner_sizes, _BRANCHES):
                rows = order[inner[branch] : inner[branch] + inner_sizes[branch]]
                codes = ids.codes[rows[0], :2].tolist()
                branches.append({"codes": codes, "items": len(rows), "examples": _some(ids, rows, titles)})
        else:
            rows = order[first:last]
            branches.append(
                {"codes": ids.codes[rows[0]].tolist(), "items": len(rows), "examples": _some(ids, rows, titles)}
            )
        prefixes.append({"code": int(ids.codes[order[first], 0]), "items": int(sizes[node]), "branches": branches})
    return prefixes
