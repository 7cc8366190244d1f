"""A catalogue that grew by `append`: sharded training goes on from the earlier weights, on any number of ranks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import forked

pytest.importorskip("torchrec")
pytest.importorskip("recbole")

from genpas_plugins.data.prepare.append import append_interactions
from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.recbole_files import export_recbole
from recbole_ext.checkpoints import item_vectors, load
from recbole_ext.growth import NOISE
from torchrec_ext import train

HERE = Path(__file__).parent
COLUMNS = {"user": "user_id", "item": "item_id", "order": "timestamp"}
STILL = ("learning_rate=1e-30", "epochs=1")
"""So small a step that the saved weights are the first ones."""


def write_rows(file: Path, users: range, items: int, times: range) -> None:
    rows = [f"{user},i{(user * 7 + time * time) % items},{time}" for user in users for time in times]
    file.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, tiny_settings: Path) -> tuple[Path, list[str]]:
    """Return a folder with the model of the first data, and the arguments of a training on the grown data."""
    folder = tmp_path_factory.mktemp("grown")
    write_rows(folder / "one.csv", range(20), 30, range(7))
    write_rows(folder / "two.csv", range(15, 25), 37, range(7, 12))
    export_recbole(build_store(folder / "one.csv", folder / "store", **COLUMNS), folder / "old", "tiny")
    arguments = ["--config", str(tiny_settings), "genpas_pairs_per_epoch=60"]
    train.main([*arguments, f"data_path={folder / 'old'}", "--out", str(folder / "first"), "epochs=1"])
    store = append_interactions(folder / "store", folder / "two.csv", **COLUMNS)
    export_recbole(store, folder / "new", "tiny")
    settings = json.loads(tiny_settings.read_text())
    settings["torchrec"]["learning_rate"] = 1e-30
    (folder / "still.json").write_text(json.dumps(settings))
    checkpoint = f"genpas_warm_start={folder / 'first' / 'model.pth'}"
    return folder, ["--config", str(folder / "still.json"), f"data_path={folder / 'new'}", checkpoint, *STILL]


def check_first_weights(before: Path, after: Path) -> None:
    old, new = (dict(zip(*item_vectors(file), strict=True)) for file in (before, after))
    assert set(old) < set(new)
    for item, vector in old.items():
        assert np.array_equal(new[item], vector), item
    table = np.stack([*old.values()])
    away = np.stack([new[item] - table.mean(0) for item in new.keys() - old.keys()])
    assert (away != 0).all() and (np.abs(away) < 6 * NOISE * table.std(0)).all()
    weights, same = load(after)["state_dict"], load(before)["state_dict"]
    assert all(weights[name].equal(value) for name, value in same.items() if "item" not in name)


def test_known_items_keep_their_rows_and_new_rows_follow_the_rule(grown):
    folder, arguments = grown
    train.main([*arguments, "genpas_replay=0.25", "--out", str(folder / "one")])
    check_first_weights(folder / "first" / "model.pth", folder / "one" / "model.pth")
    report = json.loads((folder / "one" / "results.json").read_text())["trained_on"]
    counted = [report[name] for name in ("items_kept", "items_new", "items_gone", "replay")]
    assert counted == [30, 6, 0, 0.25] and report["kl_from_before"] > 0


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_begin_with_the_same_rows(grown):
    folder, arguments = grown
    log = folder / "agent.log"
    words = ("2", "0", str(folder), str(Path(train.__file__)), *arguments, "--out", str(folder / "two"))
    process = forked.start(str(HERE / "launched.py"), *words, log=log, cwd=folder)
    process.join(240)
    process.kill()
    assert process.exitcode == 0, log.read_text()
    check_first_weights(folder / "first" / "model.pth", folder / "two" / "model.pth")
    assert json.loads((folder / "two" / "results.json").read_text())["world_size"] == 2
