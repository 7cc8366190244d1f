"""The pairs of a policy whose targets an earlier training did not have, in proportion to the policy.

With n(s) the items of a sequence that were read before, a pair has the policy's probability given that k > n(s):

    sequence   p'(s)     ∝ p(s) Σ_{k > n(s)} p(k | s)
    target     p'(k | s) ∝ p(k | s),  k ∈ {max(2, n(s) + 1) … |s|}
    start      p(j | k)

An epoch is drawn by evenly spaced points, as in `sampler`: each sequence and target comes as often as expected, give or
take one. So an epoch of `n_targets` pairs of multi-target has each new target once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import PAIR_ITEMS, Pairs, SequenceView
from genpas_plugins.sampling.backend import choose_backend
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.permutation import binary_halves, permute
from genpas_plugins.sampling.policy import BELOW_ONE, Policy, PowerTable, SamplingPolicy, mean_history_length
from genpas_plugins.sampling.protocol import DRAWS, PairStream
from genpas_plugins.sampling.random_stream import check_epoch, check_seed, epoch_words, keyed_uniform, philox, uniform
from genpas_plugins.sampling.sampler import check_indices, check_pairs_per_epoch, choose, counted
from genpas_plugins.support.array_types import Float64, Int64
from genpas_plugins.support.errors import InputError

_SEQUENCES = 1 << 16


class NewTargets(PairStream):
    """An addressable stream of pairs with new targets.

    Parameters
    ----------
    view : the sequences
    policy : exponents, or a strategy that has them
    known : int64 [n_sequences], how many items of each sequence were read before
    seed : int in [0, 2⁶⁴)
    pairs_per_epoch : length of an epoch; None: `n_targets`

    Raises
    ------
    InputError
        If no target is new, the policy draws none of the new ones, or it has no exponents.
    """

    def __init__(
        self, view: SequenceView, policy: Policy, known: Int64, *, seed: int, pairs_per_epoch: int | None = None
    ) -> None:
        if not isinstance(policy, SamplingPolicy):
            raise InputError(f"New targets alone are drawn from exponents, which strategy {policy.label} has not.")
        lengths = view.lengths()
        rows = np.flatnonzero((lengths >= PAIR_ITEMS) & (lengths > known))
        if not len(rows):
            raise InputError("No sequence has a new target. Train on data that have grown.")
        self.view, self.policy, self.seed, self.backend = view, policy, check_seed(seed), choose_backend(None)
        self.rows, self.last = rows, lengths[rows] - 1
        self.first = np.maximum(known[rows], 1)
        longest = int(self.last.max())
        self.target, self.start = (PowerTable.of(power, longest) for power in (policy.beta, policy.gamma))
        weight = policy.sequence_weight(lengths[rows]) * self._share(self.first, self.last)
        if not weight.sum():
            raise InputError(f"{policy.label} draws none of the {self.n_targets:,} new targets. Use other exponents.")
        self.mass: Float64 = weight / weight.sum()
        total = self._total(self.first, self.last)
        # What a power of the target is multiplied by.
        self.density = np.divide(self.mass, total, out=np.zeros_like(total), where=self.mass > 0)
        self.pairs_per_epoch = self.n_targets if pairs_per_epoch is None else check_pairs_per_epoch(pairs_per_epoch)
        ends = np.cumsum(weight)
        # As in `DrawTables`: the last sequence with mass must catch every point.
        self.ends = np.where(ends == ends[-1], self.pairs_per_epoch, ends * (self.pairs_per_epoch / ends[-1]))

    @property
    def n_targets(self) -> int:
        """Number of new targets."""
        return int((self.last - self.first + 1).sum())

    @property
    def draws(self) -> int:
        """How an epoch is drawn: by evenly spaced points."""
        return DRAWS

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch: int64 [n], each in [0, pairs_per_epoch)."""
        index, size = check_indices(indices, self.pairs_per_epoch), self.pairs_per_epoch
        words = epoch_words(self.seed, check_epoch(epoch), max(0, 53 - size.bit_length()))
        place = permute(index, size, words.order, binary_halves(size))
        point = np.minimum(place + words.offset, math.nextafter(size, 0))
        of = np.searchsorted(self.ends, point, side="right").astype(np.int64)
        begin = np.where(of > 0, self.ends[of - 1], 0.0)
        visit, visits = counted(place, begin, self.ends[of], words.offset)
        quantile = visit + keyed_uniform(of, words.key)
        quantile = np.where(quantile < visit + 1, quantile, visit)
        target = self._target(self.first[of], self.last[of], quantile / visits)
        word = philox(self.seed, epoch, 0, index)
        return Pairs(self.rows[of], choose(self.start, target, uniform(word[0], word[1]), 1) - 1, target)

    def target_distribution(self) -> Float64:
        """Return the probability that an item is a target, exactly, float64 [n_items + 1]."""
        store = self.view.store
        mass = np.zeros(store.n_items + 1)
        for begin in range(0, len(self.rows), _SEQUENCES):
            part = slice(begin, begin + _SEQUENCES)
            first, last = (self.last if self.target.last else self.first)[part], self.last[part]
            counts = last - first + 1
            target = spans(first, counts)
            weight = np.repeat(self.density[part], counts) * self.target.powers[target - 1]
            items = store.values[np.repeat(store.offsets[self.rows[part]], counts) + target]
            mass += np.bincount(items, weight, minlength=len(mass))
        return mass

    def expected_history_length(self, max_length: int | None = None) -> float:
        """Return the mean number of items in a history, exactly; histories are cut to `max_length` if given."""
        by_target = mean_history_length(len(self.target.powers), self.policy.gamma, max_length)
        if self.target.last:
            return float(self.mass @ by_target[self.last - 1])
        sums = np.concatenate([[0.0], np.cumsum(self.target.powers * by_target)])
        return float(self.density @ (sums[self.last] - sums[self.first - 1]))

    def _total(self, first: Int64, last: Int64) -> Float64:
        """Return Σ i^β of the targets first … last; for β = ∞ every power is 1, and the last target counts alone."""
        cumulative = self.target.cumulative
        return np.asarray(np.ones(len(last)) if self.target.last else cumulative[last] - cumulative[first - 1])

    def _share(self, first: Int64, last: Int64) -> Float64:
        """Return the policy's probability that the target of a sequence is new."""
        return np.asarray(self._total(first, last) / self._total(np.ones_like(last), last))

    def _target(self, first: Int64, last: Int64, u: Float64) -> Int64:
        """Choose from {first … last} by inversion of u in [0, 1)."""
        if self.target.last:
            return last
        cumulative = self.target.cumulative
        point = np.minimum(cumulative[first - 1] + u * self._total(first, last), cumulative[last] * BELOW_ONE)
        return np.clip(np.searchsorted(cumulative, point, side="right"), first, last)
