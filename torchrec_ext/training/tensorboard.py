"""The curves of a run in TensorBoard."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genpas_plugins.support.errors import is_full_disk


class TensorBoard:
    """TensorBoard on rank 0 only. Points after the last checkpoint of a killed run are hidden."""

    def __init__(self, directory: Path, *, rank: int, steps_done: int) -> None:
        # The writer's own thread would print a traceback; the error itself comes with the next point.
        self._hook = hook = threading.excepthook
        threading.excepthook = lambda failed: None if is_full_disk(failed.exc_value) else hook(failed)
        self._writer: Any = None
        if rank == 0:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(directory), purge_step=steps_done + 1)

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            threading.excepthook = self._hook

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Log figures of a step by their names in TensorBoard."""
        for name, value in figures.items() if self._writer is not None else ():
            self._writer.add_scalar(name, value, step)
