"""One thread reads ahead: the same items, never too many, and no thread left behind."""

from __future__ import annotations

import gc
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.support.errors import InputError
from torchrec_ext.prefetch import prefetch


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "waited for 10 s"
        time.sleep(0.001)


class Counted:
    """The numbers 0, 1, …, n - 1, and how many were read."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.read = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self.read == self.n:
            raise StopIteration
        self.read += 1
        return self.read - 1


@given(st.lists(st.none() | st.integers()), st.integers(1, 5))
def test_gives_the_items_of_the_source_in_order(items, depth):
    assert list(prefetch(items, depth)) == items
    assert not readers()


def test_reads_nothing_before_the_first_item_is_asked_for():
    source = Counted(5)
    ahead = prefetch(source)
    assert not readers()
    ahead.close()
    assert source.read == 0


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_is_as_many_items_ahead_as_it_may_and_never_more(depth):
    asked, distances = 0, []

    class Watched(Counted):
        def __next__(self) -> int:
            item = super().__next__()
            distances.append(self.read - asked)
            return item

    source = Watched(30)
    ahead = prefetch(source, depth)
    for number in range(source.n):
        asked += 1
        assert next(ahead) == number
        due = min(asked + depth, source.n)
        wait_until(lambda due=due: source.read >= due)
    assert max(distances) == depth
    assert list(ahead) == []


def test_reads_on_one_thread_that_is_not_the_callers():
    threads = list(prefetch(threading.current_thread() for _ in range(10)))
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread() and threads[0].daemon


def test_an_exception_comes_after_the_items_before_it_with_the_sources_traceback():
    def failing_source() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no third")

    ahead = prefetch(failing_source(), depth=3)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="no third") as caught:
        next(ahead)
    assert "failing_source" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not readers()
    assert list(ahead) == []


def test_an_exception_of_iter_is_raised_at_the_first_item():
    ahead = prefetch(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not iterable"):
        next(ahead)
    assert not readers()


def test_a_generator_closed_early_leaves_no_thread_and_reads_no_further():
    source = Counted(1000)
    with closing(prefetch(source, depth=2)) as ahead:
        assert next(ahead) == 0
        assert len(readers()) == 1
    assert not readers()
    assert source.read <= 3


def test_closing_waits_for_the_item_being_read():
    release = threading.Event()

    def slow() -> Iterator[int]:
        yield 0
        release.wait()
        yield 1

    ahead = prefetch(slow())
    assert next(ahead) == 0
    closer = threading.Thread(target=ahead.close)
    closer.start()
    assert readers()
    release.set()
    closer.join(10)
    assert not closer.is_alive() and not readers()


def test_a_forgotten_generator_leaves_no_thread():
    ahead = prefetch(Counted(1000))
    next(ahead)
    del ahead
    gc.collect()
    assert not readers()


def test_a_generator_that_dies_on_the_readers_thread_leaves_no_thread():
    forgotten, dead, died = [], threading.Event(), []

    def collecting() -> Iterator[int]:
        yield 0
        dead.wait(10)
        forgotten.pop().close()
        died.append(threading.current_thread().name)
        yield 1

    ahead = prefetch(collecting())
    assert next(ahead) == 0
    forgotten.append(ahead)
    del ahead
    dead.set()
    wait_until(lambda: bool(died) and not readers())
    assert died == ["prefetch"]


@pytest.mark.parametrize("depth", [0, -1, 1.5, "two"])
def test_a_depth_that_is_no_whole_number_from_one_on_is_refused_at_once(depth):
    with pytest.raises(InputError, match="depth"):
        prefetch([1], depth)


def test_the_batches_of_a_stream_are_those_without_the_thread(medium: SequenceStore):
    pytest.importorskip("torchrec")
    import torch

    from torchrec_ext.stream import GenPASStream

    def stream() -> GenPASStream:
        pairs = pair_stream(medium.leave_last_out().train, SamplingPolicy(1, 0, 0), seed=7, pairs_per_epoch=75)
        return GenPASStream(pairs, batch_size=16, max_length=4)

    trained = stream()
    for batch in prefetch(trained):
        alone = stream().batch(trained.epoch, trained.step)
        assert torch.equal(batch.features.values(), alone.features.values())
        assert torch.equal(batch.address, alone.address)
        trained.step_done()
    assert (trained.epoch, trained.step) == (1, 0)
