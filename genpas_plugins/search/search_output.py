"""What a search writes: rows for a table and YAML for RecBole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genpas_plugins.sampling.policy import SAMPLED, Policy, SamplingPolicy
from genpas_plugins.search.by_transitions import Predicted
from genpas_plugins.search.grid import point_name, yaml_number
from genpas_plugins.search.shortlist import Candidate
from genpas_plugins.settings.genpas import EXPONENT_NAMES
from genpas_plugins.support.errors import InputError

MARK = "# Written by `genpas search`"
FIGURES = ("kl", "alignment", "discrimination", "ratio")


def row(candidate: Candidate | None) -> dict[str, Any] | None:
    """Return label, name, exponents and criteria of a candidate as plain values."""
    if candidate is None:
        return None
    policy = candidate.policy
    return {
        "point": policy.label,
        "name": candidate.name,
        **{name: getattr(policy, name) for name in EXPONENT_NAMES},
        **{name: getattr(candidate, name) for name in FIGURES},
    }


def predicted_row(predicted: Predicted) -> dict[str, Any]:
    """Return label, name, exponents and the model's figures of a point as plain values."""
    policy = predicted.policy
    exponents = {name: getattr(policy, name) for name in EXPONENT_NAMES}
    figures = {"predicted": predicted.predicted, "ndcg@10": predicted.ndcg, "pairs": predicted.pairs}
    name = point_name(policy) if isinstance(policy, SamplingPolicy) else policy.label
    return {"point": policy.label, "name": name, **exponents, **figures}


def genpas_yaml(policy: Policy, why: str, pairs_per_epoch: int | None = None) -> str:
    """Return the `genpas:` section of a point. The first line names where it comes from.

    >>> print(genpas_yaml(SamplingPolicy(0, 2, float("-inf")), "lowest KL"), end="")
    # Written by `genpas search`: lowest KL
    genpas:
      strategy: sampled
      alpha: 0
      beta: 2
      gamma: -.inf
    """
    lines = [f"{MARK}: {' '.join(why.split())}", "genpas:", f"  strategy: {policy.strategy}"]
    if policy.strategy == SAMPLED:
        lines += [f"  {name}: {yaml_number(getattr(policy, name))}" for name in EXPONENT_NAMES]
    if pairs_per_epoch is not None:
        lines.append(f"  pairs_per_epoch: {pairs_per_epoch}")
    return "\n".join(lines) + "\n"


def check_replaceable(file: Path) -> None:
    """Raise InputError if `file` exists and was not written by a search."""
    if file.is_dir():
        raise InputError(f"{file} is a directory; choose another --out.")
    if file.is_file():
        with file.open(encoding="utf-8", errors="replace") as stream:
            if not stream.readline().startswith(MARK):
                raise InputError(f"{file} was not written by `genpas search`; move it or choose another --out.")
