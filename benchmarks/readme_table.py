"""Write the table of `make experiment` into the page of results: python -m benchmarks.readme_table.

The figures come from benchmarks/results/sasrec/table.json; a test holds that the page has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genpas_plugins.experiments.report import table_lines
from genpas_plugins.support.atomic import replace_file
from genpas_plugins.support.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULT = ROOT / "docs" / "explanation" / "results.md", ROOT / "benchmarks" / "results" / "sasrec" / "table.json"
BEGIN, END = "<!-- Written by `python -m benchmarks.readme_table`; do not edit. -->\n", "<!-- end -->"
METRICS = ("NDCG@10", "Recall@10")


def with_table(readme: str, result: Mapping[str, Any]) -> str:
    """Return the page with the result's table between the two marks.

    Raises InputError unless BEGIN and END are there once each, in this order.
    """
    for mark in (BEGIN, END):
        if readme.count(mark) != 1:
            raise InputError(
                f"The page has the mark {mark.strip()!r} {readme.count(mark)} times; it must have it once."
            )
    before, _, rest = readme.partition(BEGIN)
    if END not in rest:
        raise InputError(f"The page has the mark {END!r} before {BEGIN.strip()!r}; put it behind the table.")
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n" + "\n".join(table_lines([*lines(result)])) + f"\n\n{END}{after}"


def lines(result: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the head and a line with NDCG@10 / Recall@10 for every row that was run."""
    yield [f"test NDCG@10 / Recall@10, {result['model']}", "seeds", "history masked", "published", "not masked"]
    for dataset, rows in result["datasets"].items():
        for row in rows:
            figures = row["figures"]
            if figures[f"masked {METRICS[0]}"] is None:
                continue
            published = [figures.get(f"published {metric}") for metric in METRICS]
            yield [
                f"{dataset}, {row['method']}",
                str(len(row["seeds"])),
                _pair([figures[f"masked {metric}"]["mean"] for metric in METRICS]),
                "–" if None in published else _pair(published),
                _pair([figures[f"unmasked {metric}"]["mean"] for metric in METRICS]),
            ]


def _pair(figures: list[float]) -> str:
    return " / ".join(f"{figure:.4f}".removeprefix("0") for figure in figures)


if __name__ == "__main__":
    text = with_table(PAGE.read_text(encoding="utf-8"), json.loads(RESULT.read_text(encoding="utf-8")))
    with replace_file(PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8")
