"""The report about policies: all figures in one dictionary and its two files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genpas_plugins.analysis.curves import target_curves
from genpas_plugins.analysis.measures import analyze
from genpas_plugins.analysis.similarity import Similarity
from genpas_plugins.data.sequences import SequenceView, Split
from genpas_plugins.data.temporal import LEAVE_LAST_OUT, evaluated_counts
from genpas_plugins.pages.analysis_html import render_page
from genpas_plugins.pages.report_files import made_with, write_files
from genpas_plugins.pages.verdict import verdict_figures
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.support.errors import InputError


def build_report(
    split: Split,
    policies: Sequence[Policy],
    *,
    name: str = "",  # name of the data, for the title
    split_name: str = LEAVE_LAST_OUT,  # how the data was split, as `data.temporal.read_split` takes it
    similarity: Similarity | None = None,
    smoothing: float = 1e-10,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return the figures of `measures.analyze`, and more for the page.

    The further keys are split (name, and how much of validation and test training knows), target_curves and coverage
    (see `curves.target_curves`), evaluation (mean history lengths of test and validation, and the test's histogram),
    verdict (see `verdict.verdict_figures`), and made (date and versions). The counts of the store begin with its name.

    Raises InputError if the split has no training pair or no validation target.
    """
    check_split(split)
    unique = list(dict.fromkeys(policies))
    curves, coverage = target_curves(split, unique)
    report = analyze(split, unique, similarity=similarity, smoothing=smoothing, progress=progress)
    last = SamplingPolicy.named("last_target")
    views = {"test": split.test, "validation": split.validation}
    report["store"] = {"name": name, **report["store"]}
    report["split"] = {"name": split_name, **evaluated_counts(split)}
    report["coverage"] = coverage
    report["evaluation"] = {
        "history_length": {kind: last.expected_history_length(view) for kind, view in views.items()},
        "test_histogram": _history_shares(split.test),
    }
    report["verdict"] = verdict_figures(split, unique, report["kl"]["validation"])
    report["target_curves"] = curves
    report["made"] = made_with(("genpas-plugins", "numpy", "scipy"))
    return report


def _history_shares(view: SequenceView) -> list[float]:
    """Return the share of the users by number of items in the history before their target."""
    histories = view.lengths()[view.lengths() > 1] - 1
    shares: list[float] = (np.bincount(histories) / max(len(histories), 1)).tolist()
    return shares


def check_split(split: Split) -> None:
    """Raise InputError if the split has no training pair or no validation target."""
    if not split.validation.max_length:
        raise InputError(
            f"The validation set is empty: none of the {split.train.store.n_sequences} users has the three items that "
            "a "
            "validation target and a history before it need. Use data with longer sequences."
        )
    split.train.require_pairs()


def check_directory(directory: Path, *, overwrite: bool) -> None:
    """Raise InputError if `directory` is a file or if it exists and `overwrite` is off."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; name a directory for the report.")
    if directory.exists() and not overwrite:
        raise InputError(f"{directory} exists; choose another directory, or replace its report with --overwrite.")


def write_report(report: dict[str, Any], directory: Path, *, overwrite: bool = False) -> None:
    """Write report.json and report.html into `directory`: both whole or neither.

    `overwrite` replaces files of these names alone. Raises InputError as `check_directory` does.
    """
    check_directory(directory, overwrite=overwrite)
    write_files(report, render_page(report), directory)
