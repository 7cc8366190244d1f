"""Sentences from the figures: how the policies differ and why it matters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genpas_plugins.pages.markup import Finding
from genpas_plugins.pages.svg import percent


def findings(report: Mapping[str, Any]) -> list[Finding]:
    """Return the findings of a report. The most important comes first."""
    tellers: tuple[Callable[[Mapping[str, Any]], Finding | None], ...] = (
        _closest,
        _coverage,
        _choice_by_validation,
        _ranking,
        _ratio,
        _histories,
        _positions,
        _popularity,
        _users,
    )
    return [finding for finding in (tell(report) for tell in tellers) if finding is not None]


def extremes(values: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the names of the lowest and of the highest value; several names tie up to rounding. NaN does not count."""
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    ends = (min(known.values()), max(known.values()))
    low, high = ([name for name, value in known.items() if _equal(value, end)] for end in ends)
    return low, high


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def _closest(report: Mapping[str, Any]) -> Finding:
    kl = report["kl"]["test"]
    best, worst = extremes(kl)
    if best == worst and len(best) > 1:
        what = f"Every policy trains on targets equally close to the requests in the test: KL {kl[best[0]]:.3f} nats."
    else:
        verb = "trains" if len(best) == 1 else "train"
        what = (
            f"{join_names(best)} {verb} on the targets closest to the requests in the test: KL {kl[best[0]]:.3f} nats"
        )
        what += "." if best == worst else f", against {kl[worst[0]]:.3f} for {join_names(worst)}."
    return Finding(
        what,
        "KL is high if items are requested often and trained on rarely; 0 means equal distributions.",
    )


def _coverage(report: Mapping[str, Any]) -> Finding:
    coverage = report["coverage"]
    worst, best = extremes({name: of["items"] for name, of in coverage.items()})
    low, high = coverage[worst[0]], coverage[best[0]]
    if worst == best:
        return Finding(
            f"Every policy trains on {percent(high['items'])} of the items that users ask for in the test. These items "
            f"have {percent(high['requests'])} of the requests.",
            "A model cannot learn to recommend an item that is never a training target. Here the policies are equal.",
        )
    return Finding(
        f"Of the items that users ask for in the test, {percent(low['items'])} are training targets with "
        f"{join_names(worst)}, {percent(high['items'])} with {join_names(best)}. Requests for other items are "
        f"{percent(1 - low['requests'])} of the test with {worst[0]}, {percent(1 - high['requests'])} with {best[0]}.",
        "Training only lowers the score of an item that is never a target, so requests for it are lost.",
    )


def _choice_by_validation(report: Mapping[str, Any]) -> Finding | None:
    test, validation = report["kl"]["test"], report["kl"]["validation"]
    if any(math.isnan(v) for v in validation.values()):
        return None
    (chosen, _), (best, _) = extremes(validation), extremes(test)
    if len(chosen) == len(best) == len(test):
        return None
    pairs = itertools.combinations(test, 2)
    if all(_order(test[a], test[b]) == _order(validation[a], validation[b]) for a, b in pairs):
        what = "KL to the validation targets orders the policies in the same way as KL to the test targets."
        return Finding(what, "So a choice by KL does not need the test.")
    if chosen == best:
        what = f"Validation and test both choose {join_names(chosen)}; their orders of the other policies differ."
        return Finding(what, "A choice by KL does not need the test. The order below it is less certain.")
    return Finding(
        f"Validation chooses {join_names(chosen)} (KL {validation[chosen[0]]:.3f}), the test {join_names(best)}. "
        f"Their KL to the test differs by up to {max(test[name] for name in chosen) - test[best[0]]:.3f} nats.",
        "Choose by validation all the same: a choice by the test makes its result look too good.",
    )


def _order(a: float, b: float) -> int:
    return 0 if _equal(a, b) else (a > b) - (a < b)


def _ranking(report: Mapping[str, Any]) -> Finding | None:
    agreement = report["rank_agreement"]
    if all(math.isnan(value) for value in agreement.values()):
        return None
    lowest, highest = extremes(agreement)
    everyone = lowest == highest and len(lowest) > 1
    names = "Every two policies" if everyone else join_names(lowest[0].split("|"))
    what = (
        f"{names} put {percent(agreement[lowest[0]])} of all item pairs in the same order. An item's rank differs by "
        f"{max(report['rank_difference'][pair] for pair in lowest):,.1f} of {report['store']['items']:,} places on "
        "average."
    )
    if lowest != highest:
        what += f" {join_names(highest[0].split('|'))} are the most alike ({percent(agreement[highest[0]])})."
    return Finding(what, "Chance is 50 %. From the same data, policies learn different ideas of what is popular.")


def _ratio(report: Mapping[str, Any]) -> Finding | None:
    ratios = {name: of["ratio"] for name, of in report["alignment_discrimination"].items() if of["ratio"] is not None}
    ratios = {name: ratio for name, ratio in ratios.items() if math.isfinite(ratio)}
    if not ratios:
        return None
    worst, best = extremes(ratios)
    what = (
        f"With {join_names(best)}, a test history is {ratios[best[0]]:.1f} times as similar to training histories of "
        "its own target as to training histories of other targets"
    )
    what += "." if worst == best else f"; with {join_names(worst)}, {ratios[worst[0]]:.1f} times."
    return Finding(
        what, f"A higher value means that histories say more about the target. Similarity: {report['similarity']}."
    )


def _histories(report: Mapping[str, Any]) -> Finding:
    means = {name: of["mean"] for name, of in report["history_length"].items()}
    tested = report["evaluation"]["history_length"]["test"]
    nearest, _ = extremes({name: abs(mean - tested) for name, mean in means.items()})
    low, high = extremes(means)
    span = f"{means[low[0]]:.1f} items"
    span += "" if low == high else f" ({join_names(low)}) to {means[high[0]]:.1f} ({join_names(high)})"
    return Finding(
        f"A test history has {tested:.1f} items on average, a training history {span}.",
        ("" if low == high else f"{join_names(nearest)} {'is' if len(nearest) == 1 else 'are'} the closest. ")
        + "A model that never saw histories as long as the test's must extrapolate.",
    )


def _positions(report: Mapping[str, Any]) -> Finding | None:
    last = {name: of["from_end"][0] for name, of in report["target_position"].items() if of["from_end"]}
    if not last:
        return None
    low, high = extremes(last)
    what = f"With {join_names(high)}, {percent(last[high[0]])} of the targets end their training sequence"
    what += "." if low == high else f"; with {join_names(low)}, {percent(last[low[0]])}."
    return Finding(what, "Late targets follow current taste, as the test does. Early targets add more items.")


def _popularity(report: Mapping[str, Any]) -> Finding | None:
    groups = report["popularity_groups"]
    policies = [name for name in report["policies"] if name in groups]
    if "test" not in groups or not policies or report["store"]["items"] < len(groups["test"]):
        return None
    tail, head = list(groups["test"])[-1], next(iter(groups["test"]))
    rare = {name: groups[name][tail] for name in policies}
    low, high = extremes(rare)
    spread = percent(rare[low[0]])
    spread += "" if low == high else f" ({join_names(low)}) to {percent(rare[high[0]])} ({join_names(high)})"
    return Finding(
        f"The least popular third of the items has {percent(groups['test'][tail])} of the test's requests and "
        f"{spread} of the training targets. The most popular third has {percent(groups['test'][head])} of requests.",
        "Rare items get few gradient steps. If training has fewer of them than the test, recommendations narrow.",
    )


def join_names(names: Sequence[str]) -> str:
    """Join names for a sentence: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _users(report: Mapping[str, Any]) -> Finding:
    heavy = {name: of["heaviest_10_percent"] for name, of in report["user_mass"].items()}
    low, high = extremes(heavy)
    users = report["user_mass"][high[0]]["effective_users"]
    what = f"A tenth of the users has {percent(heavy[high[0]])} of the training pairs with {join_names(high)}"
    what += "" if low == high else f", {percent(heavy[low[0]])} with {join_names(low)}"
    what += f". {high[0]} is worth {users:,.0f} equally weighted users of {report['store']['training_sequences']:,}."
    return Finding(what, "In the test every user counts once, so weight on few users trains for them first.")
