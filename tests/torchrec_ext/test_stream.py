"""One global row of pairs, whoever trains it; a position that counts steps done."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, gather_jagged, pair_stream
from genpas_plugins.augment import OPERATORS as KINDS
from genpas_plugins.augment import augment_stream
from genpas_plugins.sampling.protocol import DRAWS, ENUMERATED
from torchrec_ext.stream import GenPASStream

POLICIES = [SamplingPolicy.named("multi_target"), SamplingPolicy(1, 0.5, -0.5)]


@pytest.fixture(params=POLICIES, ids=["enumerated", "sampled"])
def pairs(request, medium: SequenceStore):
    """A stream with 100 pairs an epoch."""
    return pair_stream(medium.leave_last_out().train, request.param, seed=7, pairs_per_epoch=100, backend="numpy")


def ranks(pairs, world_size: int, batch_size: int = 16, **options) -> list[GenPASStream]:
    return [
        GenPASStream(pairs, batch_size=batch_size, max_length=4, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


def content(batch) -> tuple:
    """Everything in a batch, as something that compares."""
    return (batch.epoch, batch.address.tolist(), batch.features.lengths().tolist(), batch.features.values().tolist())


def train(streams, steps: int, workers: int = 0) -> list[tuple[int, int]]:
    """Train so many steps on all ranks; return the (epoch, address) of every pair in global order.

    The loaders read ahead and are thrown away with what they have read, as when a job is killed.
    """
    seen: list[tuple[int, int]] = []
    while steps:
        for batches in zip(*(stream.loader(workers) for stream in streams), strict=True):
            for stream, batch in zip(streams, batches, strict=True):
                seen += [(batch.epoch, address) for address in batch.address.tolist()]
                stream.step_done()
            steps -= 1
            if not steps:
                break
    return seen


def test_a_batch_is_the_pairs_of_its_step(pairs):
    for stream in ranks(pairs, 3):
        first, last = stream.share(2)
        batch = stream.batch(1, 2)
        store = pairs.view.store
        expected = gather_jagged(store.values, store.offsets, pairs.pairs(1, np.arange(first, last)), 4)
        assert batch.address.tolist() == list(range(first, last))
        assert batch.epoch == 1
        assert batch.target.tolist() == expected.target.tolist()
        assert batch.history.values().tolist() == expected.values.tolist()
        assert batch.history.lengths().tolist() == np.diff(expected.offsets).tolist()


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_together_train_every_pair_of_every_step_once_and_in_order(pairs, world_size, drop_last):
    streams = ranks(pairs, world_size, drop_last=drop_last)
    assert {len(list(stream)) for stream in streams} == {len(streams[0])} == {6 if drop_last else 7}
    seen = train(ranks(pairs, world_size, drop_last=drop_last), 2 * len(streams[0]))
    assert seen == [(epoch, i) for epoch in (0, 1) for i in range(96 if drop_last else 100)]


def test_the_shares_of_ranks_differ_by_one_pair_at_most(pairs):
    for step in range(7):
        sizes = [last - first for first, last in (stream.share(step) for stream in ranks(pairs, 3))]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(pairs, workers):
    (plain,), (loaded,) = ranks(pairs, 1), ranks(pairs, 1)
    loader = loaded.loader(workers)
    for _ in range(2):
        assert [content(batch) for batch in loader] == [content(batch) for batch in plain]


def test_workers_of_a_plain_loader_continue_where_training_stands(pairs):
    (stream,) = ranks(pairs, 1)
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2)
    for epoch in range(2):
        batches = list(loader)
        assert [(batch.epoch, address) for batch in batches for address in batch.address.tolist()] == [
            (epoch, address) for address in range(100)
        ]
        for _ in batches:
            stream.step_done()


def test_each_iterator_is_fresh_and_an_epoch_further(pairs):
    (stream,) = ranks(pairs, 1)
    assert [[batch.epoch for batch in stream] for _ in range(3)] == [[epoch] * 7 for epoch in range(3)]


def test_an_epoch_given_up_is_not_finished_later(pairs):
    (stream,) = ranks(pairs, 1)
    next(iter(stream))
    stream.step_done()
    assert [batch.epoch for batch in stream] == [1] * 7
    assert stream.state_dict()["step"] == 0


def test_the_position_counts_steps_done_and_not_batches_read(pairs):
    (stream,) = ranks(pairs, 1)
    iterator = iter(stream)
    for _ in range(5):
        next(iterator)
    stream.step_done()
    stream.step_done()
    assert stream.state_dict() == {
        "seed": 7, "pairs_per_epoch": 100, "global_batch_size": 16, "drop_last": 0, "draws": pairs.draws, "epoch": 0,
        "step": 2,
    }  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_job_that_changes_its_number_of_ranks_trains_the_same_row_of_pairs(pairs, workers):
    expected = train(ranks(pairs, 1), 20)
    seen, state = [], None
    # Within an epoch, at its very end (7 + 7 steps are two epochs), and over one.
    for world_size, steps in ((2, 5), (1, 9), (3, 4), (4, 2)):
        streams = ranks(pairs, world_size)
        for stream in streams:
            if state is not None:
                stream.load_state_dict(state)
        seen += train(streams, steps, workers)
        states = [stream.state_dict() for stream in streams]
        assert all(other == states[0] for other in states)
        state = {name: torch.tensor(value) for name, value in states[0].items()}  # as a checkpoint gives them back
    assert seen == expected
    assert len(set(seen)) == len(seen)


def test_a_state_can_be_loaded_while_an_epoch_runs(pairs):
    (stream,) = ranks(pairs, 1)
    before = [content(batch) for batch in stream]
    stream.load_state_dict({**stream.state_dict(), "epoch": 0, "step": 3})
    assert [content(batch) for batch in stream] == before[3:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "seed 8, not 7"),
        ({"global_batch_size": 32}, "global_batch_size 32, not 16"),
        ({"pairs_per_epoch": 99, "drop_last": 1}, "pairs_per_epoch 99, not 100; drop_last 1, not 0"),
        ({"step": 7}, "step must be a whole number from 0 to 6"),
        ({"epoch": -1}, "epoch must be"),
    ],
)
def test_the_state_of_another_stream_is_refused(pairs, change, message):
    (stream,) = ranks(pairs, 1)
    with pytest.raises(InputError, match=message):
        stream.load_state_dict({**stream.state_dict(), **change})
    assert stream.state_dict()["step"] == 0


def test_a_state_that_lacks_something_is_refused(pairs):
    (stream,) = ranks(pairs, 1)
    with pytest.raises(InputError, match="lacks pairs_per_epoch, global_batch_size, drop_last, step"):
        stream.load_state_dict({"seed": 7, "epoch": 0, "draws": DRAWS})


def test_a_sampled_state_of_other_draws_is_refused_and_an_enumerated_one_is_taken(pairs):
    (stream,) = ranks(pairs, 1)
    old = {name: value for name, value in stream.state_dict().items() if name != "draws"}
    for state in (old, {**old, "draws": 1}):
        if pairs.draws != ENUMERATED:
            with pytest.raises(InputError, match=rf"under draws 1, but .* under draws {DRAWS}\. Train anew"):
                stream.load_state_dict(state)
        else:
            stream.load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 3, "rank": 0, "world_size": 4}, "too few for 4 ranks"),
        ({"batch_size": 33, "rank": 0, "world_size": 2}, "last step of an epoch has 1 pairs for 2 ranks"),
        ({"batch_size": 101, "drop_last": True}, "drop_last leaves no step"),
        ({"rank": 2, "world_size": 2}, "rank must be a whole number from 0 to 1"),
        ({"rank": 2}, "Give rank and world_size"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"max_length": 0}, "max_length must be"),
    ],
)
def test_bad_arguments_are_refused(pairs, arguments, message):
    with pytest.raises(InputError, match=message):
        GenPASStream(pairs, **{"batch_size": 16, "max_length": 4, **arguments})


def test_persistent_workers_are_refused(pairs):
    with pytest.raises(InputError, match="persistent_workers"):
        ranks(pairs, 1)[0].loader(2, persistent_workers=True)


def test_the_rank_is_that_of_the_process_group(pairs):
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        stream = GenPASStream(pairs, batch_size=16, max_length=4)
    finally:
        torch.distributed.destroy_process_group()
    assert (stream.rank, stream.world_size) == (0, 1)


def test_a_stream_survives_pickling(pairs):
    (stream,) = ranks(pairs, 1)
    stream.step_done()
    copy = pickle.loads(pickle.dumps(stream))
    assert [content(batch) for batch in copy] == [content(batch) for batch in stream]


OPERATORS = (KINDS["insert"](0.5, 0.7), KINDS["reorder"](1.0), KINDS["mask"](0.3), KINDS["substitute"](0.5))


@pytest.mark.parametrize("world_size", [1, 3])
def test_augmented_batches_are_the_cores_on_any_number_of_ranks(pairs, world_size: int):
    stream = augment_stream(pairs, OPERATORS)
    index = np.arange(100)
    drawn = pairs.pairs(1, index)
    expected = stream.histories(1, index, drawn, 4)
    plain = GenPASStream(pairs, batch_size=16, max_length=4)
    batches = [rank.batch(1, step) for step in range(6) for rank in ranks(stream, world_size, drop_last=True)]
    seen = [item for batch in batches for item in batch.history.values().tolist()]
    assert seen == expected.items[: len(seen)].tolist()
    assert [n for batch in batches for n in batch.history.lengths().tolist()] == expected.lengths[:96].tolist()
    targets = [target for batch in batches for target in batch.target.tolist()]
    assert targets == [target for step in range(6) for target in plain.batch(1, step).target.tolist()]
    assert seen != [item for step in range(6) for item in plain.batch(1, step).history.values().tolist()]


def test_workers_augment_as_no_workers_do(pairs):
    contents = []
    for workers in (0, 2):
        stream = GenPASStream(augment_stream(pairs, OPERATORS), batch_size=16, max_length=4)
        contents.append([content(batch) for batch in stream.loader(workers)])
    assert contents[0] == contents[1]
