"""A damaged store or folder of semantic IDs is refused in one sentence. No flipped bit ends the process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.faults.bit_flips import CHECKED, STORE_COMMANDS, STORE_USES, campaign, warm
from benchmarks.faults.tiny import make_store
from genpas_plugins import InputError, Pairs, SequenceStore, gather_jagged, gather_padded

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

# Damage of one array: what the change does, and the file that the message names. Opening finds the first kinds.
OPENING = {
    "values of floats": ("values", lambda a: a.astype(np.float32)),
    "a lost value": ("values", lambda a: a[:-1]),
    "offsets that end early": ("offsets", lambda a: np.append(a[:-1], a[-1] - 1)),
    "offsets that begin late": ("offsets", lambda a: np.append(1, a[1:])),
    "counts that do not add up": ("lengths", lambda a: np.add(a, [[0], [1]])),
    "lengths that overflow": ("lengths", lambda a: a * 2**55),
    "lengths out of order": ("lengths", lambda a: a[:, ::-1]),
    "an index of too few rows": ("by_length", lambda a: a[1:]),
    "a short column": ("column.0", lambda a: a[1:]),
}
READING = {
    "an item of another catalogue": ("values", lambda a: np.where(np.arange(len(a)) == 2, 31, a)),
    "padding": ("values", lambda a: np.where(np.arange(len(a)) == 2, 0, a)),
    "a negative item": ("values", lambda a: np.where(np.arange(len(a)) == 2, -5, a)),
    "offsets that fall": ("offsets", lambda a: np.where(np.arange(len(a)) == np.diff(a).argmax(), 2**40, a)),
    "negative offsets": ("offsets", lambda a: np.where(np.arange(len(a)) == np.diff(a).argmax(), -(2**40), a)),
    "rows of no sequence": ("by_length", lambda a: a + 2**20),
    "rows in another order": ("by_length", lambda a: a[::-1]),
}


def damaged(folder: Path, file: str, change) -> Path:
    """Save a store, change one array, and write a header that fits."""
    from genpas_plugins.data.storage import STORE

    make_store(folder / "store")
    header = STORE.read(folder / "store")
    path = folder / "store" / f"{file}.npy"
    array = change(np.load(path))
    np.save(path, np.ascontiguousarray(array, array.dtype))
    (folder / "store" / "header.json").unlink()
    STORE.write(folder / "store", header)
    return folder / "store"


@pytest.mark.parametrize("fault", OPENING)
def test_opening_finds_what_counts_show(tmp_path: Path, fault: str):
    file, change = OPENING[fault]
    path = damaged(tmp_path, file, change)
    with pytest.raises(InputError, match=r"store is damaged \(.*\)\. Make the sequence store again with `genpas prep"):
        SequenceStore.open(path)


@pytest.mark.parametrize("use", ["numpy stream", "numba stream", "sample", "analyze", "search", "neighbours", "export"])
@pytest.mark.parametrize("fault", READING)
def test_reading_finds_the_rest(tmp_path: Path, fault: str, use: str):
    if (use == "sample" or "stream" in use) and fault in ("padding", "rows in another order"):
        pytest.skip("a batch reads no other rows to compare with")
    path = damaged(tmp_path, *READING[fault])
    with pytest.raises(InputError, match=r"is damaged|is not in the store"):
        STORE_USES[use](path)


@pytest.mark.parametrize("gather", [gather_padded, gather_jagged])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(
    "pair",
    [(2, 0, 1), (-1, 0, 1), (0, 0, 3), (0, 2, 1), (0, -1, 1), (0, 0, -1), (1, 0, 2**62), (2**40, 0, 1)],
)
def test_pairs_outside_the_store_are_refused_by_every_backend(gather, backend: str, pair: tuple[int, int, int]):
    pairs = Pairs(*(np.array([0, number]) for number in pair))
    pairs.target[0] = 2
    with pytest.raises(InputError, match=rf"Pair 1 \(sequence {pair[0]}, start {pair[1]}, target {pair[2]}\)"):
        gather(np.arange(5), np.array([0, 3, 5]), pairs, 4, backend=backend)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_longest_history_beyond_64_bits_is_refused(backend: str):
    pairs = Pairs(*(np.array([number]) for number in (0, 0, 2)))
    assert gather_jagged(np.arange(5), np.array([0, 3, 5]), pairs, 2**62, backend=backend).values.tolist() == [0, 1]
    with pytest.raises(InputError, match="max_length must be a whole number from 1 to"):
        gather_jagged(np.arange(5), np.array([0, 3, 5]), pairs, 2**80, backend=backend)


@pytest.mark.slow
def test_no_flipped_bit_ends_the_process_or_shows_a_traceback(tmp_path: Path):
    make_store(tmp_path / "store")
    uses = STORE_USES | {name: STORE_COMMANDS[name] for name in CHECKED if name in STORE_COMMANDS}
    warm(tmp_path / "store", uses, tmp_path)
    counts, failures = campaign(tmp_path / "store", uses, 2, 1, tmp_path)
    assert failures == []
    assert counts["refused"] > 50
