"""The curves of a run, for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoard:
    """TensorBoard on rank 0, nothing on other ranks. Points after the last checkpoint of a killed run are hidden."""

    def __init__(self, directory: Path, *, rank: int, steps_done: int) -> None:
        self._writer: Any = None
        if rank == 0:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(directory), purge_step=steps_done + 1)

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Log figures of a step, by their names in TensorBoard."""
        for name, value in figures.items() if self._writer is not None else ():
            self._writer.add_scalar(name, value, step)
