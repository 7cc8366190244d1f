"""The torch stream gives the bits of the numpy one."""

from __future__ import annotations

import doctest
import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.augment import OPERATORS, augment_stream, operators_of
from genpas_plugins.sampling.permutation import permute as permute_numpy
from genpas_plugins.sampling.permutation import round_keys as round_keys_numpy
from genpas_plugins.sampling.random_stream import philox as philox_numpy
from genpas_plugins.sampling.random_stream import uniform as uniform_numpy
from genpas_plugins.sampling.stream import window_stream

torch = pytest.importorskip("torch")

from genpas_plugins.neural.device import device_stream, random_words  # noqa: E402
from genpas_plugins.neural.device.device_batch import order_by_length  # noqa: E402
from genpas_plugins.neural.device.device_stream import DeviceStream  # noqa: E402
from genpas_plugins.neural.device.random_words import Ahead, permute, philox, round_keys, uniform  # noqa: E402

EXPONENTS = (-math.inf, -1.5, 0.0, 0.7, 1.0, math.inf)
POLICIES = [
    *map(SamplingPolicy.named, ("last_target", "multi_target", "slide_window")),
    *(
        SamplingPolicy(a, b, c)
        for a, b, c in zip(EXPONENTS, EXPONENTS[2:] + EXPONENTS[:2], EXPONENTS[::-1], strict=True)
    ),
    SamplingPolicy(0.3, -0.6, 1.9),
]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return str(request.param)


def check_equal(stream, device: str, epoch: int, indices, max_length: int = 3) -> None:
    twin = DeviceStream.of(stream, device)
    if stream.unit == "pairs":
        check_tensors(twin.pairs(epoch, indices), stream.pairs(epoch, indices))
    else:
        expected, found = stream.windows(epoch, indices), twin.windows(epoch, indices)
        check_tensors([*found.pairs, *found[1:]], [*expected.pairs, expected.first, expected.example])
    batch = twin.batch(epoch, indices, max_length)
    if not len(indices):
        assert batch.sizes == (0, 0, 0, 1, ())
        return
    expected = stream.batch(epoch, indices, max_length)
    assert batch.n_examples == expected.n_examples
    (_, targets, width_items, width, groups), histories = batch.sizes, expected.histories
    assert (targets, width_items) == (len(expected.weights), histories.lengths.sum())
    assert width == min(max_length, -(-histories.lengths.max() // 8) * 8)
    check_tensors(batch.histories.jagged(width_items), histories.jagged())
    check_tensors(
        [batch.histories.padded(width), batch.histories.lengths, *batch.targets, batch.weights, batch.example],
        [histories.padded(width), histories.lengths, *expected.targets, expected.weights, expected.example],
    )
    check_groups(groups, histories.lengths, np.diff(expected.targets.offsets), max_length)
    sorted_lengths = histories.lengths[order_by_length(batch.histories.lengths, max_length).cpu().numpy()]
    ends = np.cumsum([group.size for group in groups])
    for part, group in zip(np.split(sorted_lengths, ends[:-1]), groups, strict=True):
        assert part.max() <= group.width < part.max() + 8


def check_groups(groups, lengths, targets, max_length: int) -> None:
    number = np.ceil(np.log2(np.maximum(lengths, 8) / 8))
    for group, at in zip(groups, np.unique(number), strict=True):
        longest = lengths[number == at].max()
        assert group == ((number == at).sum(), min(max_length, -(-longest // 8) * 8), targets[number == at].sum())


def check_tensors(tensors, arrays) -> None:
    for other, one in zip(tensors, arrays, strict=True):
        assert other.cpu().numpy().dtype == one.dtype
        assert np.array_equal(one, other.cpu().numpy())


@given(
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 2**32 - 1),
    block=st.integers(0, 2**32 - 1),
    indices=st.lists(st.integers(0, 2**61 - 1), min_size=1, max_size=20),
)
def test_words_and_uniform_numbers_are_those_of_numpy(seed, epoch, block, indices):
    words, expected = philox(seed, epoch, block, torch.tensor(indices)), philox_numpy(seed, epoch, block, indices)
    assert np.array_equal(torch.stack(words).numpy(), expected.astype(np.int64))
    assert np.array_equal(uniform(words[0], words[1]).numpy(), uniform_numpy(expected[0], expected[1]))


@given(st.data(), st.integers(1, 2**61), st.integers(0, 2**64 - 1), st.integers(0, 2**61))
def test_orders_are_those_of_numpy_with_one_key_or_a_key_for_each_element(data, n, seed, number):
    indices = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20)))
    keys = round_keys_numpy(seed, number)
    expected = permute_numpy(indices, n, keys)
    index = torch.from_numpy(indices)
    assert np.array_equal(permute(index, n, keys.tolist()).numpy(), expected)
    assert np.array_equal(permute(index, n, round_keys(seed, torch.full_like(index, number))).numpy(), expected)


@given(
    store=st.from_type(SequenceStore),
    policy=st.from_type(SamplingPolicy),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.none() | st.integers(1, 50), st.integers(1, 10)),
)
def test_examples_and_histories_are_those_of_the_core(store, policy, seed, epoch, sizes):
    view = store.leave_last_out().train
    pairs_per_epoch, max_length = sizes
    options = {"seed": seed, "pairs_per_epoch": pairs_per_epoch, "backend": "numpy"}
    for stream in (pair_stream(view, policy, **options), window_stream(view, policy, max_length=max_length, **options)):
        check_equal(stream, "cpu", epoch, np.arange(stream.size), max_length)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_every_strategy_on_every_device(medium: SequenceStore, policy, device):
    stream = pair_stream(medium.leave_last_out().train, policy, seed=2**63 + 11, pairs_per_epoch=2**61, backend="numpy")
    rng = np.random.default_rng(3)
    near, far = rng.integers(0, 5000, 500), rng.integers(2**32, 2**61, 500)
    check_equal(stream, device, 2, np.concatenate([near, far, [2**61 - 1]]), max_length=4)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_uneven_groups_and_long_sequences(policy, device):
    lengths = [3] * 1000 + [4] + [900, 901] + [100_000]
    store = SequenceStore.from_arrays(np.arange(sum(lengths)) % 997 + 1, np.cumsum([0, *lengths]))
    stream = pair_stream(store.view(held_out=1), policy, seed=5, backend="numpy")
    indices = np.random.default_rng(4).integers(0, stream.pairs_per_epoch, 3000)
    check_equal(stream, device, 1, indices, max_length=50)
    for max_length in (5, 50):
        windows = window_stream(store.view(held_out=1), policy, max_length=max_length, seed=5, backend="numba")
        check_equal(windows, device, 1, indices % windows.size, max_length)


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_the_compiled_backend_agrees_too(medium: SequenceStore, policy):
    stream = pair_stream(medium.leave_last_out().train, policy, seed=9, pairs_per_epoch=700, backend="numba")
    check_equal(stream, "cpu", 3, np.arange(700))


def test_consecutive_pairs_are_the_pairs_with_those_indices(medium: SequenceStore):
    twin = DeviceStream.of(pair_stream(medium.view(), SamplingPolicy(1, 0, 0), seed=1))
    batch, index = twin.consecutive(2, 10, 30, 5)
    assert index.tolist() == list(range(10, 30))
    pairs = twin.pairs(2, range(10, 30))
    assert torch.equal(batch.targets.rows, twin.offsets[pairs.sequence] + pairs.target)


def test_a_memory_mapped_store_is_shared_and_not_copied(medium: SequenceStore, tmp_path):
    medium.save(tmp_path / "store")
    opened = SequenceStore.open(tmp_path / "store")
    twin = DeviceStream.of(pair_stream(opened.view(), SamplingPolicy(1, 0, 0), seed=1))
    assert twin.values.data_ptr() == opened.values.ctypes.data
    check_equal(twin.stream, "cpu", 0, np.arange(20))


@pytest.mark.parametrize("indices", [[-1], [0, 10**9], [[0]], [0.5], [True]])
def test_bad_indices_are_refused(medium: SequenceStore, indices):
    twin = DeviceStream.of(pair_stream(medium.view(), SamplingPolicy(1, 0, 0), seed=1))
    with pytest.raises(InputError, match="Pair indices"):
        twin.pairs(0, indices)


def test_no_pairs_are_legal(medium: SequenceStore):
    for policy in POLICIES:
        stream = pair_stream(medium.view(), policy, seed=1)
        check_equal(stream, "cpu", 0, [])


def test_the_docstrings_example_runs():
    assert doctest.testmod(device_stream) == (0, 4)


def test_a_foreign_stream_is_refused():
    with pytest.raises(InputError, match="cannot be drawn on a device"):
        DeviceStream.of(object())


@given(n=st.integers(1, 200), seed=st.integers(0, 2**64 - 1))
def test_a_draw_ahead_is_the_order_or_says_that_it_is_unfinished(n, seed):
    ahead, keys, index = Ahead(), round_keys_numpy(seed, 0), np.arange(n)
    places = ahead.permute(torch.from_numpy(index), n, keys.tolist())
    assert any(map(bool, ahead.unfinished)) or np.array_equal(places.numpy(), permute_numpy(index, n, keys))
    assert int(places.max()) < n


CHANGED = [
    *([(name, rate, probability)] for name in OPERATORS for rate, probability in ((0.3, 1), (1, 0.5))),
    [("insert", 0.5, 1), ("crop", 0.4, 0.7), ("mask", 0.5, 1), ("reorder", 0.6, 0.5), ("mask", 0.9, 1)],
]


@pytest.mark.parametrize("operators", CHANGED, ids=lambda chosen: "+".join(name for name, *_ in chosen))
@pytest.mark.parametrize("max_length", [1, 7, 50])
def test_operators_change_the_histories_that_they_change_on_the_cpu(
    medium: SequenceStore, device, operators, max_length
):
    keys = [{"operator": name, "rate": rate, "probability": probability} for name, rate, probability in operators]
    pairs = pair_stream(medium.leave_last_out().train, SamplingPolicy(1, 0, -1), seed=5, backend="numpy")
    stream = augment_stream(pairs, operators_of(keys), with_rows=True)
    index = np.arange(stream.size)
    check_equal(stream, device, 2, index, max_length)
    column = np.arange(medium.n_interactions) * 1.5
    expected = stream.batch(2, index, max_length).histories.padded_column(column, max_length)
    found = DeviceStream.of(stream, device).batch(2, index, max_length).histories
    check_tensors([found.padded_column(torch.from_numpy(column).to(device), max_length)], [expected])


@pytest.mark.parametrize("cut", ["_RARE", "links"])
def test_a_batch_that_was_cut_short_is_drawn_again(medium: SequenceStore, monkeypatch, cut):
    stream = window_stream(medium.view(), SamplingPolicy(1, 0, 3), max_length=9, seed=3, pairs_per_epoch=77)
    twin = DeviceStream.of(stream)
    if cut == "links":
        twin = replace(twin, links=2)
    else:
        monkeypatch.setattr(random_words, "_RARE", math.inf)
    asked = Ahead()
    pieces = twin._pieces(0, torch.arange(stream.size), asked)
    assert any(map(bool, asked.unfinished)), "the draw was not cut short"
    assert int(pieces.windows.sum()) <= 77
    expected = stream.batch(0, np.arange(stream.size), 9)
    assert np.array_equal(twin.batch(0, range(stream.size), 9).targets.rows.numpy(), expected.targets.rows)
