"""The wrappers give the batches of the stream."""

from __future__ import annotations

import importlib.util

import pytest
from torch.utils.data import IterDataPipe
from torch.utils.data.datapipes.iter import IterableWrapper

import torchrec_ext.pipes
from genpas_plugins import InputError, SamplingPolicy, SequenceStore, pair_stream
from torchrec_ext.pipes import genpas_node
from torchrec_ext.stream import GenPASStream


@pytest.fixture
def stream(medium: SequenceStore) -> GenPASStream:
    """Five steps an epoch."""
    pairs = pair_stream(medium.leave_last_out().train, SamplingPolicy(1, 0, 0), seed=7, pairs_per_epoch=75)
    return GenPASStream(pairs, batch_size=16, max_length=4, rank=1, world_size=2)


def content(batch) -> tuple:
    return batch.epoch, batch.address.tolist(), batch.features.values().tolist()


@pytest.mark.parametrize("as_tuples", [False, True])
def test_the_functional_form_gives_the_batches_of_the_addresses(stream, as_tuples):
    addresses = [(0, step) for step in range(5)] if as_tuples else list(stream.addresses())
    pipe = IterableWrapper(addresses).genpas(stream)
    assert isinstance(pipe, IterDataPipe)
    assert isinstance(pipe, torchrec_ext.pipes.GenPASPipe)
    expected = [content(stream.batch(0, step)) for step in range(5)]
    assert [content(batch) for batch in pipe] == expected
    assert [content(batch) for batch in pipe] == expected


@pytest.mark.skipif(importlib.util.find_spec("torchdata") is not None, reason="torchdata is installed")
def test_without_torchdata_a_node_is_refused(stream):
    with pytest.raises(InputError, match="torchdata is not installed"):
        genpas_node(stream)


def test_a_node_resumes_after_the_steps_done_whatever_was_prefetched(stream):
    nodes = pytest.importorskip("torchdata.nodes")
    expected = [content(stream.batch(epoch, step)) for epoch in range(2) for step in range(5)]
    loader = nodes.Loader(nodes.Prefetcher(genpas_node(stream), prefetch_factor=3))
    seen = []
    for batch in loader:
        seen.append(content(batch))
        stream.step_done()
        if len(seen) == 2:
            break
    other = GenPASStream(stream.stream, batch_size=16, max_length=4, rank=1, world_size=2)
    node = genpas_node(other)
    node.reset(genpas_node(stream).get_state())
    for batch in node:
        seen.append(content(batch))
        other.step_done()
    node.reset()
    assert seen + [content(batch) for batch in node] == expected
