"""Flip one bit of one file, and use the file in every way: by the library and by every command that reads it.

A trial fails if the process dies, if an error is not one sentence, or if a use that compares checksums sees no damage.
Run it with `python -m benchmarks.faults.bit_flips [TRIALS] [SEED]`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.faults.children import USED, genpas, outcomes, report, torchrec_train
from benchmarks.faults.tiny import make_semantic_ids, make_store, write_settings, write_sharded_settings
from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.analysis.measures import analyze
from genpas_plugins.augment.neighbours import nearest_items
from genpas_plugins.data.recbole_files import export_recbole
from genpas_plugins.data.store_summary import summarize_store
from genpas_plugins.sampling.pairs_table import pair_tables
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.search.criteria import Criteria
from genpas_plugins.semantic_ids.codebook import SemanticIds

Use = Callable[[Path], object]

_LENGTH = 10
_POLICIES = [SamplingPolicy(0.5, 1, 0), SamplingPolicy.named("slide_window")]


def _stream(path: Path, backend: str) -> None:
    view = SequenceStore.open(path).leave_last_out().train
    for policy in _POLICIES:
        pairs = pair_stream(view, policy, seed=1, backend=backend)
        windows = window_stream(view, policy, max_length=_LENGTH, seed=1, backend=backend)
        for stream in (pairs, windows):
            batch = stream.batch(0, np.arange(stream.size), _LENGTH)
            batch.histories.padded(_LENGTH)
            batch.histories.jagged()
            batch.histories.padded_column(view.store.columns["timestamp"], _LENGTH)


def _ids(path: Path) -> None:
    store = SequenceStore.open(path)
    assert store.user_ids is not None
    store.user_rows(store.user_ids)
    store.item_numbers(np.arange(30) + 100)


def _sample(path: Path) -> None:
    stream = pair_stream(SequenceStore.open(path).leave_last_out().train, _POLICIES[0], seed=1)
    for table in pair_tables(stream, epoch=0, first=0, count=stream.size):
        table.to_pylist()


def _criteria(path: Path) -> None:
    split = SequenceStore.open(path).leave_last_out()
    Criteria.of(split.train, split.validation).divergence(_POLICIES[0])


STORE_USES: dict[str, Use] = {
    "summary": summarize_store,
    "numpy stream": lambda path: _stream(path, "numpy"),
    "numba stream": lambda path: _stream(path, "numba"),
    "ids": _ids,
    "sample": _sample,
    "analyze": lambda path: analyze(SequenceStore.open(path).leave_last_out(), _POLICIES, threads=1),
    "search": _criteria,
    "neighbours": lambda path: nearest_items(SequenceStore.open(path).view()),
    "export": lambda path: export_recbole(SequenceStore.open(path), path.parent / "export", "data", overwrite=True),
}


def _command(*arguments: object, path: Path) -> None:
    """Run a command on the folder `path`; "PATH" is the folder and "OUT/…" a file of its own beside it."""
    given = [str(argument).replace("PATH", str(path)).replace("OUT", str(path.parent)) for argument in arguments]
    genpas(*given)


def _append(path: Path) -> None:
    more = path.parent / "more.csv"
    more.write_text("user_id,item_id,timestamp,price\nu1,100,100000,1\nnew,999,100001,2\n")
    genpas("append", path, more, "--order", "timestamp")


_TRAIN = ("train", "--model", "SASRec", "--dataset", "tiny", "--config", "PATH/settings.yaml", "data_path=PATH")
_TRAIN += ("epochs=1", "checkpoint_dir=OUT/saved")
STORE_COMMANDS: dict[str, Use] = {
    name: partial(_command, *arguments)
    for name, arguments in {
        "genpas inspect": ("inspect", "PATH"),
        "genpas inspect --verify": ("inspect", "PATH", "--verify"),
        "genpas sample": ("sample", "PATH", "--out", "OUT/pairs.csv", "--strategy", "multi_target"),
        "genpas analyze": ("analyze", "PATH", "--out", "OUT/analysis"),
        "genpas search": ("search", "PATH", "--out", "OUT/search", "--alpha", "0,1", "--beta", 0, "--gamma", 0),
        "genpas semantic-ids": (
            *("semantic-ids", "PATH", "--collaborative", "--levels", 2, "--codes", 4, "--out", "OUT/ids"),
        ),
        "genpas regenerate": (
            *("regenerate", "PATH", "--epochs", 1, "--dimension", 8, "--memories", 1, "--out", "OUT/regenerated"),
        ),
        "genpas export-recbole": ("export-recbole", "PATH", "--out", "OUT/exported"),
        "genpas experiment": (
            *("experiment", "--stores", "PATH", "--methods", "multi_target", "--pairs", 32),
            *("--pairs-per-epoch", 32),
            *("--config", "OUT/../experiment.yaml", "--out", "OUT/experiment"),
        ),
    }.items()
} | {"genpas append": _append}
ID_USES: dict[str, Use] = {"semantic IDs": SemanticIds.open}
CHECKPOINT_COMMANDS: dict[str, Use] = {
    "genpas recommend": partial(
        _command, "recommend", "--checkpoint", "PATH/model.pth", "--out", "OUT/top.csv", "--top-k", 3
    ),
    "genpas semantic-ids --checkpoint": partial(
        *(_command, "semantic-ids", "OUT/../items", "--checkpoint", "PATH/model.pth", "--levels", 2, "--codes", 4),
        *("--out", "OUT/ids"),
    ),
    "genpas export": partial(_command, "export", "PATH/model.pth", "--out", "OUT/exported"),
}
TRAIN_COMMANDS: dict[str, Use] = {
    "genpas train": partial(_command, *_TRAIN),
    "torchrec_ext.train": lambda path: torchrec_train(
        "--config", path / "torchrec.yaml", "--out", path.parent / "run", f"data_path={path}", "epochs=1"
    ),
}
CHECKED = ("genpas inspect --verify", "semantic IDs")
"""Uses that compare checksums: any change is seen."""


def flip(file: Path, bit: int) -> None:
    """Invert one bit of a file."""
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def campaign(whole: Path, uses: dict[str, Use], trials: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Flip `trials` bits in every file of `whole`; return how often each outcome came, and the failures."""
    counts: Counter[str] = Counter()
    failures = []
    rng = np.random.default_rng(seed)
    for file in sorted(file for file in whole.rglob("*") if file.is_file()):
        for bit in rng.integers(8 * file.stat().st_size, size=trials).tolist():
            damaged = folder / "trial" / whole.name
            shutil.copytree(whole, damaged)
            flip(damaged / file.relative_to(whole), bit)
            for name, outcome in outcomes({name: partial(use, path=damaged) for name, use in uses.items()}).items():
                counts[outcome] += 1
                if outcome in ("crash", "traceback") or (outcome == USED and name in CHECKED):
                    failures.append(f"{file.name} bit {bit}: {outcome} in {name}")
            shutil.rmtree(damaged.parent)
    return counts, failures


def warm(whole: Path, uses: dict[str, Use], folder: Path) -> None:
    """Use the undamaged folder once: modules are loaded and kernels compiled before the processes fork."""
    copied = folder / "trial" / whole.name
    shutil.copytree(whole, copied)
    for use in uses.values():
        use(path=copied)  # type: ignore[call-arg]
    shutil.rmtree(copied.parent)


def main(arguments: list[str]) -> int:
    """Run the campaign and print its outcome."""
    trials, seed = map(int, [*arguments, *["40", "0"][len(arguments) :]])
    sys.argv[1:] = []  # RecBole reads it
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)  # RecBole writes into the working folder
        for part in ("training", "checkpoint"):
            (folder / part).mkdir()
        make_store(folder / "store")
        make_semantic_ids(folder / "ids")
        write_sharded_settings(write_settings(folder / "training"))
        _command(*_TRAIN, path=folder / "training")
        _command("prepare", "PATH/tiny/tiny.inter", "--out", "OUT/items", path=folder / "training")
        kept = ("n_layers", "n_heads", "hidden_size", "inner_size", "train_batch_size", "eval_batch_size", "epochs")
        given = json.loads((folder / "training" / "settings.yaml").read_text())
        (folder / "experiment.yaml").write_text(json.dumps({name: given[name] for name in kept}))
        next((folder / "saved").glob("*.pth")).rename(folder / "checkpoint" / "model.pth")
        parts: dict[str, dict[str, Use]] = {
            "store": STORE_USES | STORE_COMMANDS,
            "ids": ID_USES,
            "checkpoint": CHECKPOINT_COMMANDS,
            "training": TRAIN_COMMANDS,
        }
        for part, uses in parts.items():
            warm(folder / part, uses, folder)
            some, failed = campaign(folder / part, uses, trials, seed, folder)
            print(f"{part}: {dict(some)}", flush=True)
            counts += some
            failures += failed
    return report(counts, failures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
