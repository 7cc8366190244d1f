"""The report of a list of policies: all figures in one dictionary, and the two files that show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genpas_plugins.analysis.curves import target_curves
from genpas_plugins.analysis.measures import analyze
from genpas_plugins.analysis.similarity import Similarity
from genpas_plugins.data.sequences import LeaveLastOut
from genpas_plugins.pages.analysis_page import render_page
from genpas_plugins.pages.report_files import made_with, write_files
from genpas_plugins.sampling.policy import SamplingPolicy
from genpas_plugins.support.errors import InputError


def build_report(
    split: LeaveLastOut,
    policies: Sequence[SamplingPolicy],
    *,
    name: str = "",
    similarity: Similarity | None = None,
    smoothing: float = 1e-10,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return the figures of `measures.analyze`, and what the page shows beside them.

    name : of the data, for the page's title
    Other parameters as of `analyze`; equal policies are taken once.

    Further keys: target_curves and coverage (see `curves.target_curves`), evaluation (mean history length of the test
    and the validation), made (date and versions), and the name among the counts of the store. Raises InputError if the
    split has no training pair or nothing to validate with.
    """
    check_split(split)
    unique = list(dict.fromkeys(policies))
    curves, coverage = target_curves(split, unique)
    report = analyze(split, unique, similarity=similarity, smoothing=smoothing, threads=threads, progress=progress)
    last = SamplingPolicy.named("last_target")
    views = {"test": split.test, "validation": split.validation}
    report["store"] = {"name": name, **report["store"]}
    report["coverage"] = coverage
    report["evaluation"] = {
        "history_length": {kind: last.expected_history_length(view) for kind, view in views.items()}
    }
    report["target_curves"] = curves
    report["made"] = made_with(("genpas-plugins", "numpy", "scipy"))
    return report


def check_split(split: LeaveLastOut) -> None:
    """Raise InputError if there is nothing to train on or nothing to validate with."""
    if not split.validation.max_length:
        raise InputError(
            f"The validation set is empty: none of the {split.train.store.n_sequences} users has the three items that "
            "a "
            "validation target and a history before it need. Use data with longer sequences."
        )
    split.train.require_pairs()


def check_directory(directory: Path, *, overwrite: bool) -> None:
    """Raise InputError if a report cannot be written to `directory`: it exists and `overwrite` is off, or is a file."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; name a directory for the report.")
    if directory.exists() and not overwrite:
        raise InputError(f"{directory} exists; choose another directory, or replace its report with --overwrite.")


def write_report(report: dict[str, Any], directory: Path, *, overwrite: bool = False) -> None:
    """Write report.json and report.html into `directory`: both whole, or neither.

    With `overwrite` only files of these names are replaced; others in the directory stay. Raises InputError as
    `check_directory` does.
    """
    check_directory(directory, overwrite=overwrite)
    write_files(report, render_page(report), directory)
