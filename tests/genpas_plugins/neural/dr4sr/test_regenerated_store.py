"""The regenerated store: originals untouched, added sequences train whole and are nowhere else, any strategy draws."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import mine_patterns
from genpas_plugins.neural.dr4sr.regenerated_store import regenerated_store
from genpas_plugins.sampling.stream import pair_stream


def written_for(store: SequenceStore, memories: int = 3) -> Regenerated:
    """For every sequence with a pair: its first two items twice, then its first item three times."""
    rows = np.flatnonzero(store.leave_last_out().train.lengths() >= 2)
    patterns = np.zeros((len(rows), memories, 5), np.int64)
    first, second = store.values[store.offsets[rows]], store.values[store.offsets[rows] + 1]
    patterns[:, :2, 0], patterns[:, :2, 1] = first[:, None], second[:, None]
    patterns[:, 2, :3] = first[:, None]
    return Regenerated(rows, patterns, np.zeros(patterns.shape[:2], np.bool_))


def regenerated(store: SequenceStore) -> SequenceStore:
    return regenerated_store(store, mine_patterns(store.leave_last_out().train), written_for(store))


@given(store=st.from_type(SequenceStore))
def test_validation_and_test_are_the_originals(store):
    new, old = regenerated(store).leave_last_out(), store.leave_last_out()
    for view, before in ((new.validation, old.validation), (new.test, old.test)):
        pairs, expected = view.last_pairs(), before.last_pairs()
        assert all(np.array_equal(a, b) for a, b in zip(pairs, expected, strict=True))
        assert np.array_equal(view.store.values[: store.n_interactions], store.values)


@given(store=st.from_type(SequenceStore))
def test_training_is_the_originals_training_items_and_all_that_was_added(store):
    new = regenerated(store)
    lengths = new.leave_last_out().train.lengths()
    n = store.n_sequences
    assert np.array_equal(lengths[:n], store.leave_last_out().train.lengths())
    assert np.array_equal(lengths[n:], new.lengths()[n:]) and (lengths[n:] >= 2).all()


def test_what_stands_where(store):
    new = regenerated(store)
    patterns = mine_patterns(store.leave_last_out().train)
    assert patterns.n == 1  # 2, 3 is in the first and in the fourth sequence
    # Of three written patterns two are the same.
    assert new.kinds().tolist() == [0] * 5 + [1] + [2] * 6
    assert new.owners().tolist() == [0, 1, 2, 3, 4, -1, 0, 0, 3, 3, 4, 4]
    added = [new.values[a:b].tolist() for a, b in zip(new.offsets[5:-1], new.offsets[6:], strict=True)]
    assert added == [[2, 3], [1, 2], [1, 1, 1], [2, 3], [2, 2, 2], [4, 4], [4, 4, 4]]
    assert new.n_items == store.n_items and new.user_ids is None
    assert new.columns["timestamp"][:18].tolist() == store.columns["timestamp"].tolist()
    assert not new.columns["timestamp"][18:].any()
    assert new.columns["timestamp"].dtype == store.columns["timestamp"].dtype


def test_a_sequence_without_items_is_an_original(store):
    assert regenerated(store).kinds()[2] == 0 and regenerated(store).owners()[2] == 2


def with_ids(ids: pa.Array) -> SequenceStore:
    values = [1, 2, 3, 4, 1, 2, 4, 3]
    return SequenceStore.from_arrays(values, [0, 4, 8], user_ids=ids, item_ids=["a", "b", "c", "d"])


def test_added_sequences_have_ids_of_their_own():
    text = regenerated(with_ids(pa.array(["u", "v"])))
    assert text.user_ids.to_pylist() == [
        "u", "v", "pattern:0", "regenerated:0:0", "regenerated:0:2", "regenerated:1:0", "regenerated:1:2",
    ]  # fmt: skip
    assert text.item_ids.to_pylist() == ["a", "b", "c", "d"]
    taken = regenerated(with_ids(pa.array(["pattern:0", "v"])))
    assert taken.user_ids.to_pylist()[:3] == ["pattern:0", "v", "_pattern:0"]
    numbers = regenerated(with_ids(pa.array([7, 3])))
    assert numbers.user_ids.to_pylist() == [7, 3, 8, 9, 10, 11, 12]
    assert numbers.user_rows([3]).tolist() == [1]


def test_it_is_a_store_like_any_other(tmp_path, store):
    regenerated(store).save(tmp_path / "new")
    again = SequenceStore.open(tmp_path / "new")
    assert again.kinds().tolist() == regenerated(store).kinds().tolist()
    assert again.leave_last_out().test.last_pairs().sequence.tolist() == store.view().last_pairs().sequence.tolist()


@pytest.mark.parametrize("strategy", ["last_target", "multi_target", "slide_window", "sampled"])
def test_every_strategy_draws_from_all_and_no_held_out_item(store, strategy):
    new = regenerated(store)
    train = new.leave_last_out().train
    policy = SamplingPolicy(0.5, 1.0, 0.0) if strategy == "sampled" else SamplingPolicy.named(strategy)
    stream = pair_stream(train, policy, seed=1, pairs_per_epoch=600 if strategy == "sampled" else None)
    pairs = stream.pairs(0, np.arange(stream.pairs_per_epoch))
    assert (pairs.target < train.lengths()[pairs.sequence]).all()
    assert set(new.kinds()[pairs.sequence].tolist()) == {0, 1, 2}
    assert set(pairs.sequence.tolist()) == set(np.flatnonzero(train.lengths() >= 2).tolist())


def test_a_store_without_added_sequences_has_users_sequences_alone(store):
    assert not store.has_train_only
    assert store.kinds().tolist() == [0] * 5
    assert store.owners().tolist() == [0, 1, 2, 3, 4]


def test_a_regenerated_store_is_not_regenerated_again(store):
    with pytest.raises(InputError, match="regenerated"):
        regenerated(regenerated(store))
