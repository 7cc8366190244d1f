"""The command `genpas`: what it prints and writes, and how bad input ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import genpas_plugins
from genpas_plugins import GenPASConfig, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.cli import app

USERS = {"ann": "abcdefg", "bob": "ba", "cat": "gfedcb", "dan": "cccc"}
SAMPLED = ("--strategy", "sampled", "--alpha", "1", "--beta", "0", "--gamma", "0", "--seed", "7")

Run = Callable[..., Any]


@pytest.fixture
def genpas() -> Run:
    """Return genpas(*arguments), which runs the command in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def in_a_process(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    code = "from genpas_plugins.cli import main; main()"
    command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interactions of USERS, shuffled; the place of each in `timestamp`."""
    rows = [(user, item, place, 0.5) for user, items in USERS.items() for place, item in enumerate(items)]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    file = tmp_path_factory.mktemp("source") / "interactions.parquet"
    users, items, times, ratings = (list(column) for column in zip(*rows, strict=True))
    pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": times, "rating": ratings}), file)
    return file


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """USERS as a store, with ids, a time and a rating."""
    letters = "abcdefg"
    lengths = [len(items) for items in USERS.values()]
    path = tmp_path_factory.mktemp("saved") / "letters"
    SequenceStore.from_arrays(
        [letters.index(item) + 1 for items in USERS.values() for item in items],
        np.cumsum([0, *lengths]),
        user_ids=list(USERS),
        item_ids=list(letters),
        columns={"timestamp": np.arange(sum(lengths)) + 1_700_000_000, "liked": np.arange(sum(lengths)) % 2 == 0},
    ).save(path)
    return path


def sequences(store: SequenceStore) -> dict[str, str]:
    users = store.user_ids.to_pylist()
    items = store.item_ids.take(pa.array(store.values - 1)).to_pylist()
    return {user: "".join(items[a:b]) for user, a, b in zip(users, store.offsets, store.offsets[1:], strict=False)}


def refusal(result: Any) -> str:
    """Check that a run ended in one sentence on stderr and nothing else; return the sentence."""
    code = result.exit_code if hasattr(result, "exit_code") else result.returncode
    assert code == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return result.stderr.removeprefix("error: ").strip()


# The whole command --------------------------------------------------------------------------------------------------


def test_version(genpas: Run):
    result = genpas("--version")
    assert result.exit_code == 0
    assert result.stdout == f"genpas {genpas_plugins.__version__}\n"


@pytest.mark.parametrize(
    "command", ["doctor", "prepare", "inspect", "sample", "export-recbole", "train", "analyze", "search"]
)
def test_every_command_has_a_help(genpas: Run, command: str):
    result = genpas(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_the_command_line_is_light_to_import():
    heavy = ("polars", "numba", "torch", "recbole", "recbole_ext", "pandas", "pyarrow.parquet", "yaml", "rich.progress")
    code = f"import sys, genpas_plugins.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_bad_input_is_one_sentence_status_2_and_no_traceback(tmp_path: Path):
    done = in_a_process("inspect", tmp_path / "nothing")
    assert "holds no sequence store" in refusal(done)


def test_a_path_that_cannot_be_written_is_one_sentence(saved: Path, tmp_path: Path, genpas: Run):
    (tmp_path / "file").write_text("")
    assert "file" in refusal(
        genpas("sample", saved, *SAMPLED, "--count", "3", "--out", tmp_path / "file" / "x.parquet")
    )


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_interrupting_exits_130_and_leaves_nothing(saved: Path, tmp_path: Path):
    code = "from genpas_plugins.cli import main; main()"
    arguments = [
        "sample",
        saved,
        *SAMPLED,
        "--pairs-per-epoch",
        10**12,
        "--count",
        10**12,
        "--out",
        tmp_path / "x.jsonl",
    ]
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=-1, stderr=-1, text=True)
    deadline = time.monotonic() + 30
    while not any(file.stat().st_size for file in tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


# doctor -------------------------------------------------------------------------------------------------------------


def test_doctor_prints_problems_with_their_fix(genpas: Run, monkeypatch: pytest.MonkeyPatch):
    from genpas_plugins.support import doctor
    from genpas_plugins.support.doctor_rules import Problem

    broken = Problem("error", "torch and fbgemm do not match", "pip install 'genpas-plugins[torchrec]'")
    report = doctor.Report("3.11.7", "Linux", {"numpy": "2.4", "ray": None}, None, {}, {}, "numpy", [broken])
    monkeypatch.setattr(doctor, "diagnose", lambda choose_backend: report)
    shown, as_json = genpas("doctor"), genpas("doctor", "--json")
    assert shown.exit_code == as_json.exit_code == 1
    assert "error: torch and fbgemm do not match\n  fix: pip install 'genpas-plugins[torchrec]'" in shown.stdout
    assert json.loads(as_json.stdout) == report.to_dict()


# prepare ------------------------------------------------------------------------------------------------------------


def test_append_says_what_grew_and_inspect_shows_the_steps(genpas: Run, source: Path, tmp_path: Path):
    store = tmp_path / "store"
    assert genpas("prepare", source, "--out", store, "--order", "timestamp").exit_code == 0
    more = tmp_path / "more.csv"
    more.write_text("user_id,item_id,timestamp\nann,z,99\neve,a,0\n")
    assert genpas("prepare", source, "--out", tmp_path / "filed", "--file-order").exit_code == 0
    unordered = genpas("append", tmp_path / "filed", more, "--user", "user_id")
    assert unordered.exit_code == 2
    assert "is not known. Name the column that sorts it with --order NAME" in unordered.output
    grown = json.loads(genpas("append", store, more, "--order", "timestamp", "--json").stdout)
    assert grown["users"] == {"before": 4, "after": 5}
    assert grown["items"] == {"before": 7, "after": 8}
    assert grown["interactions"] == {"before": 19, "after": 21}
    assert "append of more.csv: 5 users, 8 items, 21 interactions" in genpas("inspect", store).stdout
    assert "already" in genpas("append", store, more).output


def test_prepare_builds_the_store_and_says_what(genpas: Run, source: Path, tmp_path: Path):
    out = tmp_path / "store"
    result = genpas("prepare", source, "--order", "timestamp", "--column", "rating", "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert (shown["users"], shown["items"], shown["interactions"]) == (4, 7, 19)
    assert shown["read"] == {
        "format": "parquet",
        "user": "user_id",
        "item": "item_id",
        "order": ["timestamp"],
        "ties": "file",
    }
    store = SequenceStore.open(out)
    assert sequences(store) == USERS
    assert sorted(store.columns) == ["rating", "timestamp"]


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.parquet", "log.inter"])
def test_prepare_sorts_by_a_usual_time_in_every_format_and_says_so(genpas: Run, tmp_path: Path, name: str):
    rows = {"user_id": ["ann", "ann"], "item_id": ["b", "a"], "timestamp": [2, 1]}
    types = {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
    {
        "log.csv": lambda frame, file: frame.write_csv(file),
        "log.jsonl": lambda frame, file: frame.write_ndjson(file),
        "log.parquet": lambda frame, file: frame.write_parquet(file),
        "log.inter": lambda frame, file: frame.rename(types).write_csv(file, separator="\t"),
    }[name](pl.DataFrame(rows), tmp_path / name)
    sorted_ = genpas("prepare", tmp_path / name, "--out", tmp_path / "sorted")
    assert "by timestamp, ties as in the file (--file-order keeps its order)" in " ".join(sorted_.stdout.split())
    assert sequences(SequenceStore.open(tmp_path / "sorted")) == {"ann": "ab"}
    filed = genpas("prepare", tmp_path / name, "--out", tmp_path / "filed", "--file-order")
    assert "of the file (--order NAME sorts by a column)" in " ".join(filed.stdout.split())
    assert sequences(SequenceStore.open(tmp_path / "filed")) == {"ann": "ba"}


def test_prepare_knows_the_columns_of_its_formats(genpas: Run, tmp_path: Path):
    (tmp_path / "u.data").write_text("1\t10\t5\t200\n1\t20\t5\t100\n")
    result = genpas("prepare", tmp_path / "u.data", "--out", tmp_path / "timed", "--json")
    assert json.loads(result.stdout)["read"] == {
        "format": "movielens",
        "user": "userId",
        "item": "movieId",
        "order": ["timestamp"],
        "ties": "file",
    }
    assert SequenceStore.open(tmp_path / "timed").values.tolist() == [2, 1]
    assert genpas("prepare", tmp_path / "u.data", "--out", tmp_path / "filed", "--file-order").exit_code == 0
    assert SequenceStore.open(tmp_path / "filed").values.tolist() == [1, 2]


def test_prepare_applies_the_k_core(genpas: Run, source: Path, tmp_path: Path):
    result = genpas("prepare", source, "--order", "timestamp", "--k-core", "3", "--out", tmp_path / "store", "--json")
    assert "bob" not in SequenceStore.open(tmp_path / "store").user_ids.to_pylist()
    assert json.loads(result.stdout)["interactions"] < 19


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--user", "usr_id"), ("usr_id", "user_id")),
        (("--order", "time"), ("time", "timestamp")),
        (("--format", "parket"), ("parket", "parquet")),
        (("--order", "timestamp", "--file-order"), ("--order timestamp", "--file-order")),
        (("--k-core", "99"), ("99",)),
    ],
)
def test_prepare_refuses(genpas: Run, source: Path, tmp_path: Path, arguments: tuple[str, ...], named: tuple[str, ...]):
    message = refusal(genpas("prepare", source, "--out", tmp_path / "store", *arguments))
    assert all(word in message for word in named)
    assert list(tmp_path.iterdir()) == []


def test_prepare_replaces_a_store_only_when_asked(genpas: Run, source: Path, tmp_path: Path):
    arguments = ("prepare", source, "--order", "timestamp", "--out", tmp_path / "store")
    assert genpas(*arguments).exit_code == 0
    assert "exists already" in refusal(genpas(*arguments))
    assert genpas(*arguments, "--overwrite").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


# inspect ------------------------------------------------------------------------------------------------------------


def test_inspect_prints_what_the_store_holds(genpas: Run, saved: Path):
    shown = json.loads(genpas("inspect", saved, "--json", "--verify").stdout)
    assert (shown["users"], shown["items"], shown["interactions"]) == (4, 7, 19)
    assert shown["lengths"] == {"min": 2, "median": 5.0, "mean": 4.75, "max": 7}
    assert shown["users_with_training_pair"] == 3  # training lengths 5, 0, 4, 2
    pairs = {"last_target": 3, "multi_target": 4 + 3 + 1, "prefix_with_empty": 5 + 4 + 2, "slide_window": 10 + 6 + 1}
    assert shown["training_pairs"] == {**pairs, "suffix": 4 + 3 + 1}
    assert shown["columns"]["liked"] == {"dtype": "bool", "shape": []}
    assert shown["user_id_type"] == shown["item_id_type"] == "string"
    assert shown["bytes"] == sum(file.stat().st_size for file in saved.iterdir())
    shown = genpas("inspect", saved).stdout
    assert "min 2, median 5, mean 4.75, max 7" in shown


def test_inspect_verifies_checksums(genpas: Run, saved: Path, tmp_path: Path):
    damaged = tmp_path / "damaged"
    SequenceStore.open(saved).save(damaged)
    content = bytearray((damaged / "values.npy").read_bytes())
    content[-1] ^= 1
    (damaged / "values.npy").write_bytes(content)
    assert genpas("inspect", damaged).exit_code == 0
    assert "values.npy" in refusal(genpas("inspect", damaged, "--verify", "--json"))


# sample -------------------------------------------------------------------------------------------------------------


def test_sample_writes_the_pairs_of_the_core(genpas: Run, saved: Path, tmp_path: Path):
    out = tmp_path / "pairs.parquet"
    result = genpas("sample", saved, *SAMPLED, "--epoch", 3, "--first", 2, "--count", 5, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert (shown["pairs"], shown["pairs_per_epoch"]) == (5, 8)
    assert shown["exponents"] == {"alpha": 1, "beta": 0, "gamma": 0}
    train = SequenceStore.open(saved).leave_last_out().train
    drawn = pair_stream(train, SamplingPolicy(1, 0, 0), seed=7).pairs(3, np.arange(2, 7))
    table = pq.read_table(out)
    assert table.column_names == ["pair", "user", "start", "target_position", "history", "target"]
    users = list(USERS)
    assert table.to_pylist() == [
        {
            "pair": 2 + i,
            "user": users[s],
            "start": start,
            "target_position": target,
            "history": list(USERS[users[s]][start:target]),
            "target": USERS[users[s]][target],
        }
        for i, (s, start, target) in enumerate(zip(*(part.tolist() for part in drawn), strict=True))
    ]


def test_sample_writes_slices_of_one_stream(genpas: Run, saved: Path, tmp_path: Path):
    for name, first, count in (("whole", 0, 17), ("head", 0, 6), ("tail", 6, 11)):
        arguments = (
            "--strategy",
            "slide_window",
            "--first",
            first,
            "--count",
            count,
            "--out",
            tmp_path / f"{name}.parquet",
        )
        assert genpas("sample", saved, *arguments).exit_code == 0
    whole, head, tail = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "head", "tail"))
    assert pa.concat_tables([head, tail]).equals(whole)
    assert whole.column("pair").to_pylist() == list(range(17))


def test_sample_writes_the_same_rows_as_json_lines(genpas: Run, saved: Path, tmp_path: Path):
    for name in ("pairs.parquet", "pairs.jsonl"):
        assert (
            genpas("sample", saved, *SAMPLED, "--count", 8, "--max-length", 2, "--out", tmp_path / name).exit_code == 0
        )
    rows = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()] == rows
    assert max(len(row["history"]) for row in rows) == 2


def test_sample_takes_infinite_exponents(genpas: Run, saved: Path, tmp_path: Path):
    exponents = ("--strategy", "sampled", "--alpha", "-.inf", "--beta", "inf", "--gamma", "-inf")
    result = genpas("sample", saved, *exponents, "--count", 2, "--out", tmp_path / "pairs.parquet", "--json")
    assert json.loads(result.stdout)["exponents"] == {"alpha": "-inf", "beta": "inf", "gamma": "-inf"}
    assert pq.read_table(tmp_path / "pairs.parquet").column("user").to_pylist() == ["dan", "dan"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--strategy", "multi_targt"), ("multi_targt", "'multi_target'")),
        ((), ("strategy is missing", "--strategy")),
        (("--strategy", "sampled", "--alpha", "nan", "--beta", "0", "--gamma", "0"), ("alpha is NaN",)),
        (("--strategy", "sampled", "--alpha", "one", "--beta", "0", "--gamma", "0"), ("alpha", "'one'")),
        (("--strategy", "sampled", "--alpha", "1"), ("beta, gamma is missing",)),
        (("--strategy", "last_target", "--beta", "1"), ("remove beta",)),
        (("--strategy", "multi_target", "--count", "9"), ("8 pairs", "count 9")),
        ((*SAMPLED, "--count", "9"), ("8 pairs", "count 9", "pairs_per_epoch")),
        ((*SAMPLED, "--pairs-per-epoch", "8", "--first", "8", "--count", "1"), ("first 8",)),
        ((*SAMPLED[:-1], str(2**64)), ("seed",)),
    ],
)
def test_sample_refuses(genpas: Run, saved: Path, tmp_path: Path, arguments: tuple[str, ...], named: tuple[str, ...]):
    count = () if "--count" in arguments else ("--count", 1)
    message = refusal(genpas("sample", saved, *count, *arguments, "--out", tmp_path / "pairs.parquet"))
    assert all(word in message for word in named)
    assert list(tmp_path.iterdir()) == []


def test_a_drawn_stream_has_the_same_pairs_however_many_are_asked_for(genpas: Run, saved: Path, tmp_path: Path):
    epoch = (*SAMPLED, "--pairs-per-epoch", 5000)
    for count in (5, 5000):
        assert genpas("sample", saved, *epoch, "--count", count, "--out", tmp_path / f"{count}.parquet").exit_code == 0
    few, many = (pq.read_table(tmp_path / f"{count}.parquet") for count in (5, 5000))
    assert many.slice(0, 5).equals(few)


def test_sample_says_of_strategies_what_the_configuration_says(genpas: Run, saved: Path, tmp_path: Path):
    with pytest.raises(genpas_plugins.InputError) as raised:
        GenPASConfig.from_mapping({"strategy": "windows"}, "command line")
    assert refusal(genpas("sample", saved, "--strategy", "windows", "--out", tmp_path / "x.parquet")) == str(
        raised.value
    )


def test_sample_replaces_a_file_only_when_asked(genpas: Run, saved: Path, tmp_path: Path):
    out = tmp_path / "pairs.parquet"
    out.write_text("mine")
    assert "exists already" in refusal(genpas("sample", saved, *SAMPLED, "--count", 3, "--out", out))
    assert out.read_text() == "mine"
    assert genpas("sample", saved, *SAMPLED, "--count", 3, "--out", out, "--overwrite").exit_code == 0
    assert pq.read_table(out).num_rows == 3


@pytest.mark.parametrize("name", ["pairs.txt", "pairs"])
def test_sample_refuses_other_formats(genpas: Run, saved: Path, tmp_path: Path, name: str):
    shown = refusal(genpas("sample", saved, *SAMPLED, "--count", 3, "--out", tmp_path / name))
    assert ".parquet, .jsonl, .csv" in shown


def test_sample_refuses_a_foreign_store(genpas: Run, tmp_path: Path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "header.json").write_text('{"magic": "zip", "version": 1}')
    message = refusal(genpas("sample", tmp_path / "store", *SAMPLED, "--out", tmp_path / "pairs.parquet"))
    assert "'zip'" in message and "header.json" in message
    assert [file.name for file in tmp_path.rglob("*")] == ["store", "header.json"]


def test_sample_refuses_a_store_without_training_pairs(genpas: Run, tmp_path: Path):
    SequenceStore.from_arrays([1, 2, 3], [0, 3]).save(tmp_path / "store")
    assert "No training pair" in refusal(
        genpas("sample", tmp_path / "store", *SAMPLED, "--out", tmp_path / "x.parquet")
    )


def test_sample_draws_from_the_training_part_alone(genpas: Run, saved: Path, tmp_path: Path):
    many = ("--pairs-per-epoch", 500, "--count", 500, "--out", tmp_path / "pairs.parquet")
    assert genpas("sample", saved, *SAMPLED, *many).exit_code == 0
    table = pq.read_table(tmp_path / "pairs.parquet")
    lengths = {user: len(items) for user, items in USERS.items()}
    for row in table.to_pylist():
        assert 0 <= row["start"] < row["target_position"] < lengths[row["user"]] - 2


# export-recbole -----------------------------------------------------------------------------------------------------


def test_export_is_read_back_to_the_same_sequences(genpas: Run, saved: Path, tmp_path: Path):
    result = genpas("export-recbole", saved, "--out", tmp_path / "data", "--json")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert shown["config"] == str(tmp_path / "data" / "letters" / "letters.yaml")
    assert genpas("prepare", shown["file"], "--column", "time", "--out", tmp_path / "again").exit_code == 0
    before, after = SequenceStore.open(saved), SequenceStore.open(tmp_path / "again")
    assert sequences(after) == sequences(before) == USERS
    assert after.columns["time"].tolist() == before.columns["timestamp"].tolist()


@pytest.mark.parametrize("folder", ["plain", "my d#a: 'ta'"])
def test_export_prints_a_command_line_that_trains_on_what_it_wrote(
    genpas: Run, saved: Path, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("recbole")
    configurator = pytest.importorskip("recbole_ext.genpas_key")
    out = tmp_path / folder
    line = json.loads(genpas("export-recbole", saved, "--out", out, "--json").stdout)["train"]
    assert line in genpas("export-recbole", saved, "--out", out, "--overwrite").stdout
    program, *arguments = shlex.split(line)
    assert program == "genpas"
    made: list[Any] = []

    def run(model: str, dataset: str, config_file_list: Any, config_dict: Any, **_: Any) -> None:
        made.append(configurator.Config(model, dataset, config_file_list, config_dict))

    monkeypatch.setattr("recbole.quick_start.quick_start.run", run)
    monkeypatch.setattr("sys.argv", ["genpas"])
    result = genpas(*arguments)
    assert result.exit_code == 0, result.stderr
    from recbole.data import create_dataset

    read = create_dataset(made[0])
    assert read.inter_num == sum(map(len, USERS.values())) and made[0]["genpas"].strategy == "multi_target"


def test_export_replaces_a_file_only_when_asked(genpas: Run, saved: Path, tmp_path: Path):
    assert genpas("export-recbole", saved, "--out", tmp_path).exit_code == 0
    shown = refusal(genpas("export-recbole", saved, "--out", tmp_path))
    assert "exists already" in shown and "--overwrite" in shown
    assert genpas("export-recbole", saved, "--out", tmp_path, "--overwrite").exit_code == 0
