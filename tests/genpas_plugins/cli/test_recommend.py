"""`genpas recommend`: its options reach the adapter, its figures stdout."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from genpas_plugins.cli import app

pytest.importorskip("recbole")


class Written(NamedTuple):
    users: int
    skipped: int
    rows: int


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for recbole_ext.recommend; hold what it was called with."""
    calls: dict[str, Any] = {}

    def run(checkpoint: Path, out: Path, *, progress: Any, **given: Any) -> Written:
        progress(1, 2)
        calls.update(checkpoint=checkpoint, out=out, **given)
        print("RecBole prints this")
        return Written(users=1234, skipped=5, rows=12340)

    monkeypatch.setattr("recbole_ext.recommend.recommend", run)
    return calls


def genpas(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["recommend", *map(str, arguments)])


def test_options_reach_the_adapter(seen: dict[str, Any], tmp_path: Path):
    file = tmp_path / "users.txt"
    file.write_text("u3\n\n u4 \n")
    options = ("--user", "u1", "--user", "u2", "--users", file, "--top-k", 5, "--batch-size", 7, "--device", "cpu")
    done = genpas("--checkpoint", "m.pth", "--out", "r.parquet", *options, "--exclude-history", "--overwrite")
    assert done.exit_code == 0, done.stderr
    assert seen == {
        "checkpoint": Path("m.pth"),
        "out": Path("r.parquet"),
        "users": ["u1", "u2", "u3", "u4"],
        "part": (1, 1),
        "top_k": 5,
        "batch_size": 7,
        "exclude_history": True,
        "device": "cpu",
        "overwrite": True,
    }
    assert "1,234" in done.stdout and "12,340" in done.stdout


def test_all_users_are_the_default_and_json_is_all_there_is_on_stdout(seen: dict[str, Any]):
    done = genpas("--checkpoint", "m.pth", "--out", "r.parquet", "--json")
    assert json.loads(done.stdout) == {
        "out": "r.parquet",
        "top_k": 10,
        "exclude_history": False,
        "users": 1234,
        "skipped": 5,
        "rows": 12340,
    }
    assert seen["users"] is None and "RecBole prints this" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "names no user"), (b"\n \n", "names no user"), (b"\xff\xfeu", "not text in UTF-8"), (None, "No such file")],
)
def test_a_file_of_users_that_names_none_is_one_sentence(
    seen: dict[str, Any], content: bytes | None, message: str, tmp_path: Path
):
    file = tmp_path / "users.txt"
    if content is not None:
        file.write_bytes(content)
    done = genpas("--checkpoint", "m.pth", "--out", "r.parquet", "--users", file)
    assert (done.exit_code, done.stdout, seen) == (2, "", {})
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_without_recbole_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = genpas("--checkpoint", "m.pth", "--out", "r.parquet")
    assert done.exit_code == 2 and "pip install --no-deps recbole==1.2.1" in done.stderr


def test_a_missing_checkpoint_is_one_sentence(tmp_path: Path):
    pytest.importorskip("recbole")
    pytest.importorskip("recbole_ext")
    done = genpas("--checkpoint", tmp_path / "no.pth", "--out", tmp_path / "r.parquet")
    assert done.exit_code == 2 and "no checkpoint to load" in done.stderr
