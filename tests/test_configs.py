"""The YAML in configs/ is valid and says what its name says."""

from pathlib import Path

import pytest
import yaml

from genpas_plugins import GenPASConfig

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


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_config_is_a_mapping(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict)
