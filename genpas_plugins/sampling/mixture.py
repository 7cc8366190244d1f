"""Mixtures: each pair comes from one of several policies, which has a weight.

The distribution is the weighted sum of the policies' distributions. The examples of an epoch are dealt out in an even
pattern: any range of them has its share of each policy, give or take one. A policy's examples are the next ones of its
own stream. So example i of epoch e stays a pure function of (seed, e, i), and its place is found in O(1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.lengths import bounds
from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.batch import Batch
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.policy import Policy, shortest
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.sampling.random_stream import check_seed
from genpas_plugins.sampling.sampler import check_indices
from genpas_plugins.sampling.windows import TargetWindows, WindowStream
from genpas_plugins.support.array_types import Float64, Int64
from genpas_plugins.support.errors import InputError

MIXTURE = "mixture"
_SEED_STEP = 0x9E3779B97F4A7C15  # odd, so the seeds of 2⁶⁴ policies differ


@dataclass(frozen=True)
class Mixture:
    """A policy that is a weighted sum of policies; see `Policy` for its members.

    Parameters
    ----------
    weights : positive, of any sum
    policies : as many, each with exponents or a construction

    Examples
    --------
    >>> from genpas_plugins import SamplingPolicy
    >>> Mixture((3, 1), (SamplingPolicy.named("multi_target"), SamplingPolicy(1, 0, 0))).label
    '0.75 multi_target + 0.25 1,0,0'
    """

    weights: tuple[float, ...]
    policies: tuple[Policy, ...]

    strategy = MIXTURE
    construction = alpha = beta = gamma = None

    def __post_init__(self) -> None:
        """Check that each policy has a positive weight, and scale the weights to the sum 1."""
        if not self.policies or len(self.weights) != len(self.policies):
            raise InputError(f"A mixture of {len(self.policies)} policies needs as many weights and one at least.")
        if not all(0 < weight < np.inf for weight in self.weights):
            raise InputError(f"The weights of a mixture are finite numbers above 0, not {self.weights}.")
        total = sum(self.weights)
        object.__setattr__(self, "weights", tuple(float(weight / total) for weight in self.weights))

    @property
    def label(self) -> str:
        """The weights and labels of the policies."""
        return " + ".join(f"{shortest(round(w, 4))} {policy.label}" for w, policy in self.parts)

    @property
    def parts(self) -> list[tuple[float, Policy]]:
        """The policies with their weights, which add up to 1."""
        return list(zip(self.weights, self.policies, strict=True))

    @property
    def drawn(self) -> bool:
        """Whether a policy is drawn."""
        return any(policy.drawn for policy in self.policies)

    def sequence_mass(self, view: SequenceView) -> Float64:
        """Return the probability of the sequences of each length group, float64 [d]."""
        return np.asarray(sum(weight * policy.sequence_mass(view) for weight, policy in self.parts))

    def log_prob(self, view: SequenceView, pairs: Pairs) -> Float64:
        """Return ln p(s, k, j) of each pair, float64 [n]; -inf for a pair that is never drawn."""
        of_parts = [np.log(weight) + policy.log_prob(view, pairs) for weight, policy in self.parts]
        return np.asarray(np.logaddexp.reduce(of_parts))

    def expected_history_length(self, view: SequenceView, max_length: int | None = None) -> float:
        """Return the mean number of items in a history, exactly; histories are cut to `max_length` if given."""
        return sum(weight * policy.expected_history_length(view, max_length) for weight, policy in self.parts)

    def seed_of(self, seed: int, part: int) -> int:
        """Return the seed of a policy's stream; the first policy has the seed of the mixture."""
        return (check_seed(seed) + part * _SEED_STEP) % 2**64

    def sizes(self, size: int) -> list[int]:
        """Return how many of an epoch's examples each policy has. Raises InputError for a policy without one."""
        sizes = part_sizes(size, self.weights)
        for count, policy in zip(sizes, self.policies, strict=True):
            if count < 1:
                raise InputError(f"An epoch of {size} examples has none of {policy.label}. Raise its weight.")
        return sizes


class Dealt(NamedTuple):
    """Where examples come from."""

    part: Int64  # int64 [n], number of the policy
    place: Int64  # int64 [n], number of the example in the policy's stream


def deal(indices: Int64, weights: Sequence[float]) -> Dealt:
    """Return policy and place of the examples with these indices.

    Of the examples that earlier policies leave, number i goes to a policy with the share w if ⌊(i + 1) w⌋ > ⌊i w⌋.

    >>> deal(np.arange(8), [0.5, 0.25, 0.25]).part
    array([2, 0, 1, 0, 2, 0, 1, 0])
    """
    part = np.full(len(indices), len(weights) - 1)
    index = indices.copy()
    for k in range(len(weights) - 1):
        share = weights[k] / sum(weights[k:])
        before, after = (np.floor((index + step) * share).astype(np.int64) for step in (0, 1))
        left = part == len(weights) - 1
        taken = left & (after > before)
        part[taken] = k
        index = np.where(taken, before, np.where(left, index - before, index))
    return Dealt(part, index)


def part_sizes(size: int, weights: Sequence[float]) -> list[int]:
    """Return how many of the first `size` examples each policy has."""
    sizes = []
    for k in range(len(weights)):
        sizes.append(int(np.floor(size * (weights[k] / sum(weights[k:])))) if k < len(weights) - 1 else size)
        size -= sizes[-1]
    return sizes


def dealt_addresses(
    streams: Sequence[PairStream], weights: Sequence[float], epoch: int, indices: Int64
) -> tuple[Pairs, Pairs]:
    """Return pairs and histories of examples that are dealt out to streams; a short stream begins again."""
    dealt = deal(indices, weights)
    merged = np.zeros((2, 3, len(indices)), np.int64)
    for k, stream in enumerate(streams):
        mine = dealt.part == k
        if mine.any():
            merged[..., mine] = stream.addresses(epoch, dealt.place[mine] % stream.size)
    return Pairs(*merged[0]), Pairs(*merged[1])


class MixedPairs(PairStream):
    """The pairs of a mixture; `genpas_plugins.sampling.stream.pair_stream` makes one.

    Parameters
    ----------
    streams : of the policies, each with as many examples as `Mixture.sizes` has
    mixture : the policies
    pairs_per_epoch : examples an epoch
    """

    def __init__(self, streams: Sequence[PairStream], mixture: Mixture, pairs_per_epoch: int) -> None:
        self.streams, self.weights, self.pairs_per_epoch = list(streams), mixture.weights, pairs_per_epoch
        self.view, self.seed, self.backend = streams[0].view, streams[0].seed, streams[0].backend

    @property
    def draws(self) -> int:
        """How an epoch is drawn: as a drawn policy's, if there is one."""
        return max(stream.draws for stream in self.streams)

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch."""
        return self.addresses(epoch, indices)[0]

    def addresses(self, epoch: int, indices: ArrayLike) -> tuple[Pairs, Pairs]:
        """Return the pairs with these indices and their histories; see `PairStream`."""
        return dealt_addresses(self.streams, self.weights, epoch, check_indices(indices, self.size))


class MixedWindows:
    """The windows of a mixture; `genpas_plugins.sampling.stream.window_stream` makes one.

    The expected sum of the weights of an example is 1 under every policy. So to deal out examples is to mix losses. The
    targets of an epoch are `pairs_per_epoch` on average.

    Parameters
    ----------
    streams : of the policies, each with as many examples as `Mixture.sizes` has
    mixture : the policies
    pairs_per_epoch, targets_per_example, size : of all together
    """

    unit: Literal["windows"] = "windows"

    def __init__(
        self,
        streams: Sequence[WindowStream],
        mixture: Mixture,
        pairs_per_epoch: int,
        targets_per_example: float,
        size: int,
    ) -> None:
        self.streams, self.policy, self.size = list(streams), mixture, size
        self.pairs_per_epoch, self.targets_per_example = pairs_per_epoch, targets_per_example
        self.view, self.seed, self.backend = streams[0].view, streams[0].seed, streams[0].backend
        self.max_length = streams[0].max_length

    @property
    def draws(self) -> int:
        """How an epoch is drawn: as a drawn policy's, if there is one."""
        return max(stream.draws for stream in self.streams)

    def windows(self, epoch: int, indices: ArrayLike) -> TargetWindows:
        """Return the windows of the examples with these indices of the epoch."""
        dealt = deal(check_indices(indices, self.size), self.policy.weights)
        parts = []
        for k, stream in enumerate(self.streams):
            mine = np.flatnonzero(dealt.part == k)
            if len(mine):
                windows = stream.windows(epoch, dealt.place[mine] % stream.size)
                parts.append(windows._replace(example=mine[windows.example]))
        return _in_order(parts)

    def batch(self, epoch: int, indices: ArrayLike, max_length: int) -> Batch:
        """Return the windows with their trained targets; see `genpas_plugins.sampling.protocol.Stream`."""
        first = self.streams[0]
        first.check_max_length(max_length)
        return first.batch_of(self.windows(epoch, indices))


def _in_order(parts: Sequence[TargetWindows]) -> TargetWindows:
    """Return the windows of all parts by rising example."""
    order = np.argsort(np.concatenate([part.example for part in parts]), kind="stable")
    joined = [np.concatenate(columns) for columns in zip(*((*p.pairs, p.first, p.example) for p in parts), strict=True)]
    sequence, start, target, first, example = (column[order] for column in joined)
    count = joined[2] + 1 - joined[3]
    weights = np.concatenate([part.weights for part in parts])[spans(bounds(count)[:-1][order], count[order])]
    return TargetWindows(Pairs(sequence, start, target), first, weights, example)
