"""The three stages of DR4SR over one folder. Each stage reads its file or makes and writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.neural.dr4sr.inference import Regenerated, regenerate
from genpas_plugins.neural.dr4sr.mining import Patterns, mine_patterns
from genpas_plugins.neural.dr4sr.regenerator import Shape
from genpas_plugins.neural.dr4sr.stage_files import (
    PATTERNS,
    REGENERATED,
    REGENERATOR,
    data_fingerprint,
    read_stage,
    save_stage,
)
from genpas_plugins.neural.dr4sr.training import Recipe, Trained, train_regenerator
from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.console import Tell

ItemVectors = Callable[[], AnyArray]


@dataclass(frozen=True, eq=False)
class Stage:
    """What a stage made and the data and settings that it was made from. The next stage adds to them."""

    made: Any
    made_from: Mapping[str, Any]


def mine(view: SequenceView, folder: Path, tell: Tell, *, min_frequency: int = 2, seed: int = 0) -> Stage:
    """Return the training view's Patterns from the folder if it has them."""
    made_from = {**data_fingerprint(view), "min_frequency": min_frequency, "seed": seed}
    patterns: Patterns | None = read_stage(folder / PATTERNS, Patterns, made_from)
    if patterns is None:
        patterns = mine_patterns(
            view,
            min_frequency=min_frequency,
            seed=seed,
            progress=lambda done, total: tell("mining patterns", done, total),
        )
        save_stage(folder / PATTERNS, patterns, made_from)
    return Stage(patterns, made_from)


def train(
    view: SequenceView,
    patterns: Stage,
    folder: Path,
    tell: Tell,
    *,
    shape: Shape,
    recipe: Recipe,
    vectors: str = "random",  # a word for what the item table starts from
    # Returns it, float [n_items, D], and is called only if training starts; None: random.
    item_vectors: ItemVectors | None = None,
    device: str = "cpu",
) -> Stage:
    """Return the Trained regenerator; training goes on from the folder's checkpoint if there is one."""
    file = folder / REGENERATOR
    made: Trained = train_regenerator(
        view,
        patterns.made,
        shape,
        recipe,
        item_vectors=None if item_vectors is None or file.exists() else item_vectors(),
        checkpoint=file,
        made_from={**patterns.made_from, "vectors": vectors},
        device=device,
        progress=lambda done, total: tell("training the regenerator", done, total),
    )
    made_from = {**patterns.made_from, "vectors": vectors, "shape": asdict(shape), "recipe": asdict(recipe)}
    return Stage(made, made_from)


def infer(
    view: SequenceView,
    regenerator: Stage,
    folder: Path,
    tell: Tell,
    *,
    gamma: float = 0.1,
    batch_size: int = 256,
    seed: int = 0,
) -> Stage:
    """Return the Regenerated patterns of every sequence from the folder if it has them."""
    made_from = {**regenerator.made_from, "gamma": gamma, "inference_seed": seed}
    made: Regenerated | None = read_stage(folder / REGENERATED, Regenerated, made_from)
    if made is None:
        made = regenerate(
            regenerator.made.model,
            view,
            gamma=gamma,
            seed=seed,
            batch_size=batch_size,
            progress=lambda done, total: tell("inferring sequences", done, total),
        )
        save_stage(folder / REGENERATED, made, made_from)
    return Stage(made, made_from)
