"""The grid of exponents that a search looks at: every combination of some values of α, β and γ."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpas_plugins.sampling.policy import EXPONENTS, SamplingPolicy, check_exponent, shortest
from genpas_plugins.settings.genpas import EXPONENT_NAMES
from genpas_plugins.support.errors import InputError

INF = math.inf

_NAMES = {**{point: name for name, point in EXPONENTS.items()}, EXPONENTS["slide_window"]: "≈ slide_window"}


@dataclass(frozen=True)
class Grid:
    """Every (α, β, γ) of three lists of values; infinities are legal, and a value given twice counts once.

    Raises InputError for an empty list and for a value that is NaN or no number, naming the key and the value.

    >>> grid = Grid(alpha=(0, 1), beta=(0,), gamma=(-math.inf, 0))
    >>> len(grid), [policy.label for policy in grid]
    (4, ['0,0,-inf', '0,0,0', '1,0,-inf', '1,0,0'])
    """

    alpha: Sequence[float] = (0.0, 0.5, 1.0, 1.5, 2.0)
    beta: Sequence[float] = (-1.0, 0.0, 0.5, 1.0, 2.0, INF)
    gamma: Sequence[float] = (-INF, -1.0, 0.0, 0.5, 1.0, 2.0)

    def __post_init__(self) -> None:
        """Check every value; keep each once, in the order given."""
        for name in EXPONENT_NAMES:
            object.__setattr__(self, name, _checked(name, getattr(self, name)))

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.alpha) * len(self.beta) * len(self.gamma)

    def __iter__(self) -> Iterator[SamplingPolicy]:
        """Yield the points, γ changing fastest."""
        for point in itertools.product(self.alpha, self.beta, self.gamma):
            yield SamplingPolicy(*point)

    @property
    def bounds(self) -> tuple[tuple[float, float] | None, ...]:
        """Smallest and largest finite value of each exponent; None where all are infinite."""
        finite = [[value for value in getattr(self, name) if math.isfinite(value)] for name in EXPONENT_NAMES]
        return tuple((min(values), max(values)) if values else None for values in finite)

    @classmethod
    def from_mapping(cls, mapping: Any, where: str = "the grid") -> Grid:
        """Read {alpha: [0, 1], beta: …, gamma: …}; an exponent that is left out keeps the default values.

        A single number stands for a list of one. Raises InputError naming `where`, the key and the value.
        """
        if not isinstance(mapping, Mapping):
            raise InputError(f"{where} must hold keys such as 'alpha: [0, 1, 2]', not {mapping!r}.")
        for key in mapping:
            if key not in EXPONENT_NAMES:
                near = difflib.get_close_matches(str(key), EXPONENT_NAMES, n=1)
                question = f" Did you mean {near[0]!r}?" if near else ""
                raise InputError(f"{where}: there is no key {key!r}.{question} Valid: {', '.join(EXPONENT_NAMES)}.")
        try:
            return cls(**mapping)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def read_grid(file: Path) -> Grid:
    """Read a grid from a YAML file, its keys at the top or under `grid:`. Raises InputError where it is none."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not YAML: {error}") from error
    if isinstance(content, Mapping) and set(content) == {"grid"}:
        content = content["grid"]
    return Grid.from_mapping(content, str(file))


def point_name(policy: SamplingPolicy) -> str:
    """Return the named strategy that has these exponents, "≈ slide_window" for (2, 1, 0), "" for any other.

    >>> point_name(SamplingPolicy(1, 0, -math.inf))
    'multi_target'
    """
    return _NAMES.get((policy.alpha, policy.beta, policy.gamma), "")


def yaml_number(number: float) -> str:
    """Write an exponent as YAML reads it back.

    >>> [yaml_number(number) for number in (1.0, 0.5, 1e-07, -math.inf)]
    ['1', '0.5', '1.0e-07', '-.inf']
    """
    if math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    text = shortest(number)
    # YAML 1.1 takes 1e-07 for text: it wants a point before the exponent.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _checked(name: str, values: Any) -> tuple[float, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        values = [values]
    if not values:
        raise InputError(f"{name} has no value; give at least one, or leave the key out for the default values.")
    numbers = []
    for place, value in enumerate(values, start=1):
        try:
            numbers.append(check_exponent(name, value) + 0.0)  # -0.0 is 0.0
        except InputError as error:
            raise InputError(f"value {place} of {name}, {value!r}, cannot be used: {error}") from None
    return tuple(dict.fromkeys(numbers))
