"""The `loss` key of the `genpas:` section: sampled negatives instead of the model's cross-entropy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from genpas_plugins.settings.base import Settings
from genpas_plugins.support.errors import InputError

UNIFORM, CALIBRATION = 0.1, 0.75


class LossConfig(Settings):
    """A checked `loss` key."""

    name: Literal["sampled_softmax", "gbce", "bce"] = Field(
        description="softmax over the target and the negatives with logQ correction; gSASRec's calibrated binary "
        "cross-entropy; binary cross-entropy"
    )
    negatives: int = Field(ge=1, description="how many all targets of a step share, drawn with replacement")
    uniform: float | None = Field(
        None,
        gt=0,
        le=1,
        description=f"sampled_softmax: share of negatives that is drawn uniformly, null: {UNIFORM}; the others are "
        "drawn as targets are",
    )
    calibration: float | None = Field(
        None, ge=0, le=1, description=f"gbce: gSASRec's t, null: {CALIBRATION}; 0 is bce, 1 undoes the sampling"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for key, owner in (("uniform", "sampled_softmax"), ("calibration", "gbce")):
            if getattr(self, key) is not None and self.name != owner:
                raise InputError(f"loss: {key} belongs to {owner}, not to {self.name}. Remove it.")
        return self

    @property
    def uniform_share(self) -> float:
        """Share of the uniform distribution in the proposal of negatives."""
        return 1.0 if self.name != "sampled_softmax" else UNIFORM if self.uniform is None else self.uniform

    @property
    def t(self) -> float:
        """The calibration of the binary losses."""
        return 0.0 if self.name != "gbce" else CALIBRATION if self.calibration is None else self.calibration
