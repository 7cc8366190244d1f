"""report.html of `genpas analyze`: one page that needs no network and no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from genpas_plugins.data.temporal import LEAVE_LAST_OUT
from genpas_plugins.pages import analysis_plots as plots
from genpas_plugins.pages.findings import findings
from genpas_plugins.pages.markup import Markup, definitions, element, findings_list, join, page, row, table
from genpas_plugins.pages.report_files import made_text
from genpas_plugins.pages.svg import percent
from genpas_plugins.pages.verdict import verdict

Row = tuple[str, Callable[[float], str], Mapping[str, Any]]
"""Name of a row, how to write its values, and the value of each policy."""


def render_page(report: Mapping[str, Any]) -> str:
    """Return the page of a report that `analysis_report.build_report` made."""
    store = report["store"]
    order = list(report["policies"])
    legend = [element("li", plots.swatch(place), name) for place, name in enumerate(order)]
    return page(
        "analysis.html",
        ["style.css"],
        f"What {store['name'] or 'a store'} trains on",
        users=f"{store['sequences']:,}",
        items=f"{store['items']:,}",
        interactions=f"{store['interactions']:,}",
        legend=join([*legend, element("li", plots.swatch(None), "test (what users ask for)")]),
        **verdict(report["verdict"])._asdict(),
        findings=findings_list(findings(report)),
        numbers=_numbers(report),
        about=_about(report),
        **_figures(report, order),
    )


def _figures(report: Mapping[str, Any], order: list[str]) -> dict[str, Markup]:
    curves, groups, users = report["target_curves"], report["popularity_groups"], report["user_mass"]
    named = ["test", *order]

    def shares(section: str, key: str, first: int = 0) -> dict[str, Any]:
        return {policy: report[section][policy][key][first:] for policy in order}

    # The test's histories, from one item on: a history is also the number of items before the target.
    tested = {"test": report["evaluation"]["test_histogram"][1:]}
    agreement = plots.agreement_matrix(order, report["rank_agreement"], report["rank_difference"])
    return {
        "targets_cumulative": plots.cumulative_curves(curves["rank"], {n: curves[n]["cumulative"] for n in named}),
        "targets_mean": plots.mean_curves(curves["rank"], {name: curves[name]["mean"] for name in named}),
        "kl": plots.bars(
            "kl", "KL divergence by policy", {kind: report["kl"][kind] for kind in ("test", "validation")}, order
        ),
        "popularity": plots.stacked_shares(
            "popularity", "Popularity groups", {name: groups[name] for name in named if name in groups}, order
        ),
        "agreement": agreement if len(order) > 1 else element("p", "One policy has nothing to agree with."),
        "ratio": plots.ratio_scatter(report["alignment_discrimination"], order)
        or element("p", "No policy has a finite alignment and discrimination."),
        "history_length": plots.histogram(
            *("history-length", "History lengths", "items in the history"),
            *(tested | shares("history_length", "histogram", 1), 1),
        ),
        "position_end": plots.histogram(
            *("position-end", "Target positions from the end", "training items after it"),
            shares("target_position", "from_end"),
        ),
        "position_start": plots.histogram(
            *("position-start", "Target positions from the start", "items of the user before it"),
            *(tested | shares("target_position", "from_start", 1), 1),
        ),
        "users_mass": plots.bars(
            "users",
            "Share of the most heavily drawn users",
            {
                f"(top {share} %)": {name: users[name][f"heaviest_{share}_percent"] for name in order}
                for share in (10, 1)
            },
            order,
            percent,
        ),
    }


def _numbers(report: Mapping[str, Any]) -> Markup:
    order = list(report["policies"])
    rows = []
    for part, measures in _parts(report):
        rows.append(element("tr", element("th", part, colspan=len(order) + 1, scope="rowgroup"), class_="part"))
        rows += [
            row(name, [(policy, _written(values[policy], write)) for policy in order])
            for name, write, values in measures
        ]
    measured = table(["Measure", *order], rows)
    heads = ("ranking agreement", "mean rank difference")
    pairs = [
        row(
            key.replace("|", " and "),
            zip(heads, (f"{value:.4f}", f"{report['rank_difference'][key]:,.1f}"), strict=True),
        )
        for key, value in report["rank_agreement"].items()
    ]
    return measured + table(["Two policies", *heads], pairs) if pairs else measured


def _parts(report: Mapping[str, Any]) -> list[tuple[str, list[Row]]]:
    def measure(name: str, write: Callable[[float], str], section: str, key: str) -> Row:
        return name, write, {policy: report[section][policy][key] for policy in report["policies"]}

    three, four, one, whole = "{:.3f}".format, "{:.4g}".format, "{:,.1f}".format, "{:,.0f}".format
    kinds = {"test": "alignment_discrimination", "validation": "alignment_discrimination_validation"}
    groups = next(iter(report["popularity_groups"].values()))
    return [
        ("Exponents", [measure(name, "{:g}".format, "policies", name) for name in ("alpha", "beta", "gamma")]),
        (
            "KL divergence in nats",
            [
                ("test from training", three, report["kl"]["test"]),
                ("validation from training", three, report["kl"]["validation"]),
                ("training from test", three, report["kl_reverse"]["test"]),
                ("training from validation", three, report["kl_reverse"]["validation"]),
            ],
        ),
        (
            "Targets",
            [
                measure("items trained on as a target", whole, "input_target", "targets"),
                measure("test items that are training targets", percent, "coverage", "items"),
                measure("test requests for training targets", percent, "coverage", "requests"),
                measure("training on items the test never asks for", percent, "coverage", "never_asked"),
                *(
                    measure(
                        f"share of {third}, a third of the items by popularity", percent, "popularity_groups", third
                    )
                    for third in groups
                ),
            ],
        ),
        (
            "Alignment and discrimination",
            [
                measure(f"{name}, {kind}", write, section, key)
                for kind, section in kinds.items()
                for name, write, key in (
                    ("alignment", four, "alignment"),
                    ("discrimination", four, "discrimination"),
                    ("ratio", "{:.2f}".format, "ratio"),
                    ("pairs whose target is covered", percent, "covered"),
                )
            ],
        ),
        (
            "Histories",
            [
                measure("mean history length", "{:.2f}".format, "history_length", "mean"),
                measure(
                    "different histories of a target (last 50 items), mean", one, "input_target", "distinct_inputs_mean"
                ),
                measure(
                    "different histories of a target (last 50 items), median",
                    one,
                    "input_target",
                    "distinct_inputs_median",
                ),
                measure("entropy of the targets, nats", three, "input_target", "entropy_target"),
                measure(
                    "entropy of the histories given the target", three, "input_target", "entropy_input_given_target"
                ),
            ],
        ),
        (
            "Users",
            [
                measure("worth so many equally weighted users", whole, "user_mass", "effective_users"),
                measure("share of the most heavily drawn 1 %", percent, "user_mass", "heaviest_1_percent"),
                measure("share of the most heavily drawn 10 %", percent, "user_mass", "heaviest_10_percent"),
            ],
        ),
    ]


def _about(report: Mapping[str, Any]) -> Markup:
    names = {
        "training_sequences": "users with a training pair",
        "training_targets": "training targets (positions)",
        "longest_training_sequence": "longest training sequence",
    }
    counts = {
        names.get(key, key.replace("_", " ")): f"{value:,}" if isinstance(value, int) else str(value)
        for key, value in report["store"].items()
    }
    return definitions(
        {
            **counts,
            "split": _split_text(report["split"]),
            "smoothing of KL": f"{report['smoothing']:g} added to every probability",
            "similarity": str(report["similarity"]),
            "made": made_text(report["made"]),
            "all figures": "report.json beside this page, histograms included",
        }
    )


def _split_text(split: Mapping[str, Any]) -> str:
    name, test = str(split["name"]), split["test"]
    if name == LEAVE_LAST_OUT:
        return "leave-last-out: a user's last item tests, the one before validates, the rest trains"
    return (
        f"{name}, by time: {test['users']:,} test users, {test['unseen_users']:,} of them without a training pair; "
        f"{test['unseen_items']:,} test targets that no training sequence has; {test['without_history']:,} users "
        "without a history are left out"
    )


def _written(value: Any, write: Callable[[float], str]) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return write(value)
