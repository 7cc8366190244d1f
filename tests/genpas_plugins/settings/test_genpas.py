import math
from typing import Any

import pytest

from genpas_plugins import GenPASConfig, InputError, SamplingPolicy
from genpas_plugins.augment.operators.insert import Insert

SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0.5, "gamma": -math.inf}


@pytest.mark.parametrize("strategy", ["last_target", "multi_target", "slide_window"])
def test_a_named_strategy_is_enough(strategy):
    config = GenPASConfig.from_mapping({"strategy": strategy})
    assert config == GenPASConfig(strategy=strategy)
    assert config == GenPASConfig.from_mapping(strategy)
    assert config.policy == SamplingPolicy.named(strategy)
    assert (config.pairs_per_epoch, config.augment) == (None, None)
    assert (config.targets, config.time_order, config.train_users) == ("single", "exact", 1.0)


def test_sampled_takes_three_exponents():
    assert GenPASConfig.from_mapping(SAMPLED).policy == SamplingPolicy(1, 0.5, -math.inf)


def test_every_key_is_read():
    section = {**SAMPLED, "pairs_per_epoch": 1000, "augment": None, "targets": "single", "time_order": "stock"}
    config = GenPASConfig.from_mapping(section)
    assert config.pairs_per_epoch == 1000
    assert config.time_order == "stock"


@pytest.mark.parametrize("several", [False, True])
def test_operators_are_read_and_written_again(several: bool):
    entry = {"operator": "insert", "rate": 0.3, "probability": 0.5}
    config = GenPASConfig.from_mapping({"strategy": "multi_target", "augment": [entry] if several else entry})
    assert config.augment == (Insert(0.3, 0.5),)
    assert config.model_dump()["augment"] == [entry]
    assert GenPASConfig.from_mapping(config.model_dump()) == config
    assert GenPASConfig.from_config({"genpas": "multi_target", "genpas_augment": entry}) == config


@pytest.mark.parametrize(
    ("section", "messages"),
    [
        # misspelt: the nearest valid word
        ({"stategy": "multi_target"}, ["no key 'stategy'", "Did you mean 'strategy'?", "pairs_per_epoch"]),
        ({**SAMPLED, "aplha": 1}, ["no key 'aplha'", "Did you mean 'alpha'?"]),
        ({**SAMPLED, "pairs_per_epochs": 1}, ["no key 'pairs_per_epochs'", "Did you mean 'pairs_per_epoch'?"]),
        ({**SAMPLED, 3: 1}, ["no key '3'"]),
        ({"strategy": "multitarget"}, ["strategy is 'multitarget'", "Did you mean 'multi_target'?", "slide_window"]),
        ({"strategy": "xyz"}, ["strategy is 'xyz'.", "Valid: sampled, "]),
        ("lasttarget", ["strategy is 'lasttarget'", "Did you mean 'last_target'?"]),
        ({**SAMPLED, "time_order": "exactly"}, ["time_order is 'exactly'", "Did you mean 'exact'?", "stock"]),
        ({**SAMPLED, "targets": "all"}, ["targets is 'all'", "Valid: single, parallel"]),
        ({**SAMPLED, "trim": 1}, ["trim", "1"]),
        ({**SAMPLED, "train_users": 0}, ["train_users must be a number above 0 and at most 1, not 0."]),
        ({**SAMPLED, "train_users": 1.5}, ["train_users must be a number", "1.5"]),
        ({**SAMPLED, "train_users": "all"}, ["train_users must be a number", "'all'"]),
        ({**SAMPLED, "train_user": 0.5}, ["no key 'train_user'", "Did you mean 'train_users'?"]),
        (
            {**SAMPLED, "targets": "parallel", "augment": {"operator": "crop", "rate": 0.5}},
            ["targets: parallel", "remove augment"],
        ),
        ({**SAMPLED, "augment": {"operator": "insert"}}, ["augment: insert needs a rate"]),
        (
            {**SAMPLED, "augment": [{"operator": "inserted", "rate": 1}]},
            ["operator is 'inserted'", "'insert'?"],
        ),
        ({**SAMPLED, "augment": {"operator": ["insert"], "rate": 1}}, ["operator is ['insert']", "crop, delete"]),
        (
            {**SAMPLED, "augment": {"operator": "crop", "rate": 1.5}},
            ["crop: rate must be a number from 0 to 1"],
        ),
        ({**SAMPLED, "augment": {"operator": "crop", "rate": math.nan}}, ["crop: rate must be a number", "nan"]),
        ({**SAMPLED, "augment": {"operator": "crop", "rate": "0.3"}}, ["rate must be a number", "'0.3'"]),
        ({**SAMPLED, "augment": {"operator": "crop", "rate": True}}, ["rate must be a number", "True"]),
        ({**SAMPLED, "augment": {"operator": "crop", "rate": 0.5, "probability": -1}}, ["probability must be", "-1"]),
        (
            {**SAMPLED, "augment": {"operator": "crop", "rate": 1, "prob": 1}},
            ["crop has no key 'prob'", "probability"],
        ),
        ({**SAMPLED, "augment": {"rate": 1}}, ["augment needs an operator: one of crop"]),
        ({**SAMPLED, "augment": "insert"}, ["augment must hold keys such as", "'insert'"]),
        ({**SAMPLED, "augment": []}, ["augment is a list of 0 operators", "null for none"]),
        ({**SAMPLED, "augment": [{"operator": "crop", "rate": 1}] * 65}, ["a list of 65 operators"]),
        # wrong types
        ({"strategy": None}, ["strategy is None", "Valid: sampled"]),
        ({"strategy": 1}, ["strategy is 1"]),
        ({"strategy": ["multi_target"]}, ["strategy is ('multi_target',)"]),
        ({**SAMPLED, "alpha": "1.0"}, ["alpha must be a number, inf or -inf, not '1.0'"]),
        ({**SAMPLED, "beta": True}, ["beta must be a number", "True"]),
        ({**SAMPLED, "gamma": [1]}, ["gamma must be a number", "(1,)"]),
        ({**SAMPLED, "alpha": math.nan}, ["alpha is NaN; it must be a number, inf or -inf"]),
        ({**SAMPLED, "pairs_per_epoch": 0}, ["pairs_per_epoch must be a whole number from 1 to"]),
        ({**SAMPLED, "pairs_per_epoch": 1.0}, ["pairs_per_epoch must be a whole number", "1.0"]),
        ({**SAMPLED, "pairs_per_epoch": "10"}, ["pairs_per_epoch must be a whole number", "'10'"]),
        ({**SAMPLED, "pairs_per_epoch": True}, ["pairs_per_epoch must be a whole number", "True"]),
        # impossible combinations
        ("sampled", ["strategy sampled needs alpha, beta and gamma", "alpha, beta, gamma is missing"]),
        ({"strategy": "sampled", "alpha": 1, "gamma": 0}, ["strategy sampled needs", "beta is missing"]),
        ({**SAMPLED, "beta": None}, ["beta is missing"]),
        (
            {**SAMPLED, "strategy": "multi_target"},
            ["multi_target has a distribution of its own", "remove alpha, beta, gamma"],
        ),
        ({"strategy": "last_target", "gamma": 0}, ["remove gamma or set strategy: sampled"]),
        ({}, ["strategy is missing; it must be text, such as last_target or last_items:length=50"]),
        ({"alpha": 1, "beta": 0, "gamma": 0}, ["strategy is missing"]),
        ("mixture", ["strategy mixture needs the key mixture"]),
        ({"strategy": "multi_target", "mixture": {"1,0,0": 1}}, ["Other strategies have none"]),
        (
            {"strategy": "mixture", "mixture": {"last_targt": 1}},
            ["mixture: 'last_targt' is not a strategy", "last_target"],
        ),
        ({"strategy": "mixture", "mixture": {"1,0,0": "1"}}, ["'1,0,0' has the weight '1'"]),
        ({"strategy": "mixture", "mixture": {"1,0,0": 0}}, ["finite numbers above 0"]),
        ({"strategy": "mixture", "mixture": ["1,0,0"]}, ["mixture has policies and their weights"]),
        ({"strategy": "mixture", "mixture": {"future_window": 1}, "targets": "parallel"}, ["Set targets: single"]),
        # no section at all
        (None, ["must hold keys such as 'strategy: last_target', not None"]),
        (True, ["must hold keys", "not True"]),
        (["multi_target"], ["must hold keys", "['multi_target']"]),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_and_says_where(section, messages):
    with pytest.raises(InputError) as caught:
        GenPASConfig.from_mapping(section, where="genpas.yaml")
    for message in ["genpas.yaml: genpas", *messages]:
        assert message in str(caught.value)


def test_without_the_key_nothing_is_configured():
    assert GenPASConfig.from_config({}) is None
    assert GenPASConfig.from_config({"genpassing": 1, 3: 4}) is None


def test_an_empty_section_is_refused_not_ignored():
    with pytest.raises(InputError, match="must hold keys such as"):
        GenPASConfig.from_config({"model": "SASRec", "genpas": None})


FLAT = {"genpas_strategy": "sampled", "genpas_alpha": 1, "genpas_beta": 0.5, "genpas_gamma": -math.inf}


@pytest.mark.parametrize(
    "config",
    [
        {"genpas": SAMPLED},
        FLAT,
        {"genpas": {"strategy": "sampled"}, **{key: value for key, value in FLAT.items() if key != "genpas_strategy"}},
        {"genpas": SAMPLED, **FLAT},
        {"genpas": {**SAMPLED, "alpha": 1.0}, "genpas_alpha": 1},
        {"genpas": "sampled", **FLAT},
        {"genpas": None, "train_batch_size": 2048, **FLAT},
    ],
    ids=str,
)
def test_flat_keys_mean_the_same_as_nested_ones(config):
    assert GenPASConfig.from_config(config) == GenPASConfig.from_mapping(SAMPLED)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"genpas": SAMPLED, "genpas_alpha": 2}, GenPASConfig(strategy="sampled", alpha=2, beta=0.5, gamma=-math.inf)),
        (
            {"genpas": {"strategy": "multi_target", "pairs_per_epoch": None}, "genpas_pairs_per_epoch": 5},
            GenPASConfig(strategy="multi_target", pairs_per_epoch=5),
        ),
        ({"genpas": SAMPLED, "genpas_strategy": "last_target"}, GenPASConfig(strategy="last_target")),
        ({"genpas": "multi_target", "genpas_train_users": 0.1}, GenPASConfig(strategy="multi_target", train_users=0.1)),
        ({"genpas": "multi_target", "genpas_strategy": "last_target"}, GenPASConfig(strategy="last_target")),
    ],
)
def test_flat_keys_win_over_the_section(config: dict[str, Any], expected: GenPASConfig):
    assert GenPASConfig.from_config(config) == expected


def test_a_whole_configuration_is_not_changed():
    config = {"genpas": {"strategy": "sampled"}, "genpas_alpha": 1, "genpas_beta": 0, "genpas_gamma": 0}
    GenPASConfig.from_config(config)
    assert config["genpas"] == {"strategy": "sampled"}


@pytest.mark.parametrize(
    ("config", "messages"),
    [
        ({"genpas_alhpa": 1}, ["no key 'alhpa'", "Did you mean 'alpha'?"]),
        ({"genpas_alpha": 1, "genpas_beta": 1, "genpas_gamma": 1}, ["strategy is missing"]),
        ({"genpas": "multi_target", "genpas_alpha": 1}, ["multi_target has a distribution of its own"]),
        ({"genpas": True}, ["must hold keys"]),
        ({"genpas": False}, ["must hold keys"]),
        ({"genpas": 3, **FLAT}, ["must hold keys", "not 3"]),
        ({"genpas": {}}, ["strategy is missing"]),
    ],
    ids=str,
)
def test_a_whole_configuration_that_cannot_be_meant_is_refused(config, messages):
    with pytest.raises(InputError) as caught:
        GenPASConfig.from_config(config, where="the command line")
    for message in ["the command line: genpas", *messages]:
        assert message in str(caught.value)


def test_a_configuration_built_in_python_is_checked_the_same():
    with pytest.raises(InputError, match="beta, gamma is missing"):
        GenPASConfig(strategy="sampled", alpha=1)
    with pytest.raises(InputError, match="alpha is NaN"):
        GenPASConfig(strategy="sampled", alpha=math.nan, beta=0, gamma=0)
