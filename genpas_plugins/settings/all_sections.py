"""The table of sections. Files, flat keys, saved settings and help read it."""

from __future__ import annotations

import difflib
import re

from genpas_plugins.settings.base import Section
from genpas_plugins.settings.genpas import GenPASConfig
from genpas_plugins.settings.mixing import MixingConfig
from genpas_plugins.settings.personaliser import PersonaliserConfig
from genpas_plugins.settings.torchrec import TorchRecConfig

SECTIONS: dict[str, type[Section]] = {
    kind.SECTION: kind for kind in (GenPASConfig, MixingConfig, PersonaliserConfig, TorchRecConfig)
}


def flat_keys(*names: str) -> list[str]:
    """Return the flat keys of these sections. Without names all sections count.

    Examples
    --------
    >>> flat_keys("mixing")[:3]
    ['mixing_method', 'mixing_warmup_epochs', 'mixing_beta']
    """
    return [f"{name}_{key}" for name in names or SECTIONS for key in SECTIONS[name].model_fields]


def misspelt_section(key: str) -> str:
    """Return the section or flat key that a misspelt key was meant for, or "" for any other key.

    Examples
    --------
    >>> [misspelt_section(key) for key in ("genpass", "GenPAS_alpha", "mixing.beta", "genpas_alpha", "epochs")]
    ['genpas', 'genpas', 'mixing_beta', '', '']
    """
    if key in SECTIONS or key.startswith(tuple(f"{name}_" for name in SECTIONS)):
        return ""
    flat = re.sub("[^a-z]", "_", key, count=1)
    if flat in flat_keys():
        return flat
    words = {key.lower(), re.split("[^a-z]", key.lower())[0]}
    near = (difflib.get_close_matches(word, list(SECTIONS), n=1, cutoff=0.82) for word in sorted(words))
    return next((match[0] for match in near if match), "")
