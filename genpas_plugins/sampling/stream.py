"""One way to a stream of pairs, whichever strategy the policy names."""

from __future__ import annotations

from typing import Protocol

from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.enumeration import PairEnumeration
from genpas_plugins.sampling.policy import SAMPLED, SamplingPolicy
from genpas_plugins.sampling.sampler import PairSampler
from genpas_plugins.support.errors import InputError


class PairStream(Protocol):
    """An endless stream of training pairs in which any pair is reached in O(1)."""

    view: SequenceView
    seed: int
    backend: str
    pairs_per_epoch: int

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch: a pure function of (seed, epoch, index)."""


def pair_stream(
    view: SequenceView,
    policy: SamplingPolicy,
    *,
    seed: int,
    pairs_per_epoch: int | None = None,
    backend: str | None = None,
) -> PairStream:
    """Return the stream of `policy` over `view`: a `PairEnumeration` for an enumerated strategy, else a `PairSampler`.

    >>> from genpas_plugins import SamplingPolicy, SequenceStore
    >>> store = SequenceStore.from_arrays([1, 2, 3, 4, 5], [0, 5])
    >>> stream = pair_stream(store.leave_last_out().train, SamplingPolicy.named("multi_target"), seed=7)
    >>> sorted(stream.pairs(epoch=0, indices=[0, 1]).target.tolist())
    [1, 2]
    """
    if not isinstance(view, SequenceView):
        raise InputError(
            f"pair_stream draws from a view, such as store.leave_last_out().train, not {type(view).__name__}."
        )
    if not isinstance(policy, SamplingPolicy):
        raise InputError(
            f"policy must be a SamplingPolicy, such as SamplingPolicy.named('multi_target'), not {policy!r}."
        )
    if policy.strategy == SAMPLED:
        return PairSampler(view, policy, seed, pairs_per_epoch, backend)
    return PairEnumeration(view, policy.strategy, seed, pairs_per_epoch, backend)
