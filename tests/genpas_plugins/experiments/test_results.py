"""The files of finished cells: all committed ones are read, none is lost, and the tables are made from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from genpas_plugins import InputError
from genpas_plugins.experiments.report import write_report
from genpas_plugins.experiments.results import Cells, read_cell
from genpas_plugins.experiments.table import read_table
from genpas_plugins.support.json_text import as_json_value

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results"
CELLS = sorted(RESULTS.glob("**/cells/**/*.json"))
EXPERIMENTS = sorted((ROOT / "configs" / "experiment").glob("*.yaml"))
TABLES = [file for file in EXPERIMENTS if (RESULTS / file.stem / "table.json").is_file()]  # one may not be run yet


def name(file: Path) -> str:
    return file.relative_to(RESULTS).as_posix()


def test_no_committed_cell_is_lost():
    assert len(CELLS) >= 95


@pytest.mark.parametrize("file", CELLS, ids=name)
def test_a_committed_cell_is_read_whole(file: Path):
    content = json.loads(file.read_text(encoding="utf-8"))
    configuration, cell = read_cell(file)
    result = content["result"]
    assert cell.run.validation == result["validation"] == max(point.validation for point in cell.run.curve)
    assert (cell.run.pairs_seen, cell.run.seconds) == (result["pairs_seen"], result["seconds"])
    assert as_json_value(cell.run.trained_on) == result["trained_on"]
    assert (cell.tested is not None) == ("test" in result)
    if cell.tested is not None:
        assert cell.tested.test == result["test"] and cell.tested.groups == result.get("groups", {})
        assert set(cell.tested.test) <= {"masked", "unmasked"}
    assert configuration["seed"] == int(file.stem.rpartition("seed")[2])


@pytest.mark.parametrize("file", TABLES, ids=lambda file: file.stem)
def test_the_committed_tables_are_made_from_the_committed_cells(file: Path, tmp_path: Path):
    committed = RESULTS / file.stem
    (tmp_path / "cells").symlink_to(committed / "cells")
    for plot in committed.glob("*.svg"):
        (tmp_path / plot.name).touch()
    write_report(read_table(file), [], (1, 2, 3), tmp_path)
    for written in ("table.json", "table.md"):
        assert (tmp_path / written).read_text(encoding="utf-8") == (committed / written).read_text(encoding="utf-8")


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    """Return the cells of the committed table `budget`, copied."""
    source = RESULTS / "budget" / "cells" / "beauty"
    folder = tmp_path / "beauty"
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return Cells.in_folder(read_table(ROOT / "configs" / "experiment" / "budget.yaml"), folder, (1,))


def test_what_is_kept_is_read_back(cells: Cells):
    cell = cells.plan.rows[0].cell(1, ())
    before = cells.get(cell)
    assert before is not None and before.tested is not None
    cells.put(cell, before)
    assert cells.get(cell) == before


def test_a_cell_of_other_settings_is_refused(cells: Cells):
    plan, cell = cells.plan, cells.plan.rows[0].cell(1, ())
    for changes, told in (
        ({"store": "other"}, "the store has other content"),
        ({"epochs": 24}, "epochs was 48 and is 24 now"),
        ({"store": "other", "pairs_per_epoch": 9}, "the store has other content; pairs_per_epoch was 131413 and is 9"),
    ):
        with pytest.raises(InputError, match=f"was trained otherwise: {told}"):
            Cells(replace(plan, **changes), cells.folder).get(cell)
    table = plan.table.replaced(settings={**plan.table.settings, "n_heads": 1})
    with pytest.raises(InputError, match=r"settings\.n_heads was '2' and is '1' now"):
        Cells.in_folder(table, cells.folder, (1,)).get(cell)
    (cells.folder / f"{cell.name}.json").write_text("{}")
    with pytest.raises(InputError, match="is not the file of a cell"):
        cells.get(cell)


def test_a_data_set_of_other_settings_is_left_out_of_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "cells").symlink_to(RESULTS / "sasrec" / "cells")
    table = read_table(ROOT / "configs" / "experiment" / "sasrec.yaml")
    assert list(write_report(table, [], (1,), tmp_path)[1]) == ["beauty", "toys"]
    other = table.replaced(settings={**table.settings, "n_heads": 1})
    assert list(write_report(other, [], (1,), tmp_path)[1]) == []
    assert "leaves out beauty" in capsys.readouterr().err
    more = table.replaced(rows=(*table.rows, "0,2,-inf"))  # a new row is not run, the others stay
    _, sections = write_report(more, [], (1,), tmp_path)
    assert [bool(row.tested) for row in sections["toys"]] == [True] * 5 + [False]
