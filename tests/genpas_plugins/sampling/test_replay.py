"""A stream with replayed examples: its share, its addresses, and what each part draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.sampling.mixture import part_sizes
from genpas_plugins.sampling.replay import ReplayStream

STORE = SequenceStore.from_arrays(np.arange(1, 41), np.arange(0, 41, 5))
OLD = STORE.view(lengths=[3] * 8)
NEW = STORE.view(lengths=[5] * 4 + [0] * 4)


def mixed(share: float, n: int) -> ReplayStream:
    n_old, n_new = part_sizes(n, (share, 1 - share))
    policy = SamplingPolicy(1, 0, 0)
    new = pair_stream(NEW, policy, seed=3, pairs_per_epoch=max(1, n_new))
    return ReplayStream(new, pair_stream(OLD, policy, seed=3, pairs_per_epoch=max(1, n_old)), share, n)


@given(share=st.floats(0.01, 0.99), n=st.integers(1, 80), cut=st.data())
def test_any_part_of_an_epoch_is_the_same_and_the_share_is_exact(share: float, n: int, cut: st.DataObject):
    stream = mixed(share, n)
    whole = np.stack(stream.pairs(2, np.arange(n)))
    some = cut.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=9))
    assert np.array_equal(np.stack(stream.pairs(2, some)), whole[:, some])
    n_old = int(n * share)
    parts = {"old": stream.old.pairs(2, np.arange(max(1, n_old))), "new": stream.new.pairs(2, np.arange(n - n_old))}
    expected = [*zip(*(part.tolist() for part in parts["new"]), strict=True)]
    expected += [*zip(*(part.tolist() for part in parts["old"]), strict=True)][:n_old]
    assert sorted(map(tuple, whole.T.tolist())) == sorted(expected)


@pytest.mark.parametrize("indices", [[-1], [10]])
def test_an_index_outside_the_epoch_is_refused(indices: list[int]):
    with pytest.raises(InputError, match="Pair indices run from 0 to 9"):
        mixed(0.5, 10).pairs(0, indices)
    assert len(mixed(0.5, 10).pairs(0, []).target) == 0
