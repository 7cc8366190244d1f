from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from genpas_plugins import InputError
from genpas_plugins.support.table_file import SUFFIXES, check_table_file, table_file

TABLE = pa.table({"user": ["a,b", 'c"d', ""], "number": [3, 1, 2], "history": [["x", "y z"], [], ["é"]]})


def read(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    if file.suffix == ".parquet":
        return parquet.read_table(file).to_pylist()
    return [{**row, "history": json.loads(row["history"])} for row in csv.read_csv(file).to_pylist()]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_is_read_back_in_the_order_of_its_pieces(suffix: str, tmp_path: Path):
    file = tmp_path / f"table{suffix}"
    with table_file(file, TABLE.schema) as write:
        write(TABLE.slice(0, 1))
        write(TABLE.slice(1))
    assert read(file) == TABLE.to_pylist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_no_file(suffix: str, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), table_file(tmp_path / f"table{suffix}", TABLE.schema) as write:
        write(TABLE)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_and_an_existing_file_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"must end with .*\.csv"):
        check_table_file(tmp_path / "table.xlsx", overwrite=True)
    (tmp_path / "table.csv").touch()
    check_table_file(tmp_path / "table.csv", overwrite=True)
    with pytest.raises(InputError, match="exists already"):
        check_table_file(tmp_path / "table.csv", overwrite=False)
