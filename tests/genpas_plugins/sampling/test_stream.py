"""One contract for every stream: pair i of epoch e depends on (seed, e, i) alone and touches training items only."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import (
    InputError,
    PairEnumeration,
    Pairs,
    PairSampler,
    SamplingPolicy,
    SequenceStore,
    gather_jagged,
    gather_padded,
    pair_stream,
)

INF = math.inf
POLICIES = [
    *(SamplingPolicy.named(strategy) for strategy in ("last_target", "multi_target", "slide_window")),
    *(SamplingPolicy(*e) for e in [(1, 0, 0), (-0.5, 2, 1.5), (INF, 0, -INF), (0, INF, INF), (-INF, -INF, 0)]),
]
seeds = st.integers(0, 2**64 - 1)
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.label)


def same(one: Pairs, other: Pairs) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype == np.int64 for a, b in zip(one, other, strict=True))


def at(pairs: Pairs, places) -> Pairs:
    return Pairs(*(address[places] for address in pairs))


@pytest.fixture
def view(medium):
    return medium.leave_last_out().train


@every_policy
class TestContract:
    EPOCH = 500

    def stream(self, view, policy, backend, seed=7, pairs_per_epoch=EPOCH):
        return pair_stream(view, policy, seed=seed, pairs_per_epoch=pairs_per_epoch, backend=backend)

    def whole(self, view, policy, backend, epoch=3, **options) -> Pairs:
        stream = self.stream(view, policy, backend, **options)
        return stream.pairs(epoch, np.arange(stream.pairs_per_epoch))

    def test_addresses_are_int64_and_inside_the_view(self, view, policy, backend):
        pairs = self.whole(view, policy, backend)
        assert all(address.dtype == np.int64 and address.shape == (self.EPOCH,) for address in pairs)
        assert (pairs.start >= 0).all()
        assert (pairs.start < pairs.target).all()
        assert (pairs.target < view.lengths(pairs.sequence)).all()

    def test_a_second_stream_gives_the_same(self, view, policy, backend):
        assert same(self.whole(view, policy, backend), self.whole(view, policy, backend))

    def test_both_backends_give_the_same(self, view, policy, backend):
        assert same(self.whole(view, policy, backend), self.whole(view, policy, "numpy"))

    @pytest.mark.parametrize("batch_size", [1, 7, 128, 499])
    def test_batches_do_not_matter(self, view, policy, backend, batch_size):
        whole, stream = self.whole(view, policy, backend), self.stream(view, policy, backend)
        for first in range(0, self.EPOCH, batch_size):
            indices = np.arange(first, min(first + batch_size, self.EPOCH))
            assert same(stream.pairs(3, indices), at(whole, indices))

    def test_the_order_of_asking_does_not_matter(self, view, policy, backend):
        whole, stream = self.whole(view, policy, backend), self.stream(view, policy, backend)
        indices = np.random.default_rng(0).integers(0, self.EPOCH, 300)  # some twice
        stream.pairs(9, [4])
        assert same(stream.pairs(3, indices), at(whole, indices))
        assert same(stream.pairs(3, indices[::-1]), at(whole, indices[::-1]))

    @pytest.mark.parametrize("world_size", [2, 3, 8])
    def test_the_slices_of_all_ranks_make_up_each_global_batch(self, view, policy, backend, world_size):
        whole = self.whole(view, policy, backend)
        ranks = [self.stream(view, policy, backend) for _ in range(world_size)]
        global_batch = 16 * world_size
        for first in range(0, self.EPOCH - global_batch + 1, global_batch):
            batch = np.arange(first, first + global_batch)
            parts = [stream.pairs(3, batch[rank::world_size]) for rank, stream in enumerate(ranks)]
            merged = Pairs(*(np.stack(addresses, axis=1).ravel() for addresses in zip(*parts, strict=True)))
            assert same(merged, at(whole, batch))

    def test_a_pickled_stream_goes_on_with_the_same(self, view, policy, backend):
        stream = self.stream(view, policy, backend)
        stream.pairs(0, [3, 4])
        copy = pickle.loads(pickle.dumps(stream))
        indices = np.arange(100, 200)
        assert same(copy.pairs(3, indices), stream.pairs(3, indices))

    def test_a_store_on_disk_gives_the_same_as_one_in_memory(self, medium, policy, backend, tmp_path):
        medium.save(tmp_path / "store")
        opened = SequenceStore.open(tmp_path / "store")
        expected = self.whole(medium.leave_last_out().train, policy, backend)
        assert same(self.whole(opened.leave_last_out().train, policy, backend), expected)
        again = pickle.loads(pickle.dumps(self.stream(opened.leave_last_out().train, policy, backend)))
        assert same(again.pairs(3, np.arange(self.EPOCH)), expected)

    def test_a_64_bit_order_gives_the_same(self, view, policy, backend):
        index = dataclasses.replace(view.index, order=view.index.order.astype(np.int64))
        assert view.index.order.dtype == np.int32
        wide = dataclasses.replace(view, index=index)
        assert same(self.whole(wide, policy, backend), self.whole(view, policy, backend))

    def test_epochs_and_seeds_differ(self, view, policy, backend):
        if len({*zip(*(a.tolist() for a in self.whole(view, policy, backend)), strict=True)}) == 1:
            pytest.skip("the policy has a single pair")
        first = self.whole(view, policy, backend)
        assert not same(self.whole(view, policy, backend, epoch=4), first)
        assert not same(self.whole(view, policy, backend, seed=8), first)
        assert not same(self.whole(view, policy, backend, seed=7 + (1 << 40)), first)

    @pytest.mark.parametrize("indices", [[-1], [EPOCH], [0, 10**18]], ids=str)
    def test_indices_outside_the_epoch_are_refused(self, view, policy, backend, indices):
        with pytest.raises(InputError, match="ndices"):
            self.stream(view, policy, backend).pairs(0, indices)

    def test_no_indices_give_no_pairs(self, view, policy, backend):
        assert same(self.stream(view, policy, backend).pairs(0, []), Pairs(*(np.zeros(0, np.int64),) * 3))

    def test_strided_and_narrow_indices_are_taken(self, view, policy, backend):
        whole, stream = self.whole(view, policy, backend), self.stream(view, policy, backend)
        assert same(stream.pairs(3, np.arange(100)[::3]), at(whole, slice(0, 100, 3)))
        assert same(stream.pairs(3, np.arange(100, dtype=np.uint8)), at(whole, slice(100)))
        assert same(stream.pairs(3, range(100)), at(whole, slice(100)))

    @pytest.mark.parametrize("epoch", [-1, 2**32, 1.0, "0"])
    def test_epochs_that_are_none_are_refused(self, view, policy, backend, epoch):
        with pytest.raises(InputError, match="epoch must be a whole number"):
            self.stream(view, policy, backend).pairs(epoch, [0])

    @pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None])
    def test_seeds_that_are_none_are_refused(self, view, policy, backend, seed):
        with pytest.raises(InputError, match="seed must be a whole number"):
            self.stream(view, policy, backend, seed=seed)

    def test_a_view_without_a_pair_is_refused(self, medium, policy, backend):
        with pytest.raises(InputError, match="No training pair: a pair needs two training items"):
            self.stream(medium.view(held_out=11), policy, backend)

    @pytest.mark.parametrize("held_out", [1, 2, 3])
    def test_no_pair_touches_a_held_out_item(self, medium, policy, backend, held_out):
        """Every held-out position holds the forbidden item 99."""
        values = medium.values.copy()
        for end in medium.offsets[1:]:
            values[end - held_out : end] = 99
        store = SequenceStore.from_arrays(values, medium.offsets)
        lengths = medium.lengths() - held_out
        for view in (store.view(held_out=held_out), store.view(lengths=lengths)):
            pairs = self.whole(view, policy, backend, pairs_per_epoch=3_000)
            assert (pairs.target < lengths[pairs.sequence]).all()
            batch = gather_padded(store.values, store.offsets, pairs, 50, backend=backend)
            assert 99 not in batch.history
            assert 99 not in batch.target
            assert 99 not in gather_jagged(store.values, store.offsets, pairs, 50, backend=backend).values

    def test_users_of_fewer_than_two_training_items_are_never_drawn(self, store, policy, backend):
        pairs = self.whole(store.leave_last_out().train, policy, backend)
        assert set(pairs.sequence.tolist()) <= {0, 3, 4}


# The same once more, for stores and policies that nobody thought of.


@given(
    store=st.from_type(SequenceStore),
    policy=st.from_type(SamplingPolicy),
    seed=seeds,
    epoch=st.integers(0, 2**20),
    length=st.one_of(st.none(), st.integers(1, 200)),
    data=st.data(),
)
def test_any_stream_is_a_function_of_seed_epoch_and_index(*, store, policy, seed, epoch, length, data):
    pytest.importorskip("numba")
    view = store.leave_last_out().train
    numpy_, numba = (
        pair_stream(view, policy, seed=seed, pairs_per_epoch=length, backend=name) for name in ("numpy", "numba")
    )
    whole = numpy_.pairs(epoch, np.arange(numpy_.pairs_per_epoch))
    assert same(numba.pairs(epoch, np.arange(numba.pairs_per_epoch)), whole)
    indices = np.array(data.draw(st.lists(st.integers(0, numpy_.pairs_per_epoch - 1), max_size=10)), dtype=np.int64)
    assert same(numpy_.pairs(epoch, indices), at(whole, indices))
    assert same(numba.pairs(epoch, indices), at(whole, indices))
    assert (whole.target < store.lengths()[whole.sequence] - 2).all()
    assert np.isfinite(policy.log_prob(view, whole)).all()


@given(store=st.from_type(SequenceStore), policy=st.from_type(SamplingPolicy), seed=seeds, data=st.data())
def test_any_stream_stays_inside_explicit_lengths(store, policy, seed, data):
    lengths = np.array([data.draw(st.integers(0, int(n))) for n in store.lengths()])
    view = store.view(lengths=lengths)
    if (lengths < 2).all():
        with pytest.raises(InputError, match="No training pair"):
            pair_stream(view, policy, seed=seed)
        return
    pairs = pair_stream(view, policy, seed=seed, pairs_per_epoch=300, backend="numpy").pairs(0, np.arange(300))
    assert (pairs.target < lengths[pairs.sequence]).all()
    assert (lengths[pairs.sequence] >= 2).all()


@pytest.mark.parametrize("policy", POLICIES[:3], ids=lambda policy: policy.label)
def test_the_length_of_an_epoch_does_not_change_the_passes_of_an_enumeration(view, policy, backend):
    short, long = (pair_stream(view, policy, seed=7, pairs_per_epoch=n, backend=backend) for n in (500, 1000))
    assert same(short.pairs(0, np.arange(500)), long.pairs(0, np.arange(500)))


@pytest.mark.parametrize("policy", POLICIES[:3], ids=lambda policy: policy.label)
@pytest.mark.parametrize("per_epoch", [1, 1_000_000])
def test_late_epochs_of_any_length_are_reached_at_once(view, policy, per_epoch, backend):
    stream = pair_stream(view, policy, seed=1, pairs_per_epoch=per_epoch, backend=backend)
    pairs = stream.pairs(10_000, [per_epoch - 1])
    assert pairs.target[0] < view.lengths(pairs.sequence)[0]


@pytest.mark.parametrize("policy", [POLICIES[1], POLICIES[3]], ids=lambda policy: policy.label)
@pytest.mark.parametrize("indices", [[0.5], ["0"], [[0, 1]], 3], ids=str)
def test_indices_are_one_row_of_integers(view, policy, indices, backend):
    with pytest.raises(InputError, match="ndices"):
        pair_stream(view, policy, seed=1, backend=backend).pairs(0, indices)


def test_the_policy_chooses_the_kind_of_stream(view):
    assert isinstance(pair_stream(view, SamplingPolicy(1, 0, -INF), seed=1), PairSampler)
    assert isinstance(pair_stream(view, SamplingPolicy.named("multi_target"), seed=1), PairEnumeration)
