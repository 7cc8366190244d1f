"""Pair tables: whatever the piece size, the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.sampling import pairs_table
from genpas_plugins.sampling.protocol import PairStream


@pytest.fixture
def stream(medium: SequenceStore) -> PairStream:
    return pair_stream(medium.leave_last_out().train, SamplingPolicy(1, 0, 0), seed=3)


@pytest.mark.parametrize(("addresses", "items"), [(1, 1), (7, 5), (64, 3), (1000, 40)])
def test_rows_do_not_depend_on_the_size_of_the_pieces(
    stream: PairStream, monkeypatch: pytest.MonkeyPatch, addresses: int, items: int
):
    def rows() -> pa.Table:
        return pa.concat_tables(pairs_table.pair_tables(stream, epoch=1, first=10, count=100))

    whole = rows()
    monkeypatch.setattr(pairs_table, "_ADDRESSES", addresses)
    monkeypatch.setattr(pairs_table, "_ITEMS", items)
    assert rows().equals(whole)
    longest_history = 9
    pieces = pairs_table.pair_tables(stream, epoch=1, first=10, count=100)
    assert max(len(piece.column("history").combine_chunks().flatten()) for piece in pieces) < items + longest_history


def test_without_ids_users_are_rows_and_items_numbers(stream: PairStream):
    (table,) = pairs_table.pair_tables(stream, epoch=0, first=0, count=30)
    pairs = stream.pairs(0, np.arange(30))
    store = stream.view.store
    assert table.column("user").to_pylist() == pairs.sequence.tolist()
    assert table.column("target").to_pylist() == store.values[store.offsets[pairs.sequence] + pairs.target].tolist()
    assert table.schema.field("history").type == pa.list_(pa.int64())


def test_progress_counts_to_the_end(stream: PairStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pairs_table, "_ADDRESSES", 16)
    told: list[int] = []
    out = tmp_path / "pairs.parquet"
    pairs_table.write_pairs(stream, out, epoch=0, first=0, count=50, progress=told.append)
    assert told == [16, 32, 48, 50]
    assert pq.read_table(out).num_rows == 50


@pytest.mark.parametrize(("first", "count"), [(-1, 5), (0, 10**6), (10**6, 0)])
def test_a_range_outside_the_epoch_is_refused(stream: PairStream, tmp_path: Path, first: int, count: int):
    with pytest.raises(InputError, match=f"The epoch has {stream.pairs_per_epoch} pairs"):
        pairs_table.write_pairs(stream, tmp_path / "x.parquet", epoch=0, first=first, count=count)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_leaves_nothing(stream: PairStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pairs_table, "_ADDRESSES", 16)

    def fail(done: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    for name in ("x.parquet", "x.jsonl"):
        with pytest.raises(KeyboardInterrupt):
            pairs_table.write_pairs(stream, tmp_path / name, epoch=0, first=0, count=50, progress=fail)
    assert list(tmp_path.iterdir()) == []
