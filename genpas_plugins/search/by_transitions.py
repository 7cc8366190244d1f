"""The search by the transition model: the point that ranks validation best, and how sure it beats multi_target.

One half of the users chooses the point. The other half measures its difference to multi_target, so the choice does not
flatter itself. If the interval of the difference includes 0, the search takes multi_target.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from genpas_plugins.analysis.paired_bootstrap import Difference, paired_bootstrap
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.search.transition_model import TransitionModel
from genpas_plugins.support.console import Tell

MULTI_TARGET = SamplingPolicy.named("multi_target")


class Predicted(NamedTuple):
    """A point and what the model makes of it."""

    policy: Policy
    ndcg: float  # mean NDCG@10 of the users that choose


class Verdict(NamedTuple):
    """The outcome of the search."""

    ranked: list[Predicted]  # all points and multi_target, best first
    difference: Difference  # of the first over multi_target, on the users that did not choose
    users: int  # users that the difference is of
    lead: Difference | None  # of the first over the second, on the same users; None with one point

    @property
    def sure(self) -> bool:
        """Whether the first is better than multi_target: the interval is above 0."""
        return self.difference.low > 0

    @property
    def chosen(self) -> Policy:
        """The first if it is surely better, else multi_target."""
        return self.ranked[0].policy if self.sure else MULTI_TARGET


def search_by_transitions(model: TransitionModel, points: Sequence[Policy], *, progress: Tell | None = None) -> Verdict:
    """Rank points and multi_target; of equal points the first of the list is first. A point may be a construction."""
    tell = progress or (lambda step, done, total: None)
    of_point: dict[Hashable, Policy] = {_exponents(policy): policy for policy in reversed(points)}
    of_point = {**of_point, _exponents(MULTI_TARGET): MULTI_TARGET}
    figures = {}
    for done, policy in enumerate(of_point.values()):
        tell("transition model", done, len(of_point))
        figures[policy] = model.ndcg(policy)
    tell("transition model", len(of_point), len(of_point))
    order = {_exponents(policy): number for number, policy in enumerate(points)}
    ranked = [Predicted(policy, float(values[::2].mean())) for policy, values in figures.items()]
    ranked.sort(key=lambda row: (-row.ndcg, order.get(_exponents(row.policy), -1)))
    first = figures[ranked[0].policy][1::2]
    over = paired_bootstrap(first - figures[MULTI_TARGET][1::2])
    lead = paired_bootstrap(first - figures[ranked[1].policy][1::2]) if len(ranked) > 1 else None
    return Verdict(ranked, over, len(first), lead)


def _exponents(policy: Policy) -> Hashable:
    """Return what equal points share: the exponents, of a construction its label."""
    return policy.label if policy.alpha is None else (policy.alpha, policy.beta, policy.gamma)
