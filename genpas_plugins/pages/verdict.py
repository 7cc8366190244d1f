"""The verdict of a report: what to train on, the reason and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from genpas_plugins.data.sequences import Split
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.search.by_transitions import search_by_transitions
from genpas_plugins.search.procedures import by_counts, interval
from genpas_plugins.search.transition_model import TransitionModel

FEWEST_USERS = 40  # below it an interval over half of the users says nothing


class Sentences(NamedTuple):
    """The verdict in sentences: what to train on, why, and how sure that is."""

    choice: str
    why: str
    sure: str


def verdict_figures(split: Split, policies: Sequence[Policy], kl: Mapping[str, float]) -> dict[str, Any]:
    """Return the figures of the verdict.

    The transition model compares the policies with exponents, and multi_target always. With too few users, or without
    such a policy, the KL of the validation targets chooses.
    """
    points = [policy for policy in policies if isinstance(policy, SamplingPolicy)]
    model = TransitionModel.of(split.train, split.validation) if points else None
    if model is None or len(model.targets) < FEWEST_USERS:
        return {"by": "kl", "chosen": min(kl, key=lambda name: kl[name]), "kl": dict(kl)}
    found = search_by_transitions(model, points)
    return {
        "by": "transitions",
        "chosen": found.chosen.label,
        "predicted": {row.policy.label: row.predicted for row in found.ranked},
        "users": found.users,
        "over_multi_target": found.difference._asdict(),
        "counted": found.counted._asdict(),
        "over_second": None if found.lead is None else found.lead._asdict(),
        "not_compared": [policy.label for policy in policies if not isinstance(policy, SamplingPolicy)],
    }


def verdict(figures: Mapping[str, Any]) -> Sentences:
    """Write the sentences of `verdict_figures`."""
    chosen = figures["chosen"]
    if figures["by"] == "kl":
        return Sentences(
            f"Train on {chosen}.",
            f"Its training targets are the closest to the validation targets: KL {figures['kl'][chosen]:.3f} nats.",
            "This is a weak reason: KL looks at targets alone, not at histories. Train the best two to be sure.",
        )
    predicted, users = figures["predicted"], figures["users"]
    first, *others = predicted
    if first != chosen:
        why = (
            f"{first} has the best prediction (NDCG@10 {predicted[first]:.4f}, {chosen} {predicted[chosen]:.4f}), but "
            f"is not surely better: {interval(figures['over_multi_target'])} on {users:,} other users."
        )
        sure = f"Not sure: the interval includes 0. {chosen} is the default as long as nothing is surely better."
    else:
        why = f"It has the best prediction: NDCG@10 {predicted[chosen]:.4f}"
        why += f", {others[0]} {predicted[others[0]]:.4f}." if others else "."
        why += by_counts(figures)
        sure = "Only this policy was compared. Add others with --strategies and --point."
        if figures["over_second"] is not None:
            certain = "Sure by the prediction" if figures["over_second"]["low"] > 0 else "Not sure"
            sure = f"{certain}: {interval(figures['over_second'])} over {others[0]} on {users:,} other users."
    left = figures["not_compared"]
    sure += (
        " The prediction counts what follows what, and different pairs; a small SASRec on two data sets set its one "
    )
    sure += "constant. Train the best two to be sure."
    return Sentences(f"Train on {chosen}.", why, sure + (f" It has no figure for {', '.join(left)}." if left else ""))
