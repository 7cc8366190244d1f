"""The page about code bases: what each trains on with one store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genpas_plugins.analysis.frameworks import Framework, framework_figures
from genpas_plugins.analysis.measures import store_counts
from genpas_plugins.data.sequences import Split
from genpas_plugins.data.temporal import LEAVE_LAST_OUT
from genpas_plugins.pages.analysis_report import check_directory, check_split
from genpas_plugins.pages.markup import Finding, definitions, findings_list, page, row, table
from genpas_plugins.pages.report_files import made_text, made_with, write_files
from genpas_plugins.pages.svg import percent
from genpas_plugins.sampling.constructions import construction_of

_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "KL validation": ("kl_validation", "{:.3f}".format),
    "KL test": ("kl_test", "{:.3f}".format),
    "history": ("history_length", "{:.1f}".format),
    "users": ("effective_users", "{:,.0f}".format),
    "last": ("last_target", percent),
    "items": ("items", percent),
    "source read": ("read", lambda read: "yes" if read else "no"),
    "strategy": ("strategy", str),
}


def build_framework_report(
    split: Split, frameworks: dict[str, Framework], *, name: str = "", split_name: str = LEAVE_LAST_OUT
) -> dict[str, Any]:
    """Return the figures of `framework_figures`, the counts of the store, the split, and what they were made with.

    Raises InputError if the split has no training pair or no validation target.
    """
    check_split(split)
    return {
        "store": {"name": name, **store_counts(split)},
        "split": split_name,
        "frameworks": framework_figures(split, frameworks),
        "made": made_with(("genpas-plugins", "numpy")),
    }


def write_framework_report(report: dict[str, Any], directory: Path, *, overwrite: bool = False) -> None:
    """Write report.json and report.html into `directory`: both whole, or neither."""
    check_directory(directory, overwrite=overwrite)
    write_files(report, render_frameworks(report), directory)


def render_frameworks(report: Mapping[str, Any]) -> str:
    """Return the page."""
    store, rows = report["store"], report["frameworks"]
    strategies = dict.fromkeys(of["strategy"] for of in rows)
    return page(
        "frameworks.html",
        ["style.css"],
        f"What code bases train on with {store['name'] or 'a store'}",
        users=f"{store['sequences']:,}",
        items=f"{store['items']:,}",
        interactions=f"{store['interactions']:,}",
        findings=findings_list(_findings(rows)),
        numbers=table(["Code base", *_COLUMNS], [row(of["name"], _cells(of)) for of in rows]),
        strategies=table(["Strategy", "what it is"], [row(word, [("what it is", _rule(word))]) for word in strategies]),
        about=definitions({"Split": report["split"], "Made": made_text(report["made"])}),
    )


def _cells(of: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(head, write(of[key]) if key in of else "–") for head, (key, write) in _COLUMNS.items()]


def _rule(strategy: str) -> str:
    """Return the first paragraph of the construction's documentation."""
    return " ".join((type(construction_of(strategy)).__doc__ or "").split("\n\n")[0].split())


def _findings(rows: list[Mapping[str, Any]]) -> list[Finding]:
    best, worst = rows[0], rows[-1]
    found = [
        Finding(
            f"KL to validation reaches from {best['kl_validation']:.3f} ({best['name']}) to "
            f"{worst['kl_validation']:.3f} ({worst['name']}).",
            "The same data and the same model have other training targets, before any setting is tuned.",
        )
    ]
    few, many = (pick(rows, key=lambda of: of["effective_users"]) for pick in (min, max))
    found.append(
        Finding(
            f"{few['name']} trains on as many users as {few['effective_users']:,.0f} equally weighted ones, "
            f"{many['name']} on {many['effective_users']:,.0f}.",
            "Long sequences have more pairs than short ones, unless a user counts once.",
        )
    )
    return found
