"""What the first epoch trains on, against a count of its targets one by one."""

from __future__ import annotations

import numpy as np
import pytest

from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.sampling import coverage as module
from genpas_plugins.sampling.coverage import coverage
from genpas_plugins.sampling.stream import window_stream


@pytest.mark.parametrize("name", ["multi_target", "1,0,0"])
@pytest.mark.parametrize("unit", ["pairs", "windows"])
def test_users_pairs_and_effective_targets_are_counted(
    unit: str, name: str, medium: SequenceStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_CHUNK", 7)
    view = medium.leave_last_out().train
    policy = SamplingPolicy(1, 0, 0) if name == "1,0,0" else SamplingPolicy.named(name)
    targets: list[tuple[int, int]] = []
    weights: list[float] = []
    if unit == "pairs":
        stream = pair_stream(view, policy, seed=3)
        pairs = stream.pairs(0, np.arange(stream.size))
        targets = list(zip(pairs.sequence.tolist(), pairs.target.tolist(), strict=True))
        weights = [1.0] * len(targets)
    else:
        stream = window_stream(view, policy, max_length=4, seed=3)
        windows = stream.windows(0, np.arange(stream.size))
        ends = zip(windows.pairs.sequence, windows.first, windows.pairs.target, strict=True)
        targets = [(int(row), k) for row, first, last in ends for k in range(first, last + 1)]
        weights = windows.weights.tolist()
    found = coverage(stream)
    assert found is not None and found.distinct_users == len({row for row, _ in targets})
    assert found.distinct_pairs == len(set(targets)) and len(weights) == len(targets)
    assert found.effective_targets == pytest.approx(sum(weights) ** 2 / sum(weight**2 for weight in weights))
    monkeypatch.setattr(module, "COUNTED", stream.pairs_per_epoch - 1)
    assert coverage(stream) is None
