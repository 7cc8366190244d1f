from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SequenceStore

pytest.importorskip("sklearn")

from genpas_plugins.semantic_ids import collaborative
from genpas_plugins.semantic_ids.collaborative import cooccurrence_embeddings


def counted(store: SequenceStore, held_out: int, window: int) -> Counter[tuple[int, int]]:
    """Co-occurrences by plain loops over the definition."""
    counts: Counter[tuple[int, int]] = Counter()
    for start, end in zip(store.offsets[:-1].tolist(), store.offsets[1:].tolist(), strict=True):
        items = store.values[start : max(start, end - held_out)].tolist()
        for i in range(len(items)):
            for j in range(len(items)):
                if 0 < abs(i - j) <= window and items[i] != items[j]:
                    counts[items[i] - 1, items[j] - 1] += 1
    return counts


@given(store=st.from_type(SequenceStore), held_out=st.integers(0, 2), window=st.integers(1, 10))
def test_the_matrix_is_the_positive_information_of_the_counts(store: SequenceStore, held_out: int, window: int):
    counts = counted(store, held_out, window)
    found = collaborative._cooccurrences(store.view(held_out=held_out), window)
    dense = np.zeros((store.n_items, store.n_items))
    for (i, j), count in counts.items():
        dense[i, j] = count
    assert np.array_equal(found.toarray(), dense)
    sums = dense.sum(axis=1)
    information = np.zeros_like(dense)
    for i, j in counts:
        information[i, j] = max(0.0, math.log(dense[i, j] * dense.sum() / (sums[i] * sums[j])))
    assert np.allclose(collaborative._positive_information(found).toarray(), information, atol=1e-12)


def test_items_used_together_are_near_one_another():
    generator = np.random.default_rng(0)
    groups = generator.integers(4, size=300)  # 300 users, each with 8 of the 10 items of one of four groups
    values = np.concatenate([1 + 10 * group + generator.permutation(10)[:8] for group in groups])
    view = SequenceStore.from_arrays(values, np.arange(301) * 8, n_items=40).leave_last_out().train
    vectors = cooccurrence_embeddings(view, 8)
    assert (vectors.dtype, vectors.shape) == (np.float32, (40, 8))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    same = np.repeat(np.arange(4), 10)
    cosine = unit @ unit.T
    assert cosine[same[:, None] == same].min() > cosine[same[:, None] != same].max()


def test_held_out_items_do_not_show(store: SequenceStore):
    changed = SequenceStore.from_arrays(np.array(store.values), store.offsets, n_items=9)
    changed.values[store.offsets[1:4:2] - 1] = 9  # the test items of two users
    one, other = (cooccurrence_embeddings(s.leave_last_out().train) for s in (store, changed))
    assert np.array_equal(one, other)
    assert not np.array_equal(cooccurrence_embeddings(store.view()), cooccurrence_embeddings(changed.view()))


def test_no_more_dimensions_than_items_and_a_seed_decides(store: SequenceStore):
    view = store.leave_last_out().train
    assert cooccurrence_embeddings(view, 64).shape == (9, 9)
    assert np.array_equal(cooccurrence_embeddings(view, 3, seed=5), cooccurrence_embeddings(view, 3, seed=5))


def test_items_beside_no_other_get_directions_of_their_own(store: SequenceStore):
    view = store.leave_last_out().train
    vectors = cooccurrence_embeddings(view, 4)
    lost = sorted(set(range(9)) - {i for pair in counted(store, 2, 5) for i in pair})
    assert len(lost) > 1
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.allclose(lengths[lost], np.median(np.delete(lengths, lost)))
    assert len(np.unique(vectors[lost], axis=0)) == len(lost)


def test_without_any_pair_there_is_nothing_to_embed():
    with pytest.raises(InputError, match="No training pair"):
        cooccurrence_embeddings(SequenceStore.from_arrays([1, 2], [0, 1, 2]).view())
    alone = SequenceStore.from_arrays([1, 1, 2, 2], [0, 2, 4]).view()  # pairs, but of an item with itself
    assert np.isfinite(cooccurrence_embeddings(alone)).all()
