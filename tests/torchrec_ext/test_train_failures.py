"""Ranks that die, other numbers of ranks, broken checkpoints: the pairs and the losses are those of a run without."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks import forked

pytest.importorskip("torchrec")
pytest.importorskip("recbole")

SCRIPT = Path(__file__).with_name("recorded_training.py")
STEPS = 20  # two epochs of ten


class Ended(NamedTuple):
    """What is left of a training: the exit status of torchrun, and what it and all ranks wrote."""

    status: int | None
    text: str


Start = Callable[..., Ended]


@pytest.fixture
def start(tmp_path: Path, tiny_settings: Path) -> Start:
    """Return start(name, out, ranks, killed_rank, killed_after, restarts): run the recorded training to its end."""

    def run(
        name: str, out: str, *, ranks: int, killed_rank: int = -1, killed_after: int = 0, restarts: int = 0
    ) -> Ended:
        logs = tmp_path / f"logs-{name}"
        logs.mkdir()
        process = forked.start(
            str(SCRIPT.with_name("launched.py")),
            *(str(ranks), str(restarts), str(logs)),
            *(str(SCRIPT), str(tmp_path), name, str(killed_rank), str(killed_after)),
            *("--config", str(tiny_settings), "--out", str(tmp_path / out)),
            log=logs / "agent.log",
            cwd=tmp_path,
        )
        process.join(240)
        process.kill()
        return Ended(process.exitcode, "\n".join(file.read_text() for file in sorted(logs.rglob("*.log"))))

    return run


def steps_of(folder: Path, name: str, life: int = 0) -> dict[int, list[int]]:
    """Return the addresses that each optimizer step trained on, on all ranks together; whole steps only."""
    files = sorted(folder.glob(f"{name}-*-{life}.jsonl"))
    trained: list[dict[int, list[int]]] = []
    for file in files:
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        trained.append({line["epoch"] * STEPS // 2 + line["step"]: line["addresses"] for line in lines})
        assert len(trained[-1]) == len(lines)
    return {
        step: [address for rank in trained for address in rank[step]] for step in set.intersection(*map(set, trained))
    }


def check_each_pair_once(legs: list[dict[int, list[int]]]) -> None:
    """The steps that count: of each leg those before the next leg's first."""
    counted: dict[int, list[int]] = {}
    for leg, following in zip(legs, [*legs[1:], {STEPS: []}], strict=True):
        for step in range(min(leg), min(following)):
            assert step not in counted
            counted[step] = leg[step]
    assert sorted(counted) == list(range(STEPS))
    for epoch in range(2):
        pairs = [address for step in range(epoch * 10, epoch * 10 + 10) for address in counted[step]]
        assert pairs == list(range(235))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    names = [name for name in events.Tags()["scalars"] if name != "train/pairs_per_second"]
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


def learnt(folder: Path) -> dict[str, Any]:
    results = json.loads((folder / "results.json").read_text())
    curve = [{name: value for name, value in point.items() if name != "seconds"} for point in results["curve"]]
    return {"curve": curve, **{name: results[name] for name in ("test", "best_valid", "best_epoch", "pairs_seen")}}


@pytest.mark.slow
@pytest.mark.distributed
def test_a_killed_rank_changes_nothing_where_torchrun_restarts(tmp_path: Path, start: Start):
    assert start("whole", "whole", ranks=2).status == 0
    killed = start("killed", "killed", ranks=2, killed_rank=1, killed_after=14, restarts=1)
    assert killed.status == 0, killed.text
    assert "Going on after step" in killed.text
    assert learnt(tmp_path / "killed") == learnt(tmp_path / "whole")
    assert scalars(tmp_path / "killed") == scalars(tmp_path / "whole")
    assert len(scalars(tmp_path / "whole")["validation/ndcg@5"]) == 2
    check_each_pair_once([steps_of(tmp_path, "killed"), steps_of(tmp_path, "killed", life=1)])


@pytest.mark.slow
@pytest.mark.distributed
def test_ranks_come_and_go_and_each_pair_is_trained_once(tmp_path: Path, start: Start):
    died = start("two", "run", ranks=2, killed_rank=1, killed_after=8)
    assert died.status != 0
    # torchrun names the rank whose end it sees first: the killed one, or the one that waited for it in vain.
    assert "SIGKILL" in died.text or "another rank, which died or was killed" in died.text
    assert not (tmp_path / "run" / "results.json").exists()
    alone = start("one", "run", ranks=1, killed_rank=0, killed_after=14)
    assert alone.status != 0
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    for file in newest.rglob("*.distcp"):
        file.write_bytes(file.read_bytes()[:-20])
    three = start("three", "run", ranks=3)
    assert three.status == 0, three.text
    assert newest.name in three.text  # that it is broken
    legs = [steps_of(tmp_path, name) for name in ("two", "one", "three")]
    assert 0 < min(legs[1]) < min(legs[2]) < int(newest.name.removeprefix("step-"))
    check_each_pair_once(legs)
    assert learnt(tmp_path / "run")["pairs_seen"] == 470
