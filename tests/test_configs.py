"""The YAML in configs/ is valid and says what its name says."""

from pathlib import Path

import pytest
import yaml

from genpas_plugins import GenPASConfig
from genpas_plugins.experiments.table import read_table
from genpas_plugins.settings.base import Section
from genpas_plugins.settings.field_words import commented_yaml
from genpas_plugins.settings.mixing import MixingConfig
from genpas_plugins.settings.personaliser import PersonaliserConfig
from genpas_plugins.settings.torchrec import TorchRecConfig
from genpas_plugins.settings.yaml_text import read_scalar

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.mark.parametrize("file", sorted((CONFIGS / "strategy").glob("*.yaml")), ids=lambda file: file.stem)
def test_strategies_are_valid_sections(file: Path) -> None:
    config = GenPASConfig.from_config(yaml.safe_load(file.read_text(encoding="utf-8")), str(file))
    assert config is not None
    if file.stem == "augmented":
        assert config.augment
    elif file.stem == "parallel_targets":
        assert config.targets == "parallel"
    else:
        assert (config.strategy, config.augment) == (file.stem, None)


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("mixing/basrec", MixingConfig(method="basrec")),
        ("regeneration/dr4sr_plus", PersonaliserConfig(method="dr4sr_plus")),
        ("torchrec/row_wise", TorchRecConfig()),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_whole_section_has_the_defaults_and_comments_of_its_model(file: str, settings: Section) -> None:
    text = (CONFIGS / f"{file}.yaml").read_text(encoding="utf-8")
    assert text.endswith("\n" + commented_yaml(settings.SECTION, settings))
    assert type(settings).from_config(read_scalar(text)) == settings


@pytest.mark.parametrize("file", sorted((CONFIGS / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_tables_can_be_trained_to_their_last_epoch(file: Path) -> None:
    table = read_table(file)
    assert table.epochs is not None and table.epochs % table.settings.get("eval_step", 1) == 0
    assert {name.removesuffix("-7core") for name in table.names} <= {"beauty", "toys", "sports", "ml-1m"}


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_config_is_a_mapping(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict)
