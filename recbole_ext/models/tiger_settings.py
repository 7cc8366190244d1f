"""TIGER's settings in RecBole's configuration, checked before any data is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from genpas_plugins.support.errors import InputError, nearest, whole_number
from recbole_ext.training_settings import DECAYS

_LOWEST = {
    "levels": 1,
    "codes": 1,
    "d_model": 1,
    "num_heads": 1,
    "head_size": 1,
    "d_ff": 1,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "user_buckets": 0,
    "beams": 1,
}


@dataclass(frozen=True)
class TigerSettings:
    """The keys of TIGER.yaml that RecBole does not know; what they mean is said there."""

    semantic_ids: str | None
    levels: int
    codes: int
    d_model: int
    num_heads: int
    head_size: int
    d_ff: int
    encoder_layers: int
    decoder_layers: int
    dropout: float
    user_buckets: int
    beams: int
    exact_ranking: bool
    validation_users: int | None
    learning_rate_decay: str | None

    @classmethod
    def of(cls, config: Any) -> TigerSettings:
        """Read and check the settings of a RecBole Config. Raises InputError naming the key and what would be valid."""
        values = {field.name: config[field.name] for field in fields(cls)}
        for name, lowest in _LOWEST.items():
            values[name] = whole_number(f"TIGER's {name}", values[name], lowest)
        if values["validation_users"] is not None:
            values["validation_users"] = whole_number("TIGER's validation_users", values["validation_users"], 1)
        dropout, exact, path = values["dropout"], values["exact_ranking"], values["semantic_ids"]
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise InputError(f"TIGER's dropout must be a number from 0 on and below 1, not {dropout!r}.")
        if not isinstance(exact, bool):
            raise InputError(f"TIGER's exact_ranking must be True or False, not {exact!r}.")
        if path is not None and not isinstance(path, str | Path):
            raise InputError(f"TIGER's semantic_ids must be a path or null, not {path!r}.")
        decay = values["learning_rate_decay"]
        if decay is not None and decay not in DECAYS:
            raise InputError(f"TIGER's learning_rate_decay is {decay!r}.{nearest(decay, DECAYS)} Or null: none.")
        if config["loss_type"] != "CE":
            raise InputError(
                f"TIGER's loss is the cross-entropy of the codes: loss_type CE, not {config['loss_type']!r}."
            )
        values["semantic_ids"] = None if path is None else str(path)
        return cls(**values)

    def check_training(self, topk: list[int]) -> None:
        """Raise InputError if there are no IDs to train with, or a search ranks fewer items than metrics look at.

        A checkpoint needs no file of IDs, so this is for a new configuration alone. `topk` is what the metrics are at.
        """
        if self.semantic_ids is not None and not Path(self.semantic_ids).exists():
            raise InputError(
                f"TIGER's semantic_ids is {self.semantic_ids}, which does not exist. Make them with "
                "`genpas semantic-ids`, or leave the key out: IDs are then made from the training sequences."
            )
        if not self.exact_ranking and max(topk) > self.beams:
            raise InputError(
                f"topk is {max(topk)}, but TIGER ranks only the {self.beams} items of its beams: set beams to "
                f"{2 * max(topk)} (twice topk is safe) or exact_ranking to True."
            )
