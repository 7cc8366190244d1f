"""Training a regenerator on (sequence, pattern) pairs with one checkpoint an epoch. A killed run can continue.

An epoch depends on the seed and its number alone. A resumed run thus ends with the weights of an unbroken run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.neural import checkpoint_file
from genpas_plugins.neural.dr4sr.mining import Patterns, pattern_rows
from genpas_plugins.neural.dr4sr.regenerator import Regenerator, Shape
from genpas_plugins.sampling.gather import fill_padded
from genpas_plugins.sampling.random_stream import check_seed
from genpas_plugins.support.array_types import AnyArray, Int64
from genpas_plugins.support.errors import InputError, whole_number

Progress = Callable[[int, int], None]

MAGIC = "genpas-regenerator"

_POOL = 32  # batches that are sorted by length together


@dataclass(frozen=True)
class Recipe:
    """How the regenerator is trained. Except for `balance_weight` the defaults are the paper's."""

    epochs: int = 40  # of Adam on (sequence, pattern) pairs
    batch_size: int = 256
    learning_rate: float = 1e-3
    # Of the Gumbel-softmax in the first and in the last epoch, geometric between them.
    temperature: tuple[float, float] = (1.0, 0.1)
    entropy_weight: float = 1.0  # of the mixing weights' entropy in the loss
    # Of `imbalance`; with 0, the paper's loss, three of five memories stayed nearly unused and untrained after two
    # epochs on Amazon Beauty.
    balance_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("epochs", self.epochs, 1)
        whole_number("batch_size", self.batch_size, 1)
        check_seed(self.seed)
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate must be above 0, not {self.learning_rate!r}.")
        if not min(self.temperature) > 0:
            raise InputError(f"temperature must be two numbers above 0, not {self.temperature!r}.")
        for name in ("entropy_weight", "balance_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 or more, not {getattr(self, name)!r}.")

    def temperature_of(self, epoch: int) -> float:
        """Return the temperature of an epoch. Epochs start at 0."""
        first, last = self.temperature
        return float(first * (last / first) ** (epoch / max(1, self.epochs - 1)))


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained regenerator and its epochs: mean losses, temperature and each memory's mean weight."""

    model: Regenerator
    curve: list[dict[str, Any]]


def histories(view: SequenceView, rows: Int64, max_history: int) -> Int64:
    """Return the last items of the sequences `rows` of a view as right-padded int64 [n, at most max_history]."""
    lengths = view.lengths(rows)
    kept = np.minimum(lengths, max_history)
    stop = view.store.offsets[rows] + lengths
    return fill_padded(view.store.values, stop, kept, int(kept.max(initial=1))).astype(np.int64)


def batches(lengths: Int64, batch_size: int, seed: int, epoch: int) -> list[Int64]:
    """Return the numbers 0 … n - 1 in random batches of sequences of similar length.

    Sorting by length inside random pools of batches saves most of the padding.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    pools = [order[first : first + _POOL * batch_size] for first in range(0, len(order), _POOL * batch_size)]
    ordered = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    cut = [pool[first : first + batch_size] for pool in ordered for first in range(0, len(pool), batch_size)]
    return [cut[number] for number in random.permutation(len(cut))]


def train_regenerator(
    view: SequenceView,
    patterns: Patterns,
    shape: Shape,
    recipe: Recipe,
    *,
    item_vectors: AnyArray | None = None,  # float [n_items, D], what the item table starts from; None: random
    # Written after every epoch; training goes on from an existing one, and a finished one is returned.
    checkpoint: Path | None = None,
    made_from: Mapping[str, Any] | None = None,  # plain values in the checkpoint, which must be equal to go on
    device: str = "cpu",
    progress: Progress | None = None,
) -> Trained:
    """Train on every pair of a sequence of `view` and a pattern in it. Each epoch has a new order."""
    n = len(patterns.sequence)
    if n == 0:
        raise InputError("No two sequences share a pattern, so there is nothing to train on. Use more data.")
    longest = int(np.diff(patterns.offsets).max(initial=0))
    if longest > shape.max_pattern:
        raise InputError(f"A pattern has {longest} items; the regenerator writes {shape.max_pattern} (max_pattern).")
    origin = {**(made_from or {}), "shape": asdict(shape), "recipe": _as_plain(recipe)}
    n_steps = -(-n // recipe.batch_size)
    lengths = np.minimum(view.lengths(patterns.sequence), shape.max_history)
    with torch.random.fork_rng(devices=_cuda(device)):
        torch.manual_seed(recipe.seed % 2**63)
        start = None if item_vectors is None else torch.tensor(np.asarray(item_vectors, dtype=np.float32))
        model = Regenerator(shape, start).to(device)
        update = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
        curve: list[dict[str, Any]] = []
        if checkpoint is not None and checkpoint.exists():
            saved = _read(checkpoint, origin)
            curve = saved["curve"]
            model.load_state_dict(saved["model"])
            update.load_state_dict(saved["optimiser"])
        for epoch in range(len(curve), recipe.epochs):
            # Dropout and Gumbel noise of an epoch do not depend on earlier epochs.
            torch.manual_seed(int(np.random.SeedSequence([recipe.seed, epoch]).generate_state(1)[0]))
            temperature = recipe.temperature_of(epoch)
            sums = torch.zeros(2 + shape.memories, dtype=torch.float64)
            model.train()
            for step, pairs in enumerate(batches(lengths, recipe.batch_size, recipe.seed, epoch)):
                history = torch.from_numpy(histories(view, patterns.sequence[pairs], shape.max_history))
                pattern = torch.from_numpy(pattern_rows(patterns, patterns.pattern[pairs], longest))
                made = model.reconstruction(history.to(device), pattern.to(device), temperature)
                loss: Any = made.cross_entropy + recipe.entropy_weight * made.entropy
                loss = loss + recipe.balance_weight * made.imbalance
                if not torch.isfinite(loss):
                    raise InputError(
                        f"The regenerator's loss is not finite in epoch {epoch + 1}: choose a lower learning rate."
                    )
                update.zero_grad()
                loss.backward()
                update.step()
                seen = torch.cat([made.cross_entropy[None], made.entropy[None], made.weights.mean(0)])
                sums += seen.detach().cpu().double() * len(pairs)
                if progress is not None:
                    progress(epoch * n_steps + step + 1, recipe.epochs * n_steps)
            means = (sums / n).tolist()
            curve.append({"cross_entropy": means[0], "entropy": means[1], "temperature": temperature, "use": means[2:]})
            if checkpoint is not None:
                state = {"model": model.state_dict(), "optimiser": update.state_dict()}
                checkpoint_file.write({"magic": MAGIC, "made_from": origin, "curve": curve, **state}, checkpoint)
    model.eval()
    return Trained(model, curve)


def _as_plain(recipe: Recipe) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(recipe).items()}


def _cuda(device: str) -> list[torch.device]:
    return [torch.device(device)] if torch.device(device).type == "cuda" else []


def _read(checkpoint: Path, origin: dict[str, Any]) -> dict[str, Any]:
    saved = checkpoint_file.read(checkpoint, dict, map_location="cpu", advice="Remove it to train again.")
    if saved.get("magic") != MAGIC:
        raise InputError(f"{checkpoint} does not hold a regenerator; choose another folder for the work.")
    if saved["made_from"] != origin:
        recipe, wanted = saved["made_from"].get("recipe") or {}, origin["recipe"]
        if {**saved["made_from"], "recipe": wanted} == origin and {**recipe, "epochs": wanted["epochs"]} == wanted:
            raise InputError(
                f"{checkpoint} is of a training of {recipe['epochs']} epochs, not {wanted['epochs']}, and the "
                f"temperature falls over all of them. Ask for {recipe['epochs']} epochs, or remove it to train again."
            )
        changed = [
            name for name in {**origin, **saved["made_from"]} if saved["made_from"].get(name) != origin.get(name)
        ]
        raise InputError(
            f"{checkpoint} was trained from other data or settings ({', '.join(changed)} changed); remove it to train "
            "again, or choose another folder for the work."
        )
    return saved
