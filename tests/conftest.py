"""For the tests of the core: small literal stores, random ragged ones, and the paper's formulas in plain loops."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from scipy import stats

from genpas_plugins import SamplingPolicy, SequenceStore
from tests.chain_law import choice

# Compiling a numba function on its first call takes longer than any deadline that would still tell something.
settings.register_profile("genpas", deadline=None, max_examples=40)
settings.load_profile("genpas")

Pair = tuple[int, int, int]  # (sequence, start, target), from 0
NAMED = ("last_target", "multi_target", "slide_window")

exponents = st.one_of(
    st.sampled_from([-math.inf, -1.0, 0.0, 1.0, 2.0, math.inf]),
    st.floats(-4, 4, allow_nan=False),
)
policies = st.one_of(
    st.sampled_from(NAMED).map(SamplingPolicy.named),
    st.builds(SamplingPolicy, exponents, exponents, exponents),
)


@st.composite
def ragged_stores(draw: st.DrawFn) -> SequenceStore:
    """Stores of 1 to 12 sequences of 0 to 9 items, one of them with at least two training items; a timestamp column."""
    lengths = draw(st.lists(st.integers(0, 9), max_size=11))
    lengths.insert(draw(st.integers(0, len(lengths))), draw(st.integers(4, 9)))
    n_items = draw(st.integers(1, 8))
    values = draw(st.lists(st.integers(1, n_items), min_size=sum(lengths), max_size=sum(lengths)))
    return SequenceStore.from_arrays(
        values,
        np.cumsum([0, *lengths]),
        n_items=n_items,
        columns={"timestamp": np.arange(len(values)) * 1.5},
    )


# `@given(store=st.from_type(SequenceStore))` works in every test file without importing this one.
st.register_type_strategy(SequenceStore, ragged_stores())
st.register_type_strategy(SamplingPolicy, policies)


@pytest.fixture(scope="session")
def store() -> SequenceStore:
    """Five users of 5, 2, 0, 7 and 4 items: training lengths 3, 0, 0, 5, 2."""
    return SequenceStore.from_arrays(
        [1, 2, 3, 4, 5, 6, 1, 2, 3, 1, 7, 8, 9, 4, 4, 4, 5, 6],
        [0, 5, 7, 7, 14, 18],
        n_items=9,
        columns={"timestamp": np.arange(18) * 10},
    )


@pytest.fixture(scope="session")
def medium() -> SequenceStore:
    """Forty users with 4 to 12 items each: enough different choices for a frequency test."""
    lengths = [4 + (7 * user) % 9 for user in range(40)]
    values = [1 + (11 * place) % 30 for place in range(sum(lengths))]
    return SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=30)


@pytest.fixture(params=["numpy", "numba"])
def backend(request: pytest.FixtureRequest) -> str:
    """Run the test once for each backend."""
    if request.param == "numba":
        pytest.importorskip("numba")
    return str(request.param)


@pytest.fixture(scope="session")
def enumerated() -> Callable[[str, Iterable[int]], list[Pair]]:
    """Return `enumerated(strategy, lengths)`: every pair of a named strategy, by plain loops over the definition."""

    def of_length(strategy: str, length: int) -> Iterator[tuple[int, int]]:
        for target in range(1, length):
            for start in range(target):
                whole, last = start == 0, target == length - 1
                if strategy == "slide_window" or (whole and (strategy == "multi_target" or last)):
                    yield start, target

    def pairs(strategy: str, lengths: Iterable[int]) -> list[Pair]:
        return [(s, start, target) for s, n in enumerate(lengths) for start, target in of_length(strategy, n)]

    return pairs


@pytest.fixture(scope="session")
def paper() -> Callable[[Sequence[int], float, float, float], dict[Pair, float]]:
    """Return `paper(lengths, alpha, beta, gamma)`: p(s) p(k | s) p(j | k, s) of every pair that has any mass."""

    def probabilities(lengths: Sequence[int], alpha: float, beta: float, gamma: float) -> dict[Pair, float]:
        table = {}
        drawable = [s for s, n in enumerate(lengths) if n >= 2]
        for s, p_s in zip(drawable, choice([lengths[s] - 1 for s in drawable], alpha), strict=True):
            targets = list(range(2, lengths[s] + 1))  # the paper's k
            for k, p_k in zip(targets, choice([k - 1 for k in targets], beta), strict=True):
                starts = list(range(1, k))  # the paper's j
                for j, p_j in zip(starts, choice(starts, gamma), strict=True):
                    if p_s * p_k * p_j > 0:
                        table[s, j - 1, k - 1] = p_s * p_k * p_j
        return table

    return probabilities


@pytest.fixture(scope="session")
def probabilities_of(enumerated, paper) -> Callable[[SamplingPolicy, Sequence[int]], dict[Pair, float]]:
    """Return `probabilities_of(policy, lengths)`: the brute-force distribution of any policy, named or sampled."""

    def of(policy: SamplingPolicy, lengths: Sequence[int]) -> dict[Pair, float]:
        if policy.strategy == "sampled":
            return paper(list(lengths), policy.alpha, policy.beta, policy.gamma)
        pairs = enumerated(policy.strategy, lengths)
        return {pair: 1 / len(pairs) for pair in pairs}

    return of


@pytest.fixture(scope="session")
def p_value() -> Callable[[dict[Pair, int], dict[Pair, float]], float]:
    """Return `p_value(counts, probabilities)`: Pearson's chi-square, 0 where something impossible was counted.

    Choices expected fewer than ten times are taken together.
    """

    def of(counts: dict[Pair, int], probabilities: dict[Pair, float]) -> float:
        if counts.keys() - probabilities.keys():
            return 0.0
        n = sum(counts.values())
        cells = [(counts.get(pair, 0), n * p) for pair, p in probabilities.items() if n * p >= 10]
        rest = [(counts.get(pair, 0), n * p) for pair, p in probabilities.items() if n * p < 10]
        if sum(expected for _, expected in rest) >= 10:
            cells.append((sum(seen for seen, _ in rest), sum(expected for _, expected in rest)))
        freedom = len(cells) - 1
        if freedom == 0:
            return 1.0
        statistic = sum((seen - expected) ** 2 / expected for seen, expected in cells)
        return float(stats.chi2.sf(statistic, freedom))

    return of


@pytest.fixture(scope="session")
def on_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[dict[str, Any]]]:
    """Return `on_stand_in(script, *arguments)`: the JSON lines of a script that uses tests/device/stand_in.py."""
    pytest.importorskip("torch")
    if shutil.which("g++") is None:
        pytest.skip("the stand-in for a GPU is compiled with g++")
    device = Path(__file__).with_name("device")
    library = tmp_path_factory.mktemp("device") / "stand_in.so"
    folder = tmp_path_factory.mktemp("on_device")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(device.parents[1]), str(device)]),
    }

    def python(*arguments: str, **more: str) -> str:
        command = [sys.executable, "-W", "ignore", *arguments]
        done = subprocess.run(
            command, cwd=folder, env={**environment, **more}, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def lines(script: Path, *arguments: str) -> list[dict[str, Any]]:
        if not library.exists():
            python(str(device / "stand_in.py"), str(library))
        said = python(str(script), *arguments, GENPAS_STAND_IN_DEVICE=str(library))
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    return lines


@pytest.fixture(scope="session")
def check_on_device() -> Callable[..., None]:
    """Return `check(line, waits, copies, kernels, tolerance=1e-5)`: a step is the CPU's and stays within its budget."""

    def check(
        line: dict[str, Any], waits: dict[str, int], copies: int, kernels: int, *, tolerance: float = 1e-5
    ) -> None:
        on_device, on_cpu = line["losses"]
        assert on_device == pytest.approx(on_cpu, rel=tolerance)
        assert line["gradients"] <= tolerance
        by_function: Counter[str] = Counter()
        for place, count in line["waits"].items():
            by_function[place.rsplit(":", 1)[0]] += count
        assert all(count <= waits.get(function, 0) for function, count in by_function.items()), line["waits"]
        assert sum(line["copies"].values()) <= copies, line["copies"]
        assert line["kernels"] <= kernels

    return check


@pytest.fixture(scope="session")
def published_data() -> Callable[[str], SequenceStore]:
    """Return `published_data(name)`: a data set of the papers, from $GENPAS_DATA_DIR; skips where that is not set."""
    folder = os.environ.get("GENPAS_DATA_DIR")
    if not folder:
        pytest.skip("set GENPAS_DATA_DIR to the folder that holds beauty/interactions.parquet and its like")
    polars = pytest.importorskip("polars")

    @cache
    def of(name: str) -> SequenceStore:
        frame = polars.read_parquet(Path(folder) / name / "interactions.parquet").sort("user_id", "position")
        users, counts = np.unique(frame["user_id"].to_numpy(), return_counts=True)
        items, numbers = np.unique(frame["item_id"].to_numpy(), return_inverse=True)
        offsets = np.cumsum([0, *counts])
        return SequenceStore.from_arrays(numbers + 1, offsets, n_items=len(items), user_ids=users, item_ids=items)

    return of
