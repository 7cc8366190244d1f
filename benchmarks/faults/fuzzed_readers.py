"""Change files of nine formats at random, and prepare a store of each.

A trial fails if the process dies or hangs, or if an error is not one sentence. Run it with
`python -m benchmarks.faults.fuzzed_readers [TRIALS] [SEED]`.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.readers import read, reader_of
from genpas_plugins.data.source import AS_FOUND, usual_columns
from genpas_plugins.support.errors import InputError

Row = tuple[str, str, str, int]


def _text(mark: str, header: str | None, rows: list[Row]) -> bytes:
    lines = [header] if header is not None else []
    return ("\n".join([*lines, *(mark.join(map(str, row)) for row in rows)]) + "\n").encode()


def _parquet(rows: list[Row]) -> bytes:
    stream = io.BytesIO()
    pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row").write_parquet(stream)
    return stream.getvalue()


def _sequences(rows: list[Row]) -> bytes:
    return "".join(f"{n} {' '.join(row[1] for row in rows[n:])}\n" for n in range(len(rows))).encode()


_HEADER = "user_id,item_id,rating,timestamp"
_TYPED = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
FORMATS: dict[str, Callable[[list[Row]], bytes]] = {
    "t.csv": lambda rows: _text(",", _HEADER, rows) + b'1,"a ""b""\nc",3.5,9\n',
    "t.csv.gz": lambda rows: gzip.compress(_text(";", _HEADER.replace(",", ";"), rows)),
    "t.tsv": lambda rows: _text("\t", _HEADER.replace(",", "\t"), rows),
    "t.inter": lambda rows: _text("\t", _TYPED, rows),
    "t.json": lambda rows: b"".join(
        json.dumps(dict(zip(_HEADER.split(","), row, strict=True))).encode() + b"\n" for row in rows
    ),
    "t.parquet": _parquet,
    "ratings.dat": lambda rows: _text("::", None, rows),
    "u.data": lambda rows: _text("\t", None, rows),
    "sequential_data.txt": _sequences,
}
_PIECES = [
    b'"',
    b"'",
    b",",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"{",
    b"}",
    b"nan",
    b"1e400",
]
_PIECES += [b"-", b"9" * 40, "é".encode("latin-1"), "я".encode(), b"::", b"null", b"2014-13-45", b"\x1f\x8b"]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with one to three changes."""
    content = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        first = int(rng.integers(len(content) + 1))
        stop = min(len(content), first + int(rng.integers(1, 30)))
        kind = rng.integers(6)
        if kind == 0:
            content[first:first] = _PIECES[rng.integers(len(_PIECES))]
        elif kind == 1:
            del content[first:stop]
        elif kind == 2:
            content[first:first] = content[first:stop]
        elif kind == 3:
            del content[first:]
        elif kind == 4:
            content[first:stop] = rng.bytes(stop - first)
        else:
            lines = bytes(content).split(b"\n")
            rng.shuffle(lines)
            content = bytearray(b"\n".join(lines))
    return bytes(content)


def one_trial(folder: Path, name: str, seed: int) -> str:
    """Prepare one changed file; return "read", "refused" or "failed"."""
    rng = np.random.default_rng(seed)
    rows = [
        (str(rng.integers(5)), f"{rng.integers(9)}", f"{rng.integers(1, 6)}.5", int(t))
        for t in rng.integers(99, size=12)
    ]
    file = folder / name
    file.write_bytes(mutated(FORMATS[name](rows), rng))
    try:
        reader = reader_of(file)
        columns = read(file, reader.name, AS_FOUND).columns
        user, item, _ = usual_columns(columns)
        order = "timestamp" if "timestamp" in columns else None
        build_store(file, folder / "store", user=user, item=item, order=order, overwrite=True)
    except InputError as error:
        return "refused" if len(str(error).splitlines()) == 1 else "failed"
    except Exception:
        traceback.print_exc()
        return "failed"
    return "read"


def campaign(trials: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Run `trials` changes of every format; return how often each outcome came, and the failures."""
    logging.getLogger("genpas_plugins").setLevel(logging.ERROR)
    counts: Counter[str] = Counter()
    failures = []
    for name in FORMATS:
        for number in range(seed * trials, (seed + 1) * trials):
            outcome = one_trial(folder, name, number)
            counts[outcome] += 1
            if outcome == "failed":
                failures.append(f"{name} {number}")
    return counts, failures


def main(arguments: list[str]) -> int:
    """Run the campaign and print its outcome."""
    trials, seed = map(int, [*arguments, *["250", "0"][len(arguments) :]])
    with tempfile.TemporaryDirectory() as folder:
        counts, failures = campaign(trials, seed, Path(folder))
    print(*failures, sep="\n")
    print(f"trials {sum(counts.values())}, survived {counts['read'] + counts['refused']}, failed {len(failures)}")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
