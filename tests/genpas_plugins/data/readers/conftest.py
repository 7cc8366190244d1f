from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

Row = tuple[Any, Any, Any, float]


def write_csv(file: Path, rows: list[Row], separator: str = ",") -> None:
    lines = [separator.join(("user", "item", "time", "rating")), *(separator.join(map(str, row)) for row in rows)]
    text = "\n".join(lines) + "\n"
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())


def write_parquet(file: Path, rows: list[Row]) -> None:
    pl.DataFrame(rows, schema=["user", "item", "time", "rating"], orient="row").write_parquet(file, row_group_size=2)


def write_inter(file: Path, rows: list[Row]) -> None:
    write_csv(file, rows, "\t")
    header, _, body = file.read_text().partition("\n")
    types = ("token", "token", "float", "float")
    file.write_text("\t".join(map(":".join, zip(header.split("\t"), types, strict=True))) + "\n" + body)


def write_reviews(file: Path, rows: list[Row]) -> None:
    names = ("reviewerID", "asin", "unixReviewTime", "overall")
    lines = [
        json.dumps({**dict(zip(names, row, strict=True)), "reviewText": "it's “good”", "helpful": [0, 1]})
        for row in rows
    ]
    text = "\n".join(lines) + "\n"
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())


def write_dat(file: Path, rows: list[Row]) -> None:
    file.write_text("".join("::".join(map(str, row)) + "\n" for row in rows))


def write_u_data(file: Path, rows: list[Row]) -> None:
    file.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))


def write_ratings_csv(file: Path, rows: list[Row]) -> None:
    file.write_text("userId,movieId,rating,timestamp\n" + "".join(f"{u},{i},{r},{t}\n" for u, i, t, r in rows))


PLAIN = {"user": "user", "item": "item", "order": "time", "columns": ["rating"]}
MOVIELENS = {"user": "userId", "item": "movieId", "order": "timestamp", "columns": ["rating"]}
AMAZON = {"user": "reviewerID", "item": "asin", "order": "unixReviewTime", "columns": ["overall"]}

# file name → its reader, how to write it, and `build_store`'s options. The fields of .dat and u.data are user, item,
# rating, time.
FILES: dict[str, tuple[str, Callable[[Path, list[Row]], None], dict[str, Any]]] = {
    "t.parquet": ("parquet", write_parquet, PLAIN),
    "t.csv": ("csv", write_csv, PLAIN),
    "t.csv.gz": ("csv", write_csv, PLAIN),
    "t.tsv": ("csv", lambda file, rows: write_csv(file, rows, "\t"), PLAIN),
    "semicolons.csv": ("csv", lambda file, rows: write_csv(file, rows, ";"), PLAIN),
    "t.inter": ("recbole", write_inter, PLAIN),
    "t.json": ("json", write_reviews, AMAZON),
    "t.jsonl.gz": ("json", write_reviews, AMAZON),
    "ratings.dat": ("movielens", lambda file, rows: write_dat(file, [(u, i, r, t) for u, i, t, r in rows]), MOVIELENS),
    "u.data": ("movielens", lambda file, rows: write_u_data(file, [(u, i, r, t) for u, i, t, r in rows]), MOVIELENS),
    "ratings.csv": ("movielens", write_ratings_csv, MOVIELENS),
    "any name.csv": ("movielens", write_ratings_csv, MOVIELENS),
}


def write_sequences(file: Path, rows: list[Row]) -> None:
    lines: dict[str, list[str]] = {}
    for user, item, _, _ in rows:
        lines.setdefault(str(user), []).append(str(item))
    file.write_text("".join(f"{user} {' '.join(items)}\n" for user, items in lines.items()))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, list[Row]], tuple[Path, dict[str, Any]]]:
    """Write rows (user, item, time, rating) under a name of `FILES`; return the file and `build_store`'s options."""

    def write_named(name: str, rows: list[Row]) -> tuple[Path, dict[str, Any]]:
        _, writer, options = FILES[name]
        writer(tmp_path / name, rows)
        return tmp_path / name, options

    return write_named


@pytest.fixture
def readers() -> dict[str, str]:
    """The reader of each file that `write` writes."""
    return {name: reader for name, (reader, _, _) in FILES.items()}


@pytest.fixture(params=FILES)
def file_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)
