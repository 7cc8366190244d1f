"""Parse and check TIGER's settings before any data are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from typing_extensions import Self

from genpas_plugins.settings.base import Settings
from genpas_plugins.support.errors import InputError

BIDIRECTIONAL = "its encoder reads later items too. Set encoder: causal, or targets: single"


class TigerSettings(Settings):
    """The keys of TIGER.yaml that RecBole does not know; TIGER.yaml explains them."""

    semantic_ids: str | None
    levels: int = Field(ge=1)
    codes: int = Field(ge=1)
    d_model: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    head_size: int = Field(ge=1)
    d_ff: int = Field(ge=1)
    encoder_layers: int = Field(ge=1)
    decoder_layers: int = Field(ge=1)
    encoder: Literal["bidirectional", "causal"]
    dropout: float = Field(ge=0, lt=1)
    user_buckets: int = Field(ge=0)
    beams: int = Field(ge=1)
    exact_ranking: bool
    validation_users: int | None = Field(ge=1)
    learning_rate_decay: Literal["linear", "cosine"] | None
    loss_type: Literal["CE"]

    @classmethod
    def of(cls, config: Any) -> Self:
        """Return the settings of a RecBole Config. Raises InputError naming the key and what is valid."""
        given = {name: config[name] for name in cls.model_fields}
        path = given["semantic_ids"]
        given["encoder"] = given["encoder"] or "bidirectional"  # checkpoints of older versions lack it
        return cls.read({**given, "semantic_ids": str(path) if isinstance(path, Path) else path}, "TIGER's settings")

    def check_training(self, topk: list[int], targets: str) -> None:
        """Raise InputError for a missing file of IDs, parallel targets of a bidirectional encoder, and too few beams.

        This is for a new configuration because a checkpoint has its own IDs. `topk` is the metrics' setting.
        """
        if targets == "parallel" and self.encoder != "causal":
            raise InputError(f"targets: parallel is not possible with TIGER: {BIDIRECTIONAL}.")
        if self.semantic_ids is not None and not Path(self.semantic_ids).exists():
            raise InputError(
                f"TIGER's semantic_ids is {self.semantic_ids}, which does not exist. Make them with "
                "`genpas semantic-ids`, or remove the key, which makes IDs from the training sequences."
            )
        if not self.exact_ranking and max(topk) > self.beams:
            raise InputError(
                f"topk is {max(topk)}, but TIGER ranks only the {self.beams} items of its beams: set beams to "
                f"{2 * max(topk)} (twice topk is safe) or exact_ranking to True."
            )
