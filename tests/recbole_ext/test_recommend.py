"""Recommendations: the items that the model itself ranks best after a user's whole history, under the source's ids."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
from recbole.quick_start import run_recbole
from typer.testing import CliRunner

from genpas_plugins import InputError
from genpas_plugins.cli import app
from recbole_ext import full_histories
from recbole_ext.checkpoints import load, save
from recbole_ext.full_histories import FullHistories
from recbole_ext.recommend import SCHEMA, Written, best_items, recommend, trained_model
from recbole_ext.recommend_ranks import join, recommend_on_ranks

GENPAS = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "pairs_per_epoch": 96}
SMALL_TIGER = {
    "levels": 2,
    "codes": 4,
    "d_model": 8,
    "num_heads": 2,
    "head_size": 4,
    "d_ff": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "beams": 10,
}
N_ITEMS, MAX_LENGTH = 25, 5


@pytest.fixture(scope="session")
def train(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return `train(model, **settings)`, the checkpoint of a model trained for an epoch on `tiny`."""

    def of(model: str, **changes: Any) -> Path:
        if model == "TIGER":
            pytest.importorskip("transformers")
            pytest.importorskip("faiss")
            changes = {**SMALL_TIGER, **changes}
        folder = tmp_path_factory.mktemp("saved")
        run_recbole(model, "tiny", config_dict={**settings, "checkpoint_dir": str(folder), **changes})
        return next(folder.glob(f"{model}-*.pth"))

    return of


@pytest.fixture(scope="session")
def sasrec(train: Callable[..., Path]) -> Path:
    return train("SASRec", genpas=GENPAS, hidden_dropout_prob=0.0, learning_rate=0.05)


@pytest.fixture(scope="session")
def sequences(data_path: Path) -> dict[str, list[str]]:
    """Every user's items in order of time, ties in the order of the file, read without RecBole."""
    rows = [line.split("\t") for line in (data_path / "tiny/tiny.inter").read_text().splitlines()[1:]]
    found: dict[str, list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: float(row[-1])):
        found[row[0]].append(row[1])
    return found


def by_user(file: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pq.read_table(file).to_pylist():
        found[row["user_id"]].append(row)
    return found


def test_sasrec_by_brute_force(sasrec: Path, sequences: dict[str, list[str]], tmp_path: Path):
    told: list[tuple[int, int]] = []
    written = recommend(
        sasrec, tmp_path / "r.parquet", top_k=4, batch_size=7, progress=lambda *place: told.append(place)
    )
    found = by_user(tmp_path / "r.parquet")
    assert written == Written(users=40, skipped=0, rows=160) and set(found) == set(sequences)
    assert told[0] == (7, 40) and told[-1] == (40, 40)
    config, model = trained_model(sasrec)
    names = FullHistories.of(config).dataset.field2id_token["item_id"].tolist()
    for user, rows in found.items():
        last = [names.index(item) for item in sequences[user][-MAX_LENGTH:]]
        padded = torch.tensor([last + [0] * (MAX_LENGTH - len(last))])
        with torch.no_grad():
            scores = (model.forward(padded, torch.tensor([len(last)])) @ model.item_embedding.weight.T)[0, 1:]
        best = torch.argsort(scores, descending=True)[:4]
        assert [row["item_id"] for row in rows] == [names[1 + int(place)] for place in best]
        assert [row["rank"] for row in rows] == [1, 2, 3, 4]
        np.testing.assert_allclose([row["score"] for row in rows], scores[best], rtol=1e-5)


def test_what_the_user_had_is_left_out(sasrec: Path, sequences: dict[str, list[str]], tmp_path: Path):
    recommend(sasrec, tmp_path / "all.parquet", top_k=N_ITEMS)
    recommend(sasrec, tmp_path / "new.parquet", top_k=N_ITEMS, exclude_history=True)
    everything, new = by_user(tmp_path / "all.parquet"), by_user(tmp_path / "new.parquet")
    for user, items in sequences.items():
        kept = [row["item_id"] for row in everything[user] if row["item_id"] not in items]
        assert [row["item_id"] for row in new[user]] == kept
        assert [row["rank"] for row in new[user]] == list(range(1, len(kept) + 1))


def test_slices_of_the_users_are_the_file_of_all(sasrec: Path, tmp_path: Path):
    n_parts = 45  # of 40 users, so the last slices are empty
    recommend(sasrec, tmp_path / "all.parquet")
    files = [tmp_path / f"{number}.parquet" for number in range(1, n_parts + 1)]
    written = [recommend(sasrec, file, part=(number, n_parts)) for number, file in enumerate(files, start=1)]
    together, whole = pa.concat_tables(map(pq.read_table, files)), pq.read_table(tmp_path / "all.parquet")
    assert together.drop("score").equals(whole.drop("score"))
    # Another number of users in a batch rounds matrix products in another way.
    np.testing.assert_allclose(together["score"], whole["score"], rtol=1e-5)
    assert sum(part.users for part in written) == 40
    join(files, tmp_path / "joined.parquet")
    assert pq.read_table(tmp_path / "joined.parquet").equals(together)
    with pytest.raises(InputError, match=r"gone\.parquet of another rank is not here"):
        join([*files, tmp_path / "gone.parquet"], tmp_path / "more.parquet")
    assert not (tmp_path / "more.parquet").exists()


def test_ranks_write_one_file_and_leave_no_other(sasrec: Path, tmp_path: Path):
    recommend(sasrec, tmp_path / "all.csv", top_k=3)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert recommend_on_ranks(sasrec, tmp_path / "r.csv", top_k=3) == Written(users=40, skipped=0, rows=120)
        with pytest.raises(InputError, match="exists already"):
            recommend_on_ranks(sasrec, tmp_path / "r.csv", top_k=3)
    finally:
        dist.destroy_process_group()
    assert (tmp_path / "r.csv").read_text() == (tmp_path / "all.csv").read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["all.csv", "r.csv"]


def test_equal_scores_are_in_the_order_of_the_items(sasrec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config, model = trained_model(sasrec)
    histories = FullHistories.of(config)
    scores = torch.tensor([1.0, 2.0]).repeat_interleave(torch.tensor([N_ITEMS - 4, 5])).expand(3, -1)
    monkeypatch.setattr(type(model), "full_sort_predict", lambda *_: scores.flatten())
    items = best_items(model, histories, np.array([1, 2, 3]), 7).items
    assert items.tolist() == [[*range(N_ITEMS - 4, N_ITEMS + 1), 1, 2]] * 3


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "²/3", "1/" + "9" * 5000])
def test_a_slice_that_does_not_exist_is_refused(part: str, tmp_path: Path):
    result = CliRunner().invoke(
        app, ["recommend", "--checkpoint", "none.pth", "--out", str(tmp_path / "r.csv"), "--part", part]
    )
    assert result.exit_code == 2 and f"--part {part}:" in result.stderr


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("genpas", [GENPAS, None], ids=["genpas", "stock"])
def test_tigers_beams_are_its_exact_ranking(
    train: Callable[..., Path], genpas: Any, exclude: bool, sequences: dict[str, list[str]], tmp_path: Path
):
    changes = {"genpas": genpas} if genpas else {}
    checkpoint = train("TIGER", **changes)
    recommend(checkpoint, tmp_path / "beams.parquet", top_k=8, exclude_history=exclude)
    state = load(checkpoint)
    state["config"]["exact_ranking"] = True
    save(state, tmp_path / "exact.pth")
    recommend(tmp_path / "exact.pth", tmp_path / "exact.parquet", top_k=8, exclude_history=exclude)
    beams, exact = by_user(tmp_path / "beams.parquet"), by_user(tmp_path / "exact.parquet")
    overlap = []
    for user in exact:
        assert [row["rank"] for row in beams[user]] == list(range(1, 9))
        items = {row["item_id"] for row in beams[user]}
        assert not exclude or not items & set(sequences[user])
        overlap.append(len(items & {row["item_id"] for row in exact[user]}) / 8)
        scores = {row["item_id"]: row["score"] for row in exact[user]}
        for row in beams[user]:
            assert row["score"] == pytest.approx(scores.get(row["item_id"], row["score"]), abs=1e-5)
    assert np.mean(overlap) > 0.9


def test_a_history_of_favourites_takes_up_no_beams(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    config, model = trained_model(train("TIGER", genpas=GENPAS))
    histories = FullHistories.of(config)
    users = np.arange(1, 6)
    favourites = best_items(model, histories, users, 20).items.numpy()
    monkeypatch.setattr(histories.__class__, "items", lambda self, user: favourites[user - 1])
    new = best_items(model, histories, users, 5, exclude_history=True)
    assert torch.all(new.scores > -torch.inf)
    for row, items in enumerate(new.items.tolist()):
        assert len(set(items)) == 5 and not set(items) & set(favourites[row].tolist())


@pytest.mark.parametrize("model", ["GRU4RecF", "BERT4Rec", "HGN"])
def test_models_with_features_masks_and_users(model: str, train: Callable[..., Path], tmp_path: Path):
    written = recommend(train(model, genpas=GENPAS), tmp_path / "r.parquet", top_k=3)
    assert written == Written(users=40, skipped=0, rows=120)


def test_users_are_those_that_are_named_in_their_order(sasrec: Path, tmp_path: Path):
    recommend(sasrec, tmp_path / "all.parquet", top_k=2)
    recommend(sasrec, tmp_path / "some.parquet", top_k=2, users=["u07", "u03", "u07"])
    everything, some = by_user(tmp_path / "all.parquet"), by_user(tmp_path / "some.parquet")
    assert list(some) == ["u07", "u03"]
    for user, rows in some.items():
        assert [row["item_id"] for row in rows] == [row["item_id"] for row in everything[user]]


def test_users_without_a_history_are_counted(
    settings: dict[str, Any], data_path: Path, train: Callable[..., Path], tmp_path: Path
):
    """A user of the .user file who has no interaction."""
    copied = tmp_path / "data/tiny"
    copied.mkdir(parents=True)
    for file in (data_path / "tiny").iterdir():
        (copied / file.name).write_text(file.read_text())
    with (copied / "tiny.user").open("a") as stream:
        stream.write("quiet\t30\tF\n")
    checkpoint = train("SASRec", genpas=GENPAS, data_path=str(tmp_path / "data"))
    assert recommend(checkpoint, tmp_path / "r.parquet", top_k=1) == Written(users=40, skipped=1, rows=40)
    nobody = recommend(checkpoint, tmp_path / "none.parquet", users=["quiet"])
    assert nobody == Written(users=0, skipped=1, rows=0)
    assert pq.read_schema(tmp_path / "none.parquet") == SCHEMA


def test_the_schema_and_pieces_of_the_file(sasrec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("recbole_ext.recommend._ROWS_AT_ONCE", 10)
    recommend(sasrec, tmp_path / "r.parquet", top_k=3, batch_size=2)
    file = pq.ParquetFile(tmp_path / "r.parquet")
    assert file.schema_arrow == SCHEMA and file.schema_arrow.field("user_id").type == pa.string()
    assert file.metadata.num_row_groups == 10 and file.metadata.num_rows == 120


def test_a_run_that_fails_leaves_no_file(sasrec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> None:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        recommend(sasrec, tmp_path / "out/r.parquet", batch_size=8, progress=fail)
    assert list((tmp_path / "out").iterdir()) == []


def test_bad_input_is_one_sentence(sasrec: Path, tmp_path: Path):
    out = tmp_path / "r.parquet"
    with pytest.raises(InputError, match=r"2 of 3 users are not in the data set tiny: 'nobody', '\[PAD\]'\. Give ids"):
        recommend(sasrec, out, users=["u01", "nobody", "[PAD]"])
    with pytest.raises(InputError, match=r"must end with \.parquet"):
        recommend(sasrec, tmp_path / "r.xlsx")
    with pytest.raises(InputError, match="top_k must be a whole number from 1 on"):
        recommend(sasrec, out, top_k=0)
    with pytest.raises(InputError, match=f"top_k is {N_ITEMS + 1}, but the catalogue has {N_ITEMS} items"):
        recommend(sasrec, out, top_k=N_ITEMS + 1)
    with pytest.raises(InputError, match="no checkpoint to load"):
        recommend(tmp_path / "no.pth", out)
    with pytest.raises(InputError, match="no device 'abacus'"):
        recommend(sasrec, out, device="abacus")
    (tmp_path / "broken.pth").write_bytes(sasrec.read_bytes()[:1000])
    with pytest.raises(InputError, match="truncated"):
        recommend(tmp_path / "broken.pth", out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        recommend(sasrec, out)
    assert out.read_text() == "mine"


@pytest.mark.parametrize("model", ["SASRec", "TIGER"])
def test_data_that_changed_since_are_one_sentence(
    model: str, data_path: Path, train: Callable[..., Path], tmp_path: Path
):
    copied = tmp_path / "data/tiny"
    copied.mkdir(parents=True)
    for file in (data_path / "tiny").iterdir():
        (copied / file.name).write_text(file.read_text())
    checkpoint = train(model, genpas=GENPAS, data_path=str(tmp_path / "data"))
    with (copied / "tiny.item").open("a") as stream:
        stream.write("novelty\t1.5\t1999\tc0\n")
    with pytest.raises(InputError, match="changed"):
        recommend(checkpoint, tmp_path / "r.parquet")
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="does not exist here"):
        recommend(checkpoint, tmp_path / "r.parquet")


def test_the_command_line(sasrec: Path, tmp_path: Path):
    options = ["--checkpoint", sasrec, "--out", tmp_path / "r.parquet", "--top-k", 3, "--user", "u05", "--json"]
    done = CliRunner().invoke(app, ["recommend", *map(str, options)])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) | {"out": ""} == {
        "out": "",
        "top_k": 3,
        "exclude_history": False,
        "users": 1,
        "skipped": 0,
        "rows": 3,
    }
    recommend(sasrec, tmp_path / "same.parquet", top_k=3, users=["u05"])
    assert pq.read_table(tmp_path / "r.parquet").equals(pq.read_table(tmp_path / "same.parquet"))
    unknown = CliRunner().invoke(app, ["recommend", *map(str, options), "--user", "nobody", "--overwrite"])
    assert unknown.exit_code == 2 and "'nobody'" in unknown.stderr and unknown.stderr.count("\n") == 1


def test_whole_histories_are_whole(sasrec: Path, sequences: dict[str, list[str]]):
    histories = FullHistories.of(load(sasrec)["config"])
    for user, items in sequences.items():
        number = histories.user_numbers([user])[0]
        assert histories.item_ids(histories.items(number)).tolist() == items
    assert histories.lengths.sum() == sum(map(len, sequences.values()))
    assert full_histories._with_windows(load(sasrec)["config"])["genpas"].time_order == "exact"
