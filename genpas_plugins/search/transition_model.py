"""A recommender in closed form, fitted under the exact distribution of a policy: what a policy is worth, in seconds.

Every item of a history votes for the next one by the cosine of both items under the policy:

    score(y | x) = Σ_d DECAY^d n(x_d, y) / √(n(x_d) n(y))
    n(i, y) = Σ_(s, k, j) p(s, k, j) Σ_d DECAY^d [item k - d - 1 of s is i, item k is y]

x_d is the item d steps from the end of a history; n(i) and n(y) are sums of n(i, y). The sums are over all pairs with
their probability: no pair is drawn, so a policy has one figure without noise. A policy changes only the weights; which
item follows which is found once.

Counts do not overfit, so they gain nothing from more different pairs, as a network does. The prediction adds the gain:
NDCG@10 · exp(entropy of the pairs)^OF_PAIRS. The cosine and OF_PAIRS are chosen on SASRec's trainings with 34 policies
on the 7-cores of Beauty and Toys (benchmarks/results/predictors).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from genpas_plugins.analysis.history_length import position_coefficients
from genpas_plugins.analysis.target_positions import TargetWeights, occurrences
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.mixture import Mixture
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.support.array_types import Float64, Int32, Int64
from genpas_plugins.support.errors import InputError

LENGTH, DECAY = 20, 0.7
"""Items of a history that count, and the weight of an item relative to the next one."""

OF_PAIRS = 0.025  # power of the effective number of pairs, exp(entropy)

K = 10
USERS = 5_000  # of the evaluation view at most, evenly spaced
INTERACTIONS = 1_000_000  # of the training view at most, of evenly spaced sequences


@dataclass(frozen=True, eq=False)
class TransitionModel:
    """The model of any policy on a training view, with figures on an evaluation view. `TransitionModel.of` makes it."""

    train: SequenceView
    position: Int64  # int64 [n], position of every possible target
    length: Int64  # int64 [n], length of its sequence
    entries: tuple[tuple[Int64, Int32], ...]  # by distance: targets with so long a history, their entries
    rows: Int64  # int64 [n_items + 2], bounds of the entries of each item
    columns: Int32  # int32 [entries], item that follows
    histories: Any  # csr_array [users, n_items + 1], weights of the evaluation histories
    seen: Any  # csr_array [users, n_items + 1], 1 for the items of the whole history
    targets: Int64  # int64 [users]; 0 for an item of the history

    @classmethod
    def of(cls, train: SequenceView, evaluation: SequenceView) -> TransitionModel:
        """Find which item follows which. Raises InputError if the training view has no pair."""
        train.require_content()
        train = _thinned(train)
        values, size = train.store.values, train.store.n_items + 1
        found = occurrences(train)
        target = values[found.place].astype(np.int64)
        deep = [np.flatnonzero(found.position > d) for d in range(LENGTH)]
        keys = [values[found.place[kept] - 1 - d].astype(np.int64) * size + target[kept] for d, kept in enumerate(deep)]
        known, entry = np.unique(np.concatenate(keys), return_inverse=True)
        parts = np.split(entry.astype(np.int32), np.cumsum([len(kept) for kept in deep])[:-1])
        rows = np.searchsorted(known, np.arange(size + 1) * size)
        columns = (known % size).astype(np.int32)
        entries = tuple(zip(deep, parts, strict=True))
        return cls(train, found.position, found.length, entries, rows, columns, *_evaluation(evaluation))

    def transitions(self, policy: Policy) -> Any:
        """Return the cosines of items and the items that follow, a csr_array `float64 [n_items + 1, n_items + 1]`.

        Row i, column y: the vote of item i for item y. Raises InputError for a construction whose histories end before
        the item ahead of their target.
        """
        from scipy import sparse

        joint = np.zeros(len(self.columns))
        for d, (weight, (_, entry)) in enumerate(zip(self._longer(policy), self.entries, strict=True)):
            joint += DECAY**d * np.bincount(entry, weight, len(joint))
        n_items = len(self.rows) - 1
        owner = np.repeat(np.arange(n_items), np.diff(self.rows))
        of_item, of_target = (np.sqrt(np.bincount(ids, joint, n_items)) for ids in (owner, self.columns))
        norm = of_item[owner] * of_target[self.columns]
        joint = np.divide(joint, norm, out=np.zeros_like(joint), where=norm > 0)
        return sparse.csr_array((joint, self.columns, self.rows), shape=(n_items, n_items))

    def entropy(self, policy: Policy) -> float:
        """Return the entropy of the pairs in nats, histories cut to LENGTH items.

        Equal pairs of two places count as two. Raises InputError as `transitions`.
        """
        from scipy.special import entr

        total, before = 0.0, None
        for weight, (kept, _) in zip(self._longer(policy), self.entries, strict=True):
            now = np.zeros(len(self.position))
            now[kept] = weight
            if before is not None:
                # The histories of exactly d items; the difference of equal numbers may be a rounding error below 0.
                total += float(entr(np.maximum(before - now, 0)).sum())
            before = now
        return total + float(entr(before).sum())

    def _longer(self, policy: Policy) -> Iterator[Float64]:
        """Yield, for d = 0 … LENGTH - 1, p(s, k) P(history of more than d items) of the targets in `entries`."""
        if isinstance(policy, SamplingPolicy):
            share = TargetWeights.of(self.train, policy).of_occurrences(self.length, self.position)
            longer = position_coefficients(self.train.max_length - 1, policy.gamma, np.tri(LENGTH + 1, LENGTH, -1))
            for d, (kept, _) in enumerate(self.entries):
                yield share[kept] * longer[self.position[kept], d]
            return
        if isinstance(policy, Mixture):
            for of_parts in zip(*map(self._longer, policy.policies), strict=True):
                yield np.asarray(
                    np.sum([w * longer for w, longer in zip(policy.weights, of_parts, strict=True)], axis=0)
                )
            return
        construction = policy.construction
        assert construction is not None
        if construction.ahead:
            raise InputError(f"{construction.name} has histories that no item follows; the search cannot rank it.")
        groups = self.train.groups
        mass = construction.sequence_mass(self.train) / groups.size / construction.total(groups.length)
        share = mass[np.searchsorted(groups.length, self.length)]
        for d, (kept, _) in enumerate(self.entries):
            yield share[kept] * construction.longer(self.length[kept], d + 1, self.position[kept])

    def ndcg(self, policy: Policy) -> Float64:
        """Return NDCG@K of every evaluation user under the policy, history masked, `float64 [users]`.

        Of items with equal scores the target has the middle place. A target that no item votes for has 0.
        """
        scores = self.histories @ self.transitions(policy)
        scores.sort_indices()
        n = len(self.targets)
        own = np.zeros(n)
        owner = np.repeat(np.arange(n), np.diff(scores.indptr))
        hit = scores.indices == self.targets[owner]
        own[owner[hit]] = scores.data[hit]
        before = _compared(owner, scores.data, own)
        masked = (scores * self.seen).tocsr()
        masked_owner = np.repeat(np.arange(n), np.diff(masked.indptr))
        before -= _compared(masked_owner, masked.data, own)
        rank = before + 0.5  # the target itself is half before itself
        return np.where((own > 0) & (rank < K + 1), 1 / np.log2(np.maximum(rank, 1) + 1), 0.0)


def _compared(owner: Int64, scores: Float64, own: Float64) -> Float64:
    """Return how many scores of each user are above its own one; equal ones count half."""
    above = np.bincount(owner, scores > own[owner], len(own))
    return above + np.bincount(owner, scores == own[owner], len(own)) / 2


def _thinned(view: SequenceView) -> SequenceView:
    """Return the view with evenly spaced sequences of about INTERACTIONS items in all."""
    lengths = view.lengths()
    total = int(lengths.sum())
    if total <= INTERACTIONS:
        return view
    share = INTERACTIONS / total
    number = np.floor(np.arange(1, len(lengths) + 1) * share)
    return view.store.view(lengths=np.where(np.diff(number, prepend=0) > 0, lengths, 0))


def _evaluation(view: SequenceView) -> tuple[Any, Any, Int64]:
    """Return weights of the histories, seen items and targets of USERS evenly spaced users."""
    from scipy import sparse

    store, pairs = view.store, view.last_pairs()
    n = len(pairs.target)
    chosen = np.unique(np.linspace(0, max(n - 1, 0), USERS).astype(np.int64))[:n]
    sequence, length = pairs.sequence[chosen], pairs.target[chosen]
    place = store.offsets[sequence] + length
    rows, distance = np.repeat(np.arange(len(length)), length), spans(0, length)
    items = store.values[place[rows] - 1 - distance].astype(np.int64)
    recent = distance < LENGTH
    shape = (len(length), store.n_items + 1)
    weights = sparse.csr_array((DECAY ** distance[recent], (rows[recent], items[recent])), shape=shape)
    seen = sparse.csr_array((np.ones(len(rows)), (rows, items)), shape=shape)
    seen.sum_duplicates()
    seen.data[:] = 1
    targets = store.values[place].astype(np.int64)
    # A masked target is in no list: nothing votes for item 0.
    repeated = np.isin(np.arange(len(length)) * shape[1] + targets, rows * shape[1] + items)
    return weights, seen, np.where(repeated, 0, targets)
