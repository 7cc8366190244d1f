"""The `mixing:` section. Flat keys such as `mixing_beta` win over it."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

from pydantic import Field, model_validator
from typing_extensions import Self

from genpas_plugins.settings.base import Section
from genpas_plugins.support.errors import InputError

SECTION = "mixing"
PREFIX = "mixing_"

Method = Literal["basrec"]
METHODS: tuple[str, ...] = get_args(Method)


class MixingConfig(Section):
    """A checked `mixing:` section."""

    SECTION: ClassVar[str] = SECTION
    FIRST: ClassVar[str] = "method"

    method: Method = Field(description="BASRec: representations are mixed beside the plain loss")
    warmup_epochs: int = Field(20, ge=0, description="epochs of the plain loss alone; early stopping counts after them")
    beta: float = Field(0.4, gt=0, description="λ ~ Beta(beta, beta)")
    rate_low: float = Field(0.2, gt=0, le=1, description="r ~ U(rate_low, rate_high): the changed share of a history")
    rate_high: float = Field(0.7, gt=0, le=1, description="see rate_low")
    views: int = Field(2, ge=0, description="losses a step on histories mixed with a changed copy of themselves")
    cross: int = Field(3, ge=0, description="losses a step on encoder outputs and targets mixed across the batch")
    released_weights: bool = Field(False, description="true: weights as the authors' released code multiplies them")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.rate_low > self.rate_high:
            raise InputError(f"rate_low is {self.rate_low} and rate_high {self.rate_high}; they must be in order.")
        if not self.views and not self.cross:
            raise InputError(f"views and cross are both 0: nothing would be mixed. Remove the {SECTION} key instead.")
        return self
