"""The search by the transition model: the point with the best prediction, and how sure it beats multi_target.

One half of the users chooses the point. The other half measures its difference to multi_target, so the choice does not
flatter itself. If the interval of the difference includes 0, the search takes multi_target. The interval has the chance
of the users alone, not the doubt about OF_PAIRS.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from genpas_plugins.analysis.paired_bootstrap import Difference, paired_bootstrap
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.search.transition_model import OF_PAIRS, TransitionModel
from genpas_plugins.support.console import Tell

MULTI_TARGET = SamplingPolicy.named("multi_target")


class Predicted(NamedTuple):
    """A point and what the model makes of it."""

    policy: Policy
    predicted: float  # ndcg · pairs^OF_PAIRS
    ndcg: float  # mean NDCG@10 of the users that choose
    pairs: float  # effective number of pairs, exp(entropy), relative to multi_target's


class Verdict(NamedTuple):
    """The outcome of the search."""

    ranked: list[Predicted]  # all points and multi_target, best first
    difference: Difference  # of the first over multi_target, predicted, on the users that did not choose
    counted: Difference  # the same of NDCG@10 alone, without the effective number of pairs
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
    entropy = model.entropy(MULTI_TARGET)
    figures, ranked = {}, []
    for done, policy in enumerate(of_point.values()):
        tell("transition model", done, len(of_point))
        ndcg, pairs = model.ndcg(policy), math.exp(model.entropy(policy) - entropy)
        figures[policy] = ndcg, ndcg * pairs**OF_PAIRS
        counted, predicted = (float(values[::2].mean()) for values in figures[policy])
        ranked.append(Predicted(policy, predicted, counted, pairs))
    tell("transition model", len(of_point), len(of_point))
    order = {_exponents(policy): number for number, policy in enumerate(points)}
    ranked.sort(key=lambda row: (-row.predicted, order.get(_exponents(row.policy), -1)))

    def difference(one: Policy, other: Policy) -> tuple[Difference, Difference]:
        counted, predicted = (a[1::2] - b[1::2] for a, b in zip(figures[one], figures[other], strict=True))
        return paired_bootstrap(predicted), paired_bootstrap(counted)

    first = ranked[0].policy
    lead = difference(first, ranked[1].policy)[0] if len(ranked) > 1 else None
    return Verdict(ranked, *difference(first, MULTI_TARGET), len(figures[first][0]) // 2, lead)


def _exponents(policy: Policy) -> Hashable:
    """Return what equal points share: the exponents, of a construction its label."""
    return policy.label if policy.alpha is None else (policy.alpha, policy.beta, policy.gamma)
