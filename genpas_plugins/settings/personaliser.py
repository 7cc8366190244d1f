"""The `personaliser:` section. Flat keys such as `personaliser_step` win over it.

Its defaults except Adam are from the authors' released code. Their personaliser uses SGD on gradients of sums over
batches. Here losses are means and Adam does not depend on the scale.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from genpas_plugins.settings.base import Section

SECTION = "personaliser"
PREFIX = "personaliser_"


class PersonaliserConfig(Section):
    """A checked `personaliser:` section."""

    SECTION: ClassVar[str] = SECTION
    FIRST: ClassVar[str] = "method"

    method: Literal["dr4sr_plus"] = Field(description="DR4SR+: every pair has a learnt weight")
    warmup_epochs: int = Field(10, ge=0, description="epochs of the plain loss alone; early stopping counts after them")
    interval: int = Field(30, ge=1, description="batches between two steps of the personaliser")
    terms: int = Field(3, ge=0, description="Hessian products of the Neumann series")
    step: float | None = Field(None, gt=0, description="of the series; null: the model's learning rate")
    learning_rate: float = Field(0.01, gt=0, description="of the personaliser, by Adam")
    hidden: int = Field(64, ge=1, description="width of its hidden layer")
