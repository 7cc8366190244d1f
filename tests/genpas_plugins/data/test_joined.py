"""A joined array is indexed as the concatenation of its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins.data.joined import JoinedArray


@st.composite
def keys(draw: st.DrawFn, n: int) -> Any:
    number = st.integers(-n, n - 1) if n else st.nothing()
    kinds = [st.slices(n + 2), st.lists(st.booleans(), min_size=n, max_size=n).map(lambda x: np.array(x, bool))]
    kinds += [number, st.lists(number, max_size=12).map(lambda x: np.array(x, np.int64).reshape(-1, 1))] if n else []
    return draw(st.one_of(kinds))


@given(data=st.data(), sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5), tail=st.sampled_from([(), (2,)]))
def test_an_index_gives_what_it_gives_of_one_array(data: st.DataObject, sizes: list[int], tail: tuple[int, ...]):
    whole = np.arange(sum(sizes) * int(np.prod(tail)), dtype=np.int32).reshape(-1, *tail)
    joined = JoinedArray(np.split(whole, np.cumsum(sizes)[:-1]))
    key = data.draw(keys(sum(sizes)))
    found = joined[key]
    np.testing.assert_array_equal(found, whole[key])
    assert found.dtype == whole.dtype
    np.testing.assert_array_equal(np.asarray(joined), whole)
    for name in ("shape", "ndim", "size", "itemsize", "nbytes"):
        assert getattr(joined, name) == getattr(whole, name)


def test_a_row_outside_and_arrays_of_two_types_are_refused():
    joined = JoinedArray([np.arange(3), np.arange(2)])
    for key in (5, np.array([0, -6]), np.ones(4, bool)):
        with pytest.raises(IndexError):
            joined[key]
    with pytest.raises(ValueError, match="several types"):
        JoinedArray([np.arange(3), np.arange(2.0)])


def test_a_stretch_of_one_array_is_no_copy():
    first = np.arange(3)
    assert np.shares_memory(JoinedArray([first, np.arange(4)])[1:3], first)
