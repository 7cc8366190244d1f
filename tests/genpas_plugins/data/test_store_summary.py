"""The figures of `genpas inspect` against plain counting."""

from __future__ import annotations

import statistics
from pathlib import Path

from hypothesis import given

from genpas_plugins import SequenceStore
from genpas_plugins.data.lengths import LengthIndex
from genpas_plugins.data.store_summary import length_summary, summarize_store
from genpas_plugins.sampling.constructions import pair_counts


@given(store=...)
def test_lengths_and_pairs_are_those_counted_one_by_one(store: SequenceStore):
    lengths = store.lengths().tolist()
    summary = length_summary(LengthIndex.of(store.lengths()))
    assert summary is not None
    assert summary["min"] == min(lengths) and summary["max"] == max(lengths)
    assert summary["median"] == statistics.median(lengths)
    assert summary["mean"] == statistics.mean(lengths)
    trained = [length - 2 for length in lengths if length >= 4]
    assert pair_counts(store.leave_last_out().train) == {
        "last_target": len(trained),
        "multi_target": sum(n - 1 for n in trained),
        "prefix_with_empty": sum(trained),
        "slide_window": sum(n * (n - 1) // 2 for n in trained),
        "suffix": sum(n - 1 for n in trained),
    }


def test_a_store_without_sequences_has_no_lengths(tmp_path: Path):
    SequenceStore.from_arrays([], [0]).save(tmp_path / "empty")
    summary = summarize_store(tmp_path / "empty")
    assert summary["users"] == 0 and summary["lengths"] is None
    assert summary["user_id_type"] == "row number" and summary["item_id_type"] == "item number"
