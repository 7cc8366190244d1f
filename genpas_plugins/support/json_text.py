"""Figures as JSON text: the same in commands and reports."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def to_json(value: Any) -> str:
    """Return a value as indented JSON with a final newline. Infinities become "inf" and "-inf". NaN becomes null."""
    return json.dumps(as_json_value(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def as_json_value(value: Any) -> Any:
    """Return `value` with every part a type that JSON has."""
    value = value.model_dump() if hasattr(value, "model_dump") else value  # settings
    if isinstance(value, Mapping):
        return {str(key): as_json_value(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return as_json_value(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json_value(part) for part in value]
    if isinstance(value, np.generic):
        return as_json_value(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)
