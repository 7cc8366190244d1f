"""The map of policies: its figures, page and picture, from a small store."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from benchmarks import policy_map
from genpas_plugins import SamplingPolicy, SequenceStore


def test_a_map_is_relative_to_multi_target(medium: SequenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(policy_map, "ALPHA", (0.0, 1.0))
    monkeypatch.setattr(policy_map, "BETA", (0.0, policy_map.INF))
    content = policy_map.computed(medium, "leave_last_out")
    assert content["policies"].keys() == {policy.label for policy in policy_map.grid()}
    assert policy_map.relative(content, SamplingPolicy(1, 0, -policy_map.INF)) == 0
    page = policy_map.page({"medium.leave_last_out": content})
    assert "| medium.leave_last_out |" in page and f"{content['multi_target']:.4f}" in page
    policy_map.draw({"medium.leave_last_out": content}, tmp_path / "map")
    assert (tmp_path / "map.svg").is_file()
