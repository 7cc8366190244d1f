"""The benchmark of draws on a few users: what it counts, its goals and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import draws
from genpas_plugins.sampling.constructions import CONSTRUCTIONS


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the records of all jobs, measured in this process."""
    path: Path = tmp_path_factory.mktemp("draws") / "store"
    draws.make_store(str(path), 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draws, "EPOCHS", 3)
        return [{**job.label, **draws.measure(**{**job.arguments, "path": str(path)})} for job in draws.jobs(path)]


def of(records: list[dict[str, Any]], policy: str, way: str) -> dict[str, Any]:
    (found,) = [record for record in records if (record["policy"], record["way"]) == (policy, way)]
    return found


def test_a_pass_has_each_pair_once_however_it_is_made(records: list[dict[str, Any]]) -> None:
    whole = of(records, "multi_target", "pairs")
    for policy, way in (("1,0,-inf", "pairs"), ("1,0,-inf", "windows"), ("1,0,0", "pairs"), ("1,0,0", "windows")):
        drawn = of(records, policy, way)
        assert [drawn[name] for name in ("targets", "users", "pairs")] == [
            whole[name] for name in ("targets", "users", "pairs")
        ]
    assert of(records, "1,0,-inf", "pairs")["variance"] == pytest.approx(whole["variance"], abs=1e-20)
    independent = of(records, "1,0,-inf", "independent pairs")
    assert independent["pairs"] < whole["pairs"] and independent["variance"] > 1e-6


def test_every_policy_and_way_is_in_the_table_and_has_its_goals(records: list[dict[str, Any]]) -> None:
    assert len(records) == len(draws.EXPONENTS) * len(draws.WAYS) + 2 * len(draws.NAMED)
    found = draws.goals({draws.SECTION: records})
    assert all(goal.met for goal in found if "effective" in goal.what)
    counts, goals = draws.tables({draws.SECTION: records}, found)
    assert len(counts.rows) == len(records) and len(goals.rows) == len(found)


def test_the_speed_is_measured_beside_another_tree(quick_run) -> None:
    content, text = quick_run("draw_speed")
    (record,) = content["sections"]["draw_speed"]
    assert len(record["rates"]) == 20 and all(of["ratio"] > 0 for of in record["rates"])
    (record,) = content["sections"]["constructions"]
    assert {of["construction"] for of in record["times"]} == set(CONSTRUCTIONS)
    assert len(content["goals"]) == 20 + len(record["times"])
    assert all(goal["what"] in text for goal in content["goals"])
