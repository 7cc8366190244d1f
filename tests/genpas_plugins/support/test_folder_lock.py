"""A folder is held by one process at a time, and free once that has ended, however it ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genpas_plugins import InputError
from genpas_plugins.support.folder_lock import LOCK, lock_folder

HOLDER = """
import sys
from pathlib import Path
from genpas_plugins.support.folder_lock import lock_folder

with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"one: another run is at work .* another --out"), lock_folder(folder):
            pass
        holder.kill()
    with lock_folder(folder):
        assert [entry.name for entry in folder.iterdir()] == [LOCK]


@pytest.mark.parametrize("below", ["file", "file/folder"])
def test_a_file_in_its_place_is_one_sentence(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=rf"{below} cannot be used as a folder .* another --out"),
        lock_folder(tmp_path / below),
    ):
        pass


def test_a_process_that_ends_in_time_is_waited_for(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdin is not None and holder.stdout.readline() == "held\n"
        holder.stdin.close()  # it ends, sooner or later
        with lock_folder(tmp_path, wait=60):
            pass


def test_an_error_in_the_block_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="of the block"), lock_folder(tmp_path):
        raise RuntimeError("of the block")
    with lock_folder(tmp_path):
        pass
