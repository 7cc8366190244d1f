"""Run every command that writes with its output on a disk that is too small.

A trial fails if the process dies, if the error is not one sentence, or if the disk holds half an output afterwards. The
disk is a tmpfs, which takes the right to mount. Run it as root, or unprivileged with
`unshare -Urm python -m benchmarks.faults.full_disks [TRIALS] [SEED]`: TRIALS sizes of the disk a command.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.faults.children import REFUSED, USED, contents, genpas, outcomes, report, torchrec_train
from benchmarks.faults.tiny import make_store, write_csv, write_settings, write_sharded_settings

_PAGE = 4096
Use = Callable[[Path], object]


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a disk of `size` bytes at `folder`, which is also the place of temporary files."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _in_temporary_files_of(folder: Path, use: Use) -> None:
    tempfile.tempdir = str(folder)
    use(folder)


def uses(folder: Path) -> dict[str, Use]:
    """Return the commands by name; the inputs are in `folder`, the outputs in the folder that they are called with."""
    write_csv(folder / "log.csv", 20_000)
    (folder / "utf16.csv").write_text((folder / "log.csv").read_text(), encoding="utf-16")
    make_store(folder / "store")
    (folder / "data").mkdir()
    settings = write_settings(folder / "data")
    sharded = write_sharded_settings(settings, epochs=1)
    train = ("train", "--model", "SASRec", "--dataset", "tiny", "--config", settings, "epochs=1")
    genpas(*train, f"checkpoint_dir={folder / 'saved'}")
    checkpoint = next((folder / "saved").glob("*.pth"))
    store = folder / "store"

    def on(*arguments: object) -> Use:
        return lambda out: genpas(*(str(argument).replace("OUT", str(out)) for argument in arguments))

    return {
        "prepare": on("prepare", folder / "log.csv", "--out", "OUT/store"),
        "prepare, a copy of the text": on("prepare", folder / "utf16.csv", "--out", folder / "copied", "--overwrite"),
        "sample": on("sample", store, "--strategy", "multi_target", "--out", "OUT/pairs.csv"),
        "sample to parquet": on("sample", store, "--strategy", "multi_target", "--out", "OUT/pairs.parquet"),
        "analyze": on("analyze", store, "--out", "OUT/analysis"),
        "search": on("search", store, "--out", "OUT/search", "--alpha", "0,1", "--beta", 0, "--gamma", 0),
        "semantic-ids": on("semantic-ids", store, "--collaborative", "--levels", 2, "--codes", 4, "--out", "OUT/ids"),
        "regenerate": on("regenerate", store, "--epochs", 1, "--dimension", 8, "--memories", 1, "--out", "OUT/more"),
        "export-recbole": on("export-recbole", store, "--out", "OUT/exported"),
        "train": on(*train, "checkpoint_dir=OUT/saved"),
        "recommend": on("recommend", "--checkpoint", checkpoint, "--out", "OUT/top.csv"),
        "torchrec_ext.train": lambda out: torchrec_train("--config", sharded, "--out", out / "run"),
    }


_GOES_ON = ("search", "regenerate", "semantic-ids", "train", "torchrec_ext.train")
"""Commands whose folder keeps what is finished, as semantic IDs whose page does not fit."""


def campaign(uses: dict[str, Use], trials: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Run every command on `trials` disks; return how often each outcome came, and the failures."""
    counts: Counter[str] = Counter()
    failures = []
    rng = np.random.default_rng(seed)
    for name, use in uses.items():
        with small_disk(folder / "disk", 1 << 30) as disk:
            outcome = outcomes({name: partial(_in_temporary_files_of, disk, use)})[name]
            needed = sum(-(-len(content) // _PAGE) * _PAGE for content in contents(disk).values()) or 1 << 19
        if outcome != USED:
            failures.append(f"{name} with a large disk: {outcome}")
        for pages in rng.integers(1, max(2, needed // _PAGE), size=trials).tolist():
            with small_disk(folder / "disk", pages * _PAGE) as disk:
                outcome = outcomes({name: partial(_in_temporary_files_of, disk, use)})[name]
                counts[outcome] += 1
                left = list(contents(disk)) if outcome == REFUSED and name not in _GOES_ON else []
            if outcome in ("crash", "traceback") or left:
                failures.append(f"{name}, {pages} of {needed // _PAGE} pages: {outcome} {' '.join(left)}")
        print(f"{name}: {needed:,} bytes", flush=True)
    return counts, failures


def main(arguments: list[str]) -> int:
    """Run the campaign and print its outcome."""
    trials, seed = map(int, [*arguments, *["10", "0"][len(arguments) :]])
    sys.argv[1:] = []  # RecBole reads it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)  # RecBole writes into the working folder
        return report(*campaign(uses(folder), trials, seed, folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
