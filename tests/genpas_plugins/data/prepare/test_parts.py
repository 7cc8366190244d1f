"""A store in parts gives the pairs and batches of one store of the same order."""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.cli import app
from genpas_plugins.data.prepare.append import append_interactions
from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.prepare.parts import join_parts, make_part, write_catalogue
from genpas_plugins.data.storage import HEADER, check_content, verify_store
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.support.errors import InputError

HOW: dict[str, Any] = {"user": "user", "item": "item", "order": "time", "columns": ["time"]}
PARTS = 4


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Ninety users; sorted user ids are in order of the parts, as in a store made at once."""
    rng = np.random.default_rng(3)
    user = np.sort(rng.integers(0, 90, 1200))
    item = rng.choice([f"i{n}" for n in range(40)], 1200)
    return pl.DataFrame({"user": user, "item": item, "time": rng.permutation(1200)})


@pytest.fixture(scope="module")
def made(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the store at once in `one`, and the same rows in parts in `parts`."""
    folder = tmp_path_factory.mktemp("made")
    rows.write_parquet(folder / "rows.parquet")
    one = build_store(folder / "rows.parquet", folder / "one", **HOW)
    write_catalogue(folder / "parts", one.item_ids)
    for number in reversed(range(PARTS)):  # in any order
        rows.filter(pl.col("user") * PARTS // 90 == number).write_parquet(folder / f"{number}.parquet")
        make_part(folder / f"{number}.parquet", folder / "parts", number, **HOW)
    join_parts(folder / "parts")
    return folder


@pytest.fixture
def parts(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the store in parts, to be damaged."""
    return Path(shutil.copytree(made / "parts", tmp_path / "parts"))


def test_the_parts_hold_what_one_store_holds(made: Path):
    one, joined = SequenceStore.open(made / "one"), SequenceStore.open(made / "parts")
    for name in ("values", "offsets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(joined, name))
    np.testing.assert_array_equal(one.columns["time"], joined.columns["time"])
    np.testing.assert_array_equal(one.index().order, joined.index().order)
    assert (one.user_ids, one.item_ids, one.n_items) == (joined.user_ids, joined.item_ids, joined.n_items)
    check_content(made / "parts", joined.stored())
    verify_store(made / "parts")
    copy = pickle.loads(pickle.dumps(joined))  # as a worker process gets it
    assert np.array_equal(copy.values, one.values) and len(pickle.dumps(joined)) < 500


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("unit", ["pairs", "windows"])
@pytest.mark.parametrize("policy", [SamplingPolicy.named("multi_target"), SamplingPolicy(1, 0.5, 2)], ids=str)
def test_batches_are_equal(made: Path, policy: SamplingPolicy, unit: str, backend: str):
    batches = []
    for name in ("one", "parts"):
        view = SequenceStore.open(made / name).leave_last_out().train
        if unit == "pairs":
            stream = pair_stream(view, policy, seed=1, backend=backend)
        else:
            stream = window_stream(view, policy, max_length=8, seed=1, backend=backend)
        batch = stream.batch(0, np.arange(0, stream.size, 7), 8)
        items, offsets = batch.histories.jagged()
        column = batch.histories.padded_column(view.store.columns["time"], 8)
        batches.append((items, offsets, batch.histories.padded(8), column, view.store.values[batch.targets.rows]))
    for own, other in zip(*batches, strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("world_size", [1, 3, PARTS])
def test_a_rank_reads_its_parts_only(made: Path, parts: Path, world_size: int):
    one = SequenceStore.open(made / "one")
    seen = []
    for rank in range(world_size):
        own = SequenceStore.open(parts, parts=slice(rank, None, world_size))
        users = one.user_rows(own.user_ids)
        for row in range(own.n_sequences):
            mine = own.values[own.offsets[row] : own.offsets[row + 1]]
            np.testing.assert_array_equal(mine, one.values[one.offsets[users[row]] : one.offsets[users[row] + 1]])
        copy = pickle.loads(pickle.dumps(own))
        assert copy.n_interactions == own.n_interactions and own.item_ids == one.item_ids
        seen.append(users)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(one.n_sequences))
    with pytest.raises(InputError, match="none of them is in"):
        SequenceStore.open(parts, parts=slice(PARTS, None))


def test_a_store_in_parts_is_inspected_and_appended_to(parts: Path, rows: pl.DataFrame, tmp_path: Path):
    printed = CliRunner().invoke(app, ["inspect", str(parts), "--verify", "--json"])
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.output)["interactions"] == len(rows)
    before = SequenceStore.open(parts)
    rows.head(1).with_columns(time=pl.lit(5000)).write_parquet(tmp_path / "more.parquet")
    after = append_interactions(parts, tmp_path / "more.parquet", user="user", item="item", order="time")
    assert after.n_interactions == before.n_interactions + 1 and not list(parts.glob("part-*"))


def test_parts_that_do_not_fit_are_refused(parts: Path, made: Path, rows: pl.DataFrame, tmp_path: Path):
    make_part(made / "0.parquet", parts, 9, **HOW)
    with pytest.raises(InputError, match="a user has rows in two parts"):
        join_parts(parts)
    make_part(made / "0.parquet", parts, 9, **{**HOW, "columns": []} | {"order": None})
    with pytest.raises(InputError, match="has other columns, or another order"):
        join_parts(parts)
    shutil.rmtree(parts / "part-00009")
    rows.head(5).with_columns(item=pl.lit("new")).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(InputError, match="the item 'new' is not in"):
        make_part(tmp_path / "new.parquet", parts, 9, **HOW)
    assert join_parts(parts).n_interactions == len(rows)
    write_catalogue(tmp_path / "other", ["i1", "i2"])
    shutil.copy(tmp_path / "other" / "item_ids.arrow", parts)
    with pytest.raises(InputError, match="numbers items by another catalogue"):
        join_parts(parts)
    with pytest.raises(InputError, match="missing or repeated id"):
        write_catalogue(tmp_path / "twice", ["i1", "i1"])
    with pytest.raises(InputError, match="exists already"):
        write_catalogue(parts, ["i1"])
    with pytest.raises(InputError, match="has 0 parts"):
        join_parts(tmp_path / "other")


def test_a_part_that_changed_is_refused(parts: Path, made: Path):
    values = parts / "part-00001" / "values.npy"
    content = bytearray(values.read_bytes())
    content[-1] ^= 1
    values.write_bytes(content)
    with pytest.raises(InputError, match="does not have the checksum"):
        verify_store(parts)
    make_part(made / "2.parquet", parts, 1, **HOW)
    with pytest.raises(InputError, match="was made again after the parts were joined"):
        SequenceStore.open(parts)
    shutil.rmtree(parts / "part-00001")
    with pytest.raises(InputError, match=r"header\.json is missing"):
        SequenceStore.open(parts)
    (parts / HEADER).unlink()
    with pytest.raises(InputError, match=r"header\.json is missing"):
        SequenceStore.open(parts)


@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("pyspark") or not shutil.which("java"), reason="needs PySpark and Java"
)
def test_the_documented_spark_job(rows: pl.DataFrame, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = Path(__file__).parents[4] / "docs/how-to/parts.md"
    job = re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert job is not None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    rows.write_parquet("events.parquet")
    exec(compile(job[1], str(page), "exec"), {})
    one, joined = SequenceStore.open(made / "one"), SequenceStore.open("store")
    assert joined.n_sequences == one.n_sequences and one.item_ids.equals(joined.item_ids)
    for user, row in zip(joined.user_ids.to_pylist(), range(joined.n_sequences), strict=True):
        own = one.user_rows([user])[0]
        mine = joined.values[joined.offsets[row] : joined.offsets[row + 1]]
        np.testing.assert_array_equal(mine, one.values[one.offsets[own] : one.offsets[own + 1]])
