"""Random tables in every text form give what a reader in plain Python gives."""

from __future__ import annotations

import bz2
import gzip
import lzma
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.source import ReadOptions

zones = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1))
# A strategy of texts in a column, and how plain Python compares them.
TIMES: dict[str, tuple[Any, Any]] = {
    "int64": (st.integers(-(2**63), 2**63 - 1).map(str), int),
    "uint64": (st.integers(2**63, 2**64 - 1).map(str), int),
    "decimals": (
        st.decimals(-(10**18), 10**18, places=9, allow_nan=False, allow_infinity=False).map(lambda d: f"{d:f}"),
        Decimal,
    ),
    "floats": (st.floats(allow_nan=False, width=64).map(repr), float),
    "moments with zones": (
        st.builds(lambda moment, zone: moment.replace(tzinfo=UTC).astimezone(zone).isoformat(), moments, zones),
        datetime.fromisoformat,
    ),
    "moments": (
        st.builds(lambda moment, mark: moment.isoformat(sep=mark), moments, st.sampled_from("T ")),
        datetime.fromisoformat,
    ),
    "dates": (moments.map(lambda moment: moment.date().isoformat()), datetime.fromisoformat),
}
# mark between fields, suffix, and the characters that a field cannot hold; quoted fields can hold all
FORMS = {
    "csv": (",", ".csv"),
    "semicolon": (";", ".csv"),
    "tab": ("\t", ".tsv"),
    "colons": ("::", ".dat"),
    "bar": ("|", ".txt"),
}
COMPRESS = {
    "plain": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"], exclude_characters='":,;|\ufeff'),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_order_and_the_ids_are_exact(tmp_path_factory: pytest.TempPathFactory, form: str, kind: str, data: Any):
    mark, suffix = FORMS[form]
    texts, compared = TIMES[kind]
    quoted = mark in (",", ";", "|") and data.draw(st.booleans(), label="quoted")
    user = data.draw(st.sampled_from([st.integers(0, 3).map(str), words.map("u".__add__)]))
    item = words.map(f'i{mark}"'.__add__) if quoted else words.map("i".__add__)
    rows = data.draw(st.lists(st.tuples(user, item, texts), min_size=1, max_size=12))
    header = data.draw(st.booleans(), label="header")
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))

    def written(field: str) -> str:
        return '"' + field.replace('"', '""') + '"' if quoted else field

    lines = [mark.join(map(written, row)) for row in ([("user", "item", "t")] if header else []) + rows]
    content = (end.join(lines) + data.draw(st.sampled_from(["", end]))).encode(encoding)
    folder = tmp_path_factory.mktemp("t")
    source: Path = folder / f"t{suffix}"
    source.write_bytes(COMPRESS[data.draw(st.sampled_from(sorted(COMPRESS)))](content))
    options = ReadOptions(columns=() if header else ("user", "item", "t"))
    store = build_store(source, folder / "s", user="user", item="item", order="t", options=options, note=lambda _: None)

    expected: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: compared(row[2])):  # stable, as ties keep the order of the file
        expected.setdefault(row[0], []).append(row[1])
    table = store.to_arrow().to_pydict()
    found: dict[str, list[str]] = {}
    for one, other in zip(table["user_id"], table["item_id"], strict=True):
        found.setdefault(str(one), []).append(other)
    assert found == expected
