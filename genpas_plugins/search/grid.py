"""The grid of exponents that a search looks at: every combination of some values of α, β and γ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator, ValidationInfo

from genpas_plugins.sampling.policy import EXPONENTS, SamplingPolicy, shortest
from genpas_plugins.settings.base import Settings
from genpas_plugins.settings.genpas import EXPONENT_NAMES, exponent
from genpas_plugins.settings.yaml_text import read_yaml
from genpas_plugins.support.errors import InputError

INF = math.inf

_NAMES = {**{point: name for name, point in EXPONENTS.items()}, EXPONENTS["slide_window"]: "≈ slide_window"}


def _values(given: Any, info: ValidationInfo) -> tuple[float, ...]:
    values = given if isinstance(given, tuple) else (given,)
    if not values:
        raise InputError(f"{info.field_name} has no value. Give one, or remove the key for the default values.")
    numbers = []
    for place, value in enumerate(values, start=1):
        try:
            numbers.append(exponent(value, info))
        except InputError as error:
            raise InputError(f"value {place} of {info.field_name}, {value!r}, cannot be used: {error}") from None
    return tuple(dict.fromkeys(numbers))


Values = Annotated[tuple[float, ...], PlainValidator(_values)]


class Grid(Settings):
    """Every (α, β, γ) of three lists of values.

    A number alone is a list with one value. Infinities are allowed. A value counts once.

    >>> grid = Grid(alpha=(0, 1), beta=(0,), gamma=(-math.inf, 0))
    >>> [policy.label for policy in grid.points]
    ['0,0,-inf', '0,0,0', '1,0,-inf', '1,0,0']
    """

    alpha: Values = Field(default=(0.0, 0.5, 1.0, 1.5, 2.0), description="values of α")
    beta: Values = Field(default=(-1.0, 0.0, 0.5, 1.0, 2.0, INF), description="values of β")
    gamma: Values = Field(default=(-INF, -1.0, 0.0, 0.5, 1.0, 2.0), description="values of γ")

    @property
    def points(self) -> list[SamplingPolicy]:
        """All combinations; γ changes fastest."""
        return [SamplingPolicy(*point) for point in itertools.product(self.alpha, self.beta, self.gamma)]

    def __str__(self) -> str:
        axes = {"α": self.alpha, "β": self.beta, "γ": self.gamma}
        return ", ".join(f"{name} ∈ {{{', '.join(map(shortest, values))}}}" for name, values in axes.items())

    @property
    def bounds(self) -> tuple[tuple[float, float] | None, ...]:
        """Smallest and largest finite value of each exponent; None where all are infinite."""
        finite = [[value for value in getattr(self, name) if math.isfinite(value)] for name in EXPONENT_NAMES]
        return tuple((min(values), max(values)) if values else None for values in finite)


def read_grid(file: Path) -> Grid:
    """Read a grid from a YAML file.

    Parameters
    ----------
    file : alpha, beta and gamma at the top or under `grid:`; a missing key keeps its default

    Returns
    -------
    Grid
        The checked values.

    Raises
    ------
    InputError
        If the file is missing or not YAML or holds another key or value.
    """
    read = read_yaml(file, "--grid")
    under = isinstance(read.content, Mapping) and set(read.content) == {"grid"}
    return Grid.read(read.content["grid"] if under else read.content, read.where, ("grid",) if under else ())


def point_name(policy: SamplingPolicy) -> str:
    """Return the named strategy with these exponents, "≈ slide_window" for (2, 1, 0), "" for any other.

    >>> point_name(SamplingPolicy(1, 0, -math.inf))
    'multi_target'
    """
    return _NAMES.get((policy.alpha, policy.beta, policy.gamma), "")


def yaml_number(number: float) -> str:
    """Write an exponent as any YAML reader reads it back.

    >>> [yaml_number(number) for number in (1.0, 0.5, 1e-07, -math.inf)]
    ['1', '0.5', '1.0e-07', '-.inf']
    """
    if math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    text = shortest(number)
    # YAML 1.1 takes 1e-07 for text: it wants a point before the exponent.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
