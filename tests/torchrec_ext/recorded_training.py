"""torchrec_ext.train that writes every trained step down, and may be killed; what torchrun runs in the tests.

recorded_training.py RECORDS NAME KILLED_RANK KILLED_AFTER ARGUMENT…    the rest goes to torchrec_ext.train

Each rank appends {"epoch", "step", "addresses"} to RECORDS/NAME-rank-life.jsonl after each step: the addresses
that the model's forward pass had, not those that were read ahead. In its first life KILLED_RANK (-1: none) gets SIGKILL
after KILLED_AFTER steps.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from torchrec_ext import shard, train
from torchrec_ext.stream import GenPASStream
from torchrec_ext.training import run

RECORDS, NAME, KILLED_RANK, KILLED_AFTER = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
LIFE = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
forwarded: list[list[int]] = []


class RecordedLayer(shard.OutputLayer):
    def forward(self, rows: Any, batch: Any) -> Any:
        forwarded.append(batch.address.tolist())
        return super().forward(rows, batch)


class RecordedStream(GenPASStream):
    def step_done(self) -> None:
        line = {"epoch": self.epoch, "step": self.step, "addresses": forwarded.pop()}
        assert not forwarded
        with (RECORDS / f"{NAME}-{self.rank}-{LIFE}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        super().step_done()
        if self.rank == KILLED_RANK and LIFE == "0" and self.epoch * len(self) + self.step == KILLED_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    shard.OutputLayer = RecordedLayer
    run.GenPASStream = RecordedStream
    train.main(sys.argv[5:])
