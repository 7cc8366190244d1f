"""Kill a command at a random time, run it again, and compare what is there with a run that was not killed.

A trial fails if the second run fails, if its result differs in one bit, or if files of the killed run are left. Run it
with `python -m benchmarks.faults.kills [TRIALS] [SEED]`: TRIALS kills of `prepare`, half as many of each training.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.children import USED, contents, genpas, killed, outcomes, report, torchrec_train
from benchmarks.faults.tiny import write_csv, write_settings, write_sharded_settings

_ROWS = 200_000
Result = dict[str, Any]


def prepare(source: Path, out: Path) -> None:
    """Prepare the store `out/store`, also in place of a whole one."""
    genpas("prepare", source, "--out", out / "store", "--overwrite")


def train_recbole(settings: Path, out: Path) -> None:
    """Train with RecBole's trainer, from its newest checkpoint in `out` if there is one; write the weights' sums."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    import recbole_ext  # noqa: F401 – registers

    config = Config("SASRec", "tiny", config_file_list=[str(settings)], config_dict={"checkpoint_dir": str(out)})
    init_seed(config["seed"], config["reproducibility"])
    train, _, _ = data_preparation(config, create_dataset(config))
    trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, get_model("SASRec")(config, train.dataset))
    found = sorted(out.glob("*.pth"), key=lambda file: file.stat().st_mtime)
    if found:
        trainer.resume_checkpoint(found[-1])
    trainer.fit(train)
    (out / "sums.json").write_text(json.dumps(_sums(trainer.model.state_dict())))


def train_torchrec(settings: Path, out: Path, ranks: int) -> None:
    """Train with TorchRec on several ranks, from the newest checkpoint in `out` if there is one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    others = []
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0"}
    for rank in range(1, ranks):
        if (child := os.fork()) == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            try:
                torchrec_train("--config", settings, "--out", out / "run")
            finally:
                os._exit(0)
        others.append(child)
    torchrec_train("--config", settings, "--out", out / "run")
    for child in others:
        os.waitpid(child, 0)


def result_of_recbole(out: Path) -> Result:
    """Return the sums of the weights."""
    return dict(json.loads((out / "sums.json").read_text()))


def result_of_torchrec(out: Path) -> Result:
    """Return the figures of a run, and the sums of the weights that RecBole can load."""
    import torch

    results = json.loads((out / "run" / "results.json").read_text())
    curve = [{name: value for name, value in point.items() if name != "seconds"} for point in results["curve"]]
    weights = torch.load(out / "run" / "model.pth", weights_only=True)["state_dict"]
    return {"curve": curve, "test": results["test"], "pairs": results["pairs_seen"]} | _sums(weights)


def _sums(weights: Any) -> Result:
    return {name: zlib.crc32(np.ascontiguousarray(tensor.numpy()).tobytes()) for name, tensor in weights.items()}


def campaign(
    run: Callable[[Path], None], result: Callable[[Path], Result], trials: int, seed: int, folder: Path
) -> tuple[Counter[str], list[str]]:
    """Kill `run` `trials` times; return how often it was at work still, and the failures."""
    counts: Counter[str] = Counter()
    failures = []
    rng = np.random.default_rng(seed)
    whole, out = folder / "whole", folder / "out"
    whole.mkdir()
    first = time.monotonic()
    outcome = outcomes({"": partial(run, whole)})[""]
    longest = time.monotonic() - first
    if outcome != USED:
        shutil.rmtree(whole)
        return Counter({outcome: 1}), [f"a run without a kill: {outcome} after {longest:.0f} s"]
    expected = result(whole)
    for trial in range(trials):
        out.mkdir()
        seconds = float(rng.random()) * longest
        counts["killed" if killed(partial(run, out), seconds) else "ended before"] += 1
        outcome = outcomes({"": partial(run, out)})[""]
        if outcome != USED:
            failures.append(f"trial {trial}, killed after {seconds:.2f} s: the second run ends with {outcome}")
        elif result(out) != expected:
            failures.append(f"trial {trial}, killed after {seconds:.2f} s: another result")
        shutil.rmtree(out)
    shutil.rmtree(whole)
    return counts, failures


def main(arguments: list[str]) -> int:
    """Run the campaign and print its outcome."""
    trials, seed = map(int, [*arguments, *["20", "0"][len(arguments) :]])
    sys.argv[1:] = []  # RecBole reads it
    os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)  # RecBole writes into the working folder
        write_csv(folder / "log.csv", _ROWS)
        (folder / "data").mkdir()
        settings = write_settings(folder / "data")
        sharded = write_sharded_settings(settings)
        parts: dict[str, tuple[Callable[[Path], None], Callable[[Path], Result], int]] = {
            "prepare": (partial(prepare, folder / "log.csv"), contents, trials),
            "train in RecBole": (partial(train_recbole, settings), result_of_recbole, -(-trials // 2)),
            "train on 1 rank": (partial(train_torchrec, sharded, ranks=1), result_of_torchrec, -(-trials // 2)),
            "train on 2 ranks": (partial(train_torchrec, sharded, ranks=2), result_of_torchrec, -(-trials // 2)),
        }
        for module in ("recbole_ext", "recbole.quick_start", "recbole.trainer", "torchrec_ext.training.run"):
            import_module(module)  # once, before the processes fork
        for part, (run, result, n) in parts.items():
            some, failed = campaign(run, result, n, seed, folder)
            print(f"{part}: {dict(some)}", flush=True)
            counts += some
            failures += [f"{part}, {failure}" for failure in failed]
    return report(counts, failures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
