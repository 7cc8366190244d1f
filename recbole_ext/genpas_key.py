"""Parse and check the `genpas:` key of RecBole's configuration when the Config is made."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import recbole.data.dataset
from recbole.config import Config
from recbole.utils import InputType, ModelType

from genpas_plugins import GenPASConfig, InputError
from genpas_plugins.settings.all_sections import flat_keys, misspelt_section
from genpas_plugins.settings.genpas import EXPONENT_NAMES, PREFIX, SECTION
from genpas_plugins.settings.mixing import MixingConfig
from genpas_plugins.settings.personaliser import PersonaliserConfig
from genpas_plugins.settings.yaml_text import KeyPath, key_lines, name_places

OURS_ALONE = [name for name in GenPASConfig.model_fields if name not in (*EXPONENT_NAMES, "device")]
"""Keys of the section alone: outside it they would do nothing. RecBole sets a `device` of its own."""

Mistake = tuple[Sequence[str], str]
"""The keys of wrong settings, and a sentence about them."""

REPORT = "trained_on"
"""The Config key under which a run keeps what it trained on."""

NEEDS_ALL_PREFIXES = ("FEARec",)
"""Models that read the materialised prefixes, `inter_feat['item_id_list']`."""


def genpas_config(config: Config) -> GenPASConfig | None:
    """Return the checked section of a RecBole Config or None if GenPAS is off."""
    section: GenPASConfig | None = config[SECTION]
    return section


def read_sections(config: Config, config_files: Sequence[Any] = ()) -> None:
    """Check our sections of a RecBole Config and store each object under its key.

    Raises InputError for a wrong value and for a misspelt name of a section.
    """
    final = config.final_config_dict
    near = ((str(key), misspelt_section(str(key))) for key in final)
    refuse(config, config_files, (([key], f"there is no key {key!r}. Did you mean {it!r}?") for key, it in near if it))
    where = functools.partial(where_set, config, config_files)
    for kind in (GenPASConfig, MixingConfig, PersonaliserConfig):
        try:
            section = kind.from_config(final, where)
        except InputError as error:
            more = _replace(config, config_files) if kind is GenPASConfig else ""
            raise InputError(f"{error}{more}") from None
        if section is not None:
            final[kind.SECTION] = section


def keys_of(section: str) -> list[str]:
    """Return the section's own key and its flat keys."""
    return [section, *flat_keys(section)]


def refuse(config: Config, config_files: Sequence[Any], mistakes: Iterable[Mistake]) -> None:
    """Raise InputError for the first mistake with the places of its keys."""
    for keys, sentence in mistakes:
        raise InputError(f"{where_set(config, config_files, [(key,) for key in keys])}: {sentence}")


def check(config: Config) -> Iterator[Mistake]:
    """Yield models and data that cannot train on drawn pairs and unsuitable settings of a `genpas` section."""
    section = genpas_config(config)
    if section is None:
        return
    for key in OURS_ALONE:
        if key in config.final_config_dict:
            yield [key], f"{key} belongs inside the {SECTION} key, or is written {PREFIX}{key}."
    model, ours = config.model, keys_of(SECTION)
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        yield ours, f"{SECTION} draws pairs for sequential models; {model} is not one. Remove the key."
    if hasattr(recbole.data.dataset, f"{model}Dataset") or model in NEEDS_ALL_PREFIXES:
        yield (
            ours,
            f"{model} builds its own data set out of all prefixes and cannot train on drawn pairs. "
            f"Remove the {SECTION} key or choose another model.",
        )
    # Without a loss_type of its own a pairwise model, such as TransRec, has one loss.
    fixed = getattr(config.model_class, "input_type", None) == InputType.PAIRWISE and config["loss_type"] in (
        None,
        "BPR",
    )
    if (fixed or config["loss_type"] == "BPR") and config["train_neg_sample_args"]["distribution"] == "none":
        loss, other = (model, "") if fixed else ("loss_type BPR", "loss_type: CE, or ")
        yield (
            ["train_neg_sample_args", "loss_type"],
            f"{loss} compares a target with a negative, and train_neg_sample_args asks for none. "
            f"Set {other}train_neg_sample_args: {{distribution: uniform, sample_num: 1}}.",
        )
    if section.loss is not None and config["loss_type"] != "CE":
        yield (
            ["loss_type", SECTION, f"{PREFIX}loss"],
            f"loss of the {SECTION} section replaces cross-entropy over all items, and loss_type is "
            f"{config['loss_type']!r}. Set loss_type: CE and train_neg_sample_args: null.",
        )
    if config["benchmark_filename"] is not None:
        yield (
            ours,
            f"{SECTION} draws pairs from whole sequences, but benchmark_filename names data that are cut into "
            f"pairs already. Give the interactions as one .inter file or remove the {SECTION} key.",
        )


def _replace(config: Config, config_files: Sequence[str | Path]) -> str:
    """Return a sentence if the last section lacks a strategy and replaces others. Otherwise return no text."""
    every = [place for place in _places(config, config_files) if (SECTION,) in place[1]]
    *before, last = [name_places([(SECTION,)], [place]) for place in every] or [""]
    keys = config.final_config_dict.get(SECTION)
    if not before or not isinstance(keys, Mapping) or "strategy" in keys or f"{PREFIX}strategy" in config:
        return ""
    return f" The section of {last} replaces the whole section of {' and '.join(before)}. Write all of it in one place."


def where_set(config: Config, config_files: Sequence[str | Path], paths: Collection[KeyPath]) -> str:
    """Return the places of the values of these keys: file and line, Python or the command line.

    The last place that has a key counts. RecBole merges the files in order, then Python's dictionary and its own
    command line.
    """
    return name_places(paths, _places(config, config_files))


def _places(config: Config, config_files: Sequence[str | Path]) -> list[tuple[str, dict[KeyPath, int]]]:
    """Return the places of settings in RecBole's order with the line of every key or 0."""
    # `genpas train` hands its command line over as a dictionary with the name of the place.
    handed = config.variable_config_dict
    place, written = getattr(handed, "place", "config_dict"), getattr(handed, "written", handed)
    given = [(place, written), ("the command line", config.cmd_config_dict)]
    return [
        *((str(file), key_lines(Path(file))) for file in config_files),
        *((name, {(key,): 0 for key in values}) for name, values in given),
    ]
