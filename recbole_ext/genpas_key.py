"""The `genpas:` key in RecBole's configuration: checked when the Config is made, before any data is read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import recbole.data.dataset
import yaml
from recbole.config import Config
from recbole.utils import ModelType

from genpas_plugins import GenPASConfig, InputError
from genpas_plugins.settings.genpas import PREFIX, SECTION

OURS_ALONE = ("strategy", "pairs_per_epoch", "augment", "targets", "trim", "time_order", "train_users")
"""Words of the section that RecBole does not know: written outside it, they would silently do nothing."""

REPORT = "trained_on"
"""The Config key under which a run keeps what it trained on."""

NEEDS_ALL_PREFIXES = ("FEARec",)
"""Models that read the materialised prefixes (`inter_feat['item_id_list']`) themselves."""


def genpas_config(config: Config) -> GenPASConfig | None:
    """Return the checked section of a RecBole Config, None where GenPAS is off."""
    section = config[SECTION]
    return None if section is None else GenPASConfig.from_mapping(section)


def check(config: Config, config_files: Sequence[str | Path] = ()) -> None:
    """Check the section and store it in full under `config['genpas']`; do nothing where GenPAS is off.

    Raises InputError for a wrong section, a model that cannot be trained on drawn pairs, and pre-split data.
    """
    final = config.final_config_dict
    for key in final:
        if _is_misspelt(str(key)):
            raise InputError(
                f"{where_set(config, config_files, [key])}: there is no key {key!r}. Did you mean {SECTION!r}?"
            )
    where = where_set(config, config_files, [key for key in final if _is_ours(str(key))])
    try:
        section = GenPASConfig.from_config(final, where)
    except InputError as error:
        raise InputError(f"{error}{_replaced(config, config_files)}") from None
    if section is None:
        return
    for key in OURS_ALONE:
        if key in final:
            raise InputError(
                f"{where_set(config, config_files, [key])}: {key} belongs inside the {SECTION} key, "
                f"or is written {PREFIX}{key}."
            )
    model = config.model
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        raise InputError(f"{where}: {SECTION} draws pairs for sequential models; {model} is not one. Remove the key.")
    if hasattr(recbole.data.dataset, f"{model}Dataset") or model in NEEDS_ALL_PREFIXES:
        raise InputError(
            f"{where}: {model} builds its own data set out of all prefixes and cannot train on drawn pairs. "
            f"Remove the {SECTION} key or choose another model."
        )
    if config["loss_type"] == "BPR" and config["train_neg_sample_args"]["distribution"] == "none":
        place = where_set(config, config_files, ["train_neg_sample_args", "loss_type"])
        raise InputError(
            f"{place}: loss_type BPR compares a target with a negative, and train_neg_sample_args asks for none. "
            "Set loss_type: CE, or train_neg_sample_args: {distribution: uniform, sample_num: 1}."
        )
    if config["benchmark_filename"] is not None:
        raise InputError(
            f"{where}: {SECTION} draws pairs from whole sequences, but benchmark_filename names data that are cut into "
            f"pairs already. Give the interactions as one .inter file or remove the {SECTION} key."
        )
    final[SECTION] = asdict(section)


def _replaced(config: Config, config_files: Sequence[str | Path]) -> str:
    """Return a sentence about sections without a strategy that stand behind others, nothing where it is not so."""
    *before, last = [_named(name, line) for _, name, line in _places(config, config_files, SECTION)] or [""]
    keys = config.final_config_dict.get(SECTION)
    if not before or not isinstance(keys, Mapping) or "strategy" in keys or f"{PREFIX}strategy" in config:
        return ""
    return f" The section of {last} replaces that of {' and '.join(before)} whole: write all of it in one place."


def _is_ours(key: str) -> bool:
    return key == SECTION or key.startswith(PREFIX)


def _is_misspelt(key: str) -> bool:
    """Tell whether a key was meant for us: as a whole (genpass) or by its first word (GenPAS_alpha, genpas-alpha)."""
    words = {key.lower(), re.split("[^a-z]", key.lower())[0]}
    return not _is_ours(key) and any(difflib.get_close_matches(word, [SECTION], cutoff=0.82) for word in words)


def where_set(config: Config, config_files: Sequence[str | Path], keys: Collection[Any]) -> str:
    """Name every place that the values of these keys come from, the file and line where it is a file.

    Of the places that hold a key the last counts, as RecBole merges them: files in their order, then what Python
    hands over, then RecBole's own command line.
    """
    last = {key: places[-1] for key in keys if (places := _places(config, config_files, str(key)))}
    lines: dict[tuple[int, str], int] = {}
    for place, name, line in last.values():
        lines[place, name] = min(line, lines.get((place, name), line))
    return " and ".join(_named(name, line) for (_, name), line in sorted(lines.items())) or "the configuration"


def _places(config: Config, config_files: Sequence[str | Path], key: str) -> list[tuple[int, str, int]]:
    """Return where a key stands, in the order in which it is overruled: number and name of the place, line or 0."""
    places = []
    for number, file in enumerate(config_files):
        root = yaml.compose(Path(file).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        lines = [name.start_mark.line + 1 for name, _ in getattr(root, "value", []) if name.value == key]
        places += [(number, str(file), lines[0])] if lines else []
    # `genpas train` hands its command line over as a dictionary, and says so.
    handed = config.variable_config_dict
    place, written = getattr(handed, "place", "config_dict"), getattr(handed, "written", handed)
    given = [(place, written), ("the command line", config.cmd_config_dict)]
    return places + [(len(config_files) + i, name, 0) for i, (name, values) in enumerate(given) if key in values]


def _named(name: str, line: int) -> str:
    return f"{name}, line {line}" if line else name
