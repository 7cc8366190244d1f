"""The figures in sentences: how the policies differ, and why it matters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genpas_plugins.pages.markup import Finding
from genpas_plugins.pages.svg import percent


def findings(report: Mapping[str, Any]) -> list[Finding]:
    """Return the findings of a report, the most important first."""
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


def extremes(values: Mapping[str, float]) -> tuple[str, str]:
    """Return the names of the lowest and of the highest value; NaN counts only if all values are NaN."""
    known = {name: value for name, value in values.items() if not math.isnan(value)} or dict(values)
    return min(known, key=known.__getitem__), max(known, key=known.__getitem__)


def _closest(report: Mapping[str, Any]) -> Finding:
    kl = report["kl"]["test"]
    best, worst = extremes(kl)
    tied = [name for name, value in kl.items() if math.isclose(value, kl[best], rel_tol=1e-9)]
    verb = "trains" if len(tied) == 1 else "train"
    what = f"{listed(tied)} {verb} on the targets closest to the requests in the test: KL {kl[best]:.3f} nats"
    what += "." if best == worst else f", against {kl[worst]:.3f} for {worst}."
    return Finding(
        what,
        "KL is high if items are requested often and trained on rarely; 0 means equal distributions.",
    )


def _coverage(report: Mapping[str, Any]) -> Finding:
    coverage = report["coverage"]
    worst, best = extremes({name: of["items"] for name, of in coverage.items()})
    low, high = coverage[worst], coverage[best]
    if math.isclose(low["items"], high["items"]):
        return Finding(
            f"Every policy trains on {percent(high['items'])} of the items that users ask for in the test. These items "
            f"have {percent(high['requests'])} of the requests.",
            "A model cannot learn to recommend an item that is never a training target. Here the policies are equal.",
        )
    return Finding(
        f"{worst} trains on {percent(low['items'])} of the items that users ask for in the test; {best} on "
        f"{percent(high['items'])}. Requests for other items are {percent(1 - low['requests'])} of the test with "
        f"{worst}, {percent(1 - high['requests'])} with {best}.",
        "Training only lowers the score of an item that is never a target, so requests for it are lost.",
    )


def _choice_by_validation(report: Mapping[str, Any]) -> Finding | None:
    test, validation = report["kl"]["test"], report["kl"]["validation"]
    if len(test) == 1 or any(math.isnan(v) for v in validation.values()):
        return None
    if sorted(test, key=test.__getitem__) == sorted(validation, key=validation.__getitem__):
        what = "KL to the validation targets orders the policies in the same way as KL to the test targets."
        return Finding(what, "So a choice by KL does not need the test.")
    chosen, best = extremes(validation)[0], extremes(test)[0]
    if chosen == best:
        what = f"Validation and test both choose {chosen}; their orders of the other policies differ."
        return Finding(what, "A choice by KL does not need the test. The order below it is less certain.")
    return Finding(
        f"Validation chooses {chosen} (KL {validation[chosen]:.3f}), the test {best}. Their KL to the test differs by "
        f"{abs(test[chosen] - test[best]):.3f} nats.",
        "Choose by validation all the same: a choice by the test makes its result look too good.",
    )


def _ranking(report: Mapping[str, Any]) -> Finding | None:
    agreement = report["rank_agreement"]
    if not agreement:
        return None
    lowest, highest = extremes(agreement)
    a, b = lowest.split("|")
    what = (
        f"{a} and {b} put {percent(agreement[lowest])} of all item pairs in the same order. An item's rank differs by "
        f"{report['rank_difference'][lowest]:,.1f} of {report['store']['items']:,} places on average."
    )
    if lowest != highest:
        c, d = highest.split("|")
        what += f" {c} and {d} are the most alike ({percent(agreement[highest])})."
    return Finding(what, "Chance is 50 %. From the same data, policies learn different ideas of what is popular.")


def _ratio(report: Mapping[str, Any]) -> Finding | None:
    ratios = {name: of["ratio"] for name, of in report["alignment_discrimination"].items() if of["ratio"] is not None}
    ratios = {name: ratio for name, ratio in ratios.items() if math.isfinite(ratio)}
    if not ratios:
        return None
    worst, best = extremes(ratios)
    what = (
        f"With {best}, a test history is {ratios[best]:.1f} times as similar to training histories of its own target "
    )
    what += "as to training histories of other targets"
    what += "." if worst == best else f"; with {worst}, {ratios[worst]:.1f} times."
    return Finding(
        what, f"A higher value means that histories say more about the target. Similarity: {report['similarity']}."
    )


def _histories(report: Mapping[str, Any]) -> Finding:
    means = {name: of["mean"] for name, of in report["history_length"].items()}
    tested = report["evaluation"]["history_length"]["test"]
    nearest = min(means, key=lambda name: abs(means[name] - tested))
    low, high = extremes(means)
    span = f"{means[low]:.1f} items ({low}) to {means[high]:.1f} ({high})" if low != high else f"{means[low]:.1f} items"
    return Finding(
        f"A test history has {tested:.1f} items on average, a training history {span}.",
        f"{nearest} is the closest. A model that never saw histories as long as the test's must extrapolate.",
    )


def _positions(report: Mapping[str, Any]) -> Finding | None:
    last = {name: of["from_end"][0] for name, of in report["target_position"].items() if of["from_end"]}
    if not last:
        return None
    low, high = extremes(last)
    what = f"{high} takes {percent(last[high])} of its targets from the end of the training sequence"
    what += "." if low == high else f", {low} {percent(last[low])}."
    return Finding(what, "Late targets follow current taste, as the test does. Early targets add more items.")


def _popularity(report: Mapping[str, Any]) -> Finding | None:
    groups = report["popularity_groups"]
    policies = [name for name in report["policies"] if name in groups]
    if "test" not in groups or not policies:
        return None
    tail, head = list(groups["test"])[-1], next(iter(groups["test"]))
    rare = {name: groups[name][tail] for name in policies}
    low, high = extremes(rare)
    spread = f"{percent(rare[low])} ({low})" + (f" to {percent(rare[high])} ({high})" if low != high else "")
    return Finding(
        f"The least popular third of the items has {percent(groups['test'][tail])} of the test's requests and "
        f"{spread} of the training targets. The most popular third has {percent(groups['test'][head])} of requests.",
        "Rare items get few gradient steps. If training has fewer of them than the test, recommendations narrow.",
    )


def listed(names: Sequence[str]) -> str:
    """Join names for a sentence: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _users(report: Mapping[str, Any]) -> Finding:
    heavy = {name: of["heaviest_10_percent"] for name, of in report["user_mass"].items()}
    low, high = extremes(heavy)
    users = report["user_mass"][high]["effective_users"]
    what = f"A tenth of the users has {percent(heavy[high])} of the training pairs with {high}"
    what += "" if low == high else f", {percent(heavy[low])} with {low}"
    what += f". {high} is worth {users:,.0f} equally weighted users of {report['store']['training_sequences']:,}."
    return Finding(what, "In the test every user counts once, so weight on few users trains for them first.")
