"""What the figures say, in sentences: what differs between the policies, and why it matters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genpas_plugins.pages.markup import Finding
from genpas_plugins.pages.svg import percent


def findings(report: Mapping[str, Any]) -> list[Finding]:
    """Return what is worth saying about a report, the most important first."""
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
    """Return the names of the lowest and of the highest value; values that are NaN do not count, unless all are."""
    known = {name: value for name, value in values.items() if not math.isnan(value)} or dict(values)
    return min(known, key=known.__getitem__), max(known, key=known.__getitem__)


def _closest(report: Mapping[str, Any]) -> Finding:
    kl = report["kl"]["test"]
    best, worst = extremes(kl)
    tied = [name for name, value in kl.items() if math.isclose(value, kl[best], rel_tol=1e-9)]
    verb = "trains" if len(tied) == 1 else "train"
    what = f"{listed(tied)} {verb} on targets most like those that users ask for in the test: KL {kl[best]:.3f} nats"
    what += "." if best == worst else f", against {kl[worst]:.3f} for {worst}."
    return Finding(
        what,
        "KL weighs most the items that are asked for often and trained on rarely; at 0 the two distributions are the "
        "same.",
    )


def _coverage(report: Mapping[str, Any]) -> Finding:
    coverage = report["coverage"]
    worst, best = extremes({name: of["items"] for name, of in coverage.items()})
    low, high = coverage[worst], coverage[best]
    if math.isclose(low["items"], high["items"]):
        return Finding(
            f"Every policy trains on {percent(high['items'])} of the items that users ask for in the test, and on the "
            "targets "
            f"of {percent(high['requests'])} of the requests.",
            "What is never a training target, a model cannot learn to recommend; here that does not tell the "
            "policies apart.",
        )
    return Finding(
        f"{worst} trains on {percent(low['items'])} of the items that users ask for in the test; {best} on "
        f"{percent(high['items'])}. The rest stands behind {percent(1 - low['requests'])} of the test's requests with "
        f"{worst}, {percent(1 - high['requests'])} with {best}.",
        "An item that is never a training target is only ever pushed down: requests for it are lost from the start.",
    )


def _choice_by_validation(report: Mapping[str, Any]) -> Finding | None:
    test, validation = report["kl"]["test"], report["kl"]["validation"]
    if len(test) == 1 or any(math.isnan(v) for v in validation.values()):
        return None
    if sorted(test, key=test.__getitem__) == sorted(validation, key=validation.__getitem__):
        what = "KL against the validation targets puts the policies in the same order as KL against the test's."
        return Finding(what, "So a choice by KL needs no look at the test.")
    chosen, best = extremes(validation)[0], extremes(test)[0]
    if chosen == best:
        what = f"The validation targets choose {chosen} as well; further down their order differs from the test's."
        return Finding(what, "A choice by KL needs no look at the test; the places below it are less certain.")
    return Finding(
        f"The validation targets would choose {chosen} (KL {validation[chosen]:.3f}), the test's {best}; against the "
        "test they "
        f"lie {abs(test[chosen] - test[best]):.3f} nats apart.",
        "Choose by validation all the same: a choice by the test would flatter its own result.",
    )


def _ranking(report: Mapping[str, Any]) -> Finding | None:
    agreement = report["rank_agreement"]
    if not agreement:
        return None
    lowest, highest = extremes(agreement)
    a, b = lowest.split("|")
    what = (
        f"Of any two items, {a} and {b} agree in {percent(agreement[lowest])} of the cases which is trained on more "
        "often; "
        f"on average an item's rank differs by {report['rank_difference'][lowest]:,.1f} places "
        f"of {report['store']['items']:,}."
    )
    if lowest != highest:
        c, d = highest.split("|")
        what += f" {c} and {d} are the most alike ({percent(agreement[highest])})."
    return Finding(what, "50 % would be chance: the same interactions give very different ideas of what is popular.")


def _ratio(report: Mapping[str, Any]) -> Finding | None:
    ratios = {name: of["ratio"] for name, of in report["alignment_discrimination"].items() if of["ratio"] is not None}
    ratios = {name: ratio for name, ratio in ratios.items() if math.isfinite(ratio)}
    if not ratios:
        return None
    worst, best = extremes(ratios)
    what = (
        f"With {best}, a test history resembles training histories of its own target {ratios[best]:.1f} times as much "
    )
    what += "as those of others"
    what += "." if worst == best else f"; with {worst}, {ratios[worst]:.1f} times."
    return Finding(
        what, f"The higher, the more the histories give away about the target. Similarity: {report['similarity']}."
    )


def _histories(report: Mapping[str, Any]) -> Finding:
    means = {name: of["mean"] for name, of in report["history_length"].items()}
    tested = report["evaluation"]["history_length"]["test"]
    nearest = min(means, key=lambda name: abs(means[name] - tested))
    low, high = extremes(means)
    span = f"{means[low]:.1f} items ({low}) to {means[high]:.1f} ({high})" if low != high else f"{means[low]:.1f} items"
    return Finding(
        f"In the test a history has {tested:.1f} items on average; the mean training history has {span}.",
        f"{nearest} comes closest. A model that never saw histories as long as the test's must extrapolate.",
    )


def _positions(report: Mapping[str, Any]) -> Finding | None:
    last = {name: of["from_end"][0] for name, of in report["target_position"].items() if of["from_end"]}
    if not last:
        return None
    low, high = extremes(last)
    what = f"{high} takes {percent(last[high])} of its targets from the end of the training sequence"
    what += "." if low == high else f", {low} {percent(last[low])}."
    return Finding(what, "Late targets follow current taste, as the test does; early ones add variety and more items.")


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
        f"The least popular third of the items draws {percent(groups['test'][tail])} of the test's requests and "
        f"{spread} of the "
        f"training; the most popular third {percent(groups['test'][head])} of the requests.",
        "Rare items get few gradient steps; where training neglects them more than users do, recommendations narrow.",
    )


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _users(report: Mapping[str, Any]) -> Finding:
    heavy = {name: of["heaviest_10_percent"] for name, of in report["user_mass"].items()}
    low, high = extremes(heavy)
    users = report["user_mass"][high]["effective_users"]
    what = f"A tenth of the users fills {percent(heavy[high])} of the training pairs of {high}"
    what += "" if low == high else f", {percent(heavy[low])} of those of {low}"
    what += f"; {high} is worth {users:,.0f} equally weighted users of {report['store']['training_sequences']:,}."
    return Finding(what, "In the test every user counts once, so weight on few users trains for them first.")
