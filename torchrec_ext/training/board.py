"""The curves of a run, for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Board:
    """TensorBoard on rank 0, nothing on other ranks. Points after the last checkpoint of a killed run are hidden."""

    def __init__(self, directory: Path, *, rank: int, steps_done: int) -> None:
        self._writer: Any = None
        if rank == 0:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(directory), purge_step=steps_done + 1)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def loss(self, step: int, value: float) -> None:
        """Log the mean loss of the last steps."""
        self._add("train/loss", value, step)

    def epoch(self, step: int, value: float) -> None:
        """Log the mean loss of an epoch."""
        self._add("train/epoch_loss", value, step)

    def speed(self, step: int, value: float) -> None:
        """Log pairs a second, of all ranks together."""
        self._add("train/pairs_per_second", value, step)

    def validation(self, step: int, figures: dict[str, float]) -> None:
        """Log the figures of a validation."""
        for name, value in figures.items():
            self._add(f"validation/{name}", value, step)

    def _add(self, name: str, value: float, step: int) -> None:
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)
