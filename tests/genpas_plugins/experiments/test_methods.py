"""How methods are written: as words, as YAML files, with stores of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from genpas_plugins import GenPASConfig, InputError, SamplingPolicy
from genpas_plugins.augment import OPERATORS
from genpas_plugins.augment.operators.insert import Insert
from genpas_plugins.augment.operators.reorder import Reorder
from genpas_plugins.experiments.methods import (
    PROBABILITY,
    RATE,
    Method,
    check_different,
    check_loss,
    method_of,
    read_method,
    with_epochs,
)
from genpas_plugins.sampling.policy import EXPONENTS
from genpas_plugins.settings.mixing import MixingConfig
from genpas_plugins.settings.personaliser import PersonaliserConfig

CONFIGS = Path(__file__).parents[3] / "configs"


def methods_of(words: list[str]) -> list[Method]:
    methods = [read_method(word) for word in words]
    check_different(methods)
    return methods


@pytest.mark.parametrize("policy", [*EXPONENTS, "1,0,0", "2,1.5,-inf", "-1,0,inf"])
@pytest.mark.parametrize("additions", [[], ["insert"], ["reorder", "insert"], ["basrec"], ["crop", "basrec"]])
def test_a_word_is_a_policy_operators_and_mixing(policy: str, additions: list[str]):
    method = read_method("+".join([policy, *additions]))
    assert method.label == "+".join([policy, *additions]) == "+".join([method.genpas.policy.label, *additions])
    operators = tuple(OPERATORS[name](RATE, PROBABILITY) for name in additions if name != "basrec")
    assert method.genpas.augment == (operators or None)
    assert (method.loss is not None) == ("basrec" in additions) == ("mixing" in method.settings)
    assert GenPASConfig.from_config(method.settings) == method.genpas
    assert MixingConfig.from_config(method.settings) == method.loss


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_can_be_added(name: str):
    assert read_method(f"multi_target+{name}").genpas.augment == (OPERATORS[name](RATE, PROBABILITY),)


def test_a_store_of_its_own_follows_an_at(tmp_path: Path):
    method = read_method(f"multi_target+insert@{tmp_path}")
    assert (method.label, method.store) == (f"multi_target+insert@{tmp_path.name}", tmp_path.resolve())
    assert len(methods_of(["multi_target", f"multi_target@{tmp_path}"])) == 2
    with pytest.raises(InputError, match="twice"):
        methods_of([f"multi_target@{tmp_path}", f"multi_target@{tmp_path}/."])


def test_a_store_of_every_data_set_follows_an_at(tmp_path: Path):
    method = read_method(f"multi_target+dr4sr_plus@{tmp_path}/made/{{dataset}}")
    assert method.label == "multi_target+dr4sr_plus@made" and isinstance(method.loss, PersonaliserConfig)
    assert method.on_dataset("toys").store == tmp_path / "made" / "toys"
    assert method.on_dataset("toys").on_dataset("beauty").label == method.label
    check_loss(method, 11)
    with pytest.raises(InputError, match="dr4sr_plus has 10 plain epochs before it begins, and a run has 10"):
        check_loss(method, 10)
    with pytest.raises(InputError, match=r"dr4sr_plus weighs regenerated sequences. Add the store"):
        check_loss(read_method("multi_target+dr4sr_plus"), 11)


def test_a_row_of_several_keys_is_a_method():
    row = {"name": "released", "genpas": "multi_target", "mixing": {"method": "basrec", "released_weights": True}}
    method = method_of(row)
    assert (method.label, method.genpas.strategy) == ("released", "multi_target")
    assert method.loss == MixingConfig(method="basrec", released_weights=True)
    assert method_of({**row, "store": "made/{dataset}"}).on_dataset("toys").store == Path("made/toys").absolute()
    for change, reason in (
        ({"name": None}, "a row of several keys needs a name"),
        ({"name": "a/b"}, "without a slash"),
        ({"epochs": 3}, "a row has only the keys name, store, genpas, mixing, personaliser, not 'epochs'"),
        ({"store": "missing"}, "row released: store 'missing' is not a directory"),
        ({"genpas": "multi_targt"}, "row released: .*Did you mean 'multi_target'"),
        ({"personaliser": "dr4sr_plus"}, "mixing and personaliser are two losses"),
    ):
        with pytest.raises(InputError, match=reason):
            method_of({**row, **change})


def test_a_point_is_drawn_even_where_a_strategy_has_its_exponents():
    assert read_method("1.0, 0,-inf").genpas.policy == SamplingPolicy(1, 0, float("-inf"))
    assert read_method("1.0,0,-inf").label == "1,0,-inf"


def test_a_file_is_a_method(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "genpas: {strategy: sampled, alpha: 1e0, beta: .inf, gamma: 0}\nmixing: {method: basrec, views: 1}\n"
    )
    method = read_method(str(file))
    assert (method.label, method.genpas.policy.label) == ("mine.yaml", "1,inf,0")
    assert isinstance(method.loss, MixingConfig) and method.loss.views == 1
    file.write_text("genpas_strategy: last_target\nmixing_method: basrec\n")
    method = read_method(str(file))
    assert method.genpas.strategy == "last_target" and method.loss is not None


@pytest.mark.parametrize("file", sorted((CONFIGS / "strategy").glob("*.yaml")), ids=lambda file: file.name)
def test_the_shipped_strategies_are_methods(file: Path):
    assert read_method(str(file)).label == file.name


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("multi_targt", "Did you mean 'multi_target'"),
        ("multi_target+inzert", "Did you mean 'insert'"),
        ("multi_target+basrek", "Did you mean 'basrec'"),
        ("multi_target+insert+insert", "insert is there twice"),
        ("multi_target+", "unknown addition ''"),
        ("+insert", "'' is not a strategy"),
        ("+", "'' is not a strategy"),
        ("multi_target,last_target", "Write three numbers"),
        ("multi_target+insert,1,0,0", "unknown addition 'insert,1,0,0'"),
        ("sampled", "Write its exponents"),
        ("1,0", "Write three numbers"),
        ("1,0,nan", "gamma is NaN"),
        ("1,zero,0+insert", "Write three numbers"),
        ("missing.yaml", "does not exist"),
        ("multi_target@missing", "is not a directory"),
        ("multi_target@", "is not a directory"),
    ],
)
def test_a_word_that_is_no_method_is_refused(word: str, told: str):
    with pytest.raises(InputError) as error:
        read_method(word)
    assert word in str(error.value) and told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("genpas: multi_target\nlearning_rate: 0.1\n", "not 'learning_rate'"),
        ("mixing: basrec\n", "needs the key genpas"),
        ("genpas: multi_targt\n", "Did you mean 'multi_target'"),
        ("genpas: multi_target\nmixing: {method: basrec, view: 1}\n", "Did you mean 'views'"),
        ("multi_target\n", "needs the key genpas"),
        ("genpas: {strategy\n", "this is not YAML"),
    ],
)
def test_a_file_that_is_no_method_is_refused(text: str, told: str, tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"mine\.yaml") as error:
        read_method(str(file))
    assert told in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        ["multi_target", "last_target", "multi_target"],
        ["1,0,0", "1.0,0,-0"],
        ["multi_target", str(CONFIGS / "strategy" / "multi_target.yaml")],
        ["multi_target+insert+basrec", "multi_target+basrec+insert"],
    ],
)
def test_a_method_given_twice_is_refused(words: list[str]):
    with pytest.raises(InputError, match="twice"):
        methods_of(words)


def test_two_methods_of_one_label_are_refused_and_a_link_tells_them_apart(tmp_path: Path):
    for k, folder in enumerate(("old", "new")):
        (tmp_path / folder / "toys").mkdir(parents=True)
        (tmp_path / folder / "mine.yaml").write_text(f"genpas: {{strategy: multi_target, pairs_per_epoch: {5 + k}}}\n")
    (tmp_path / "old-toys").symlink_to(tmp_path / "old" / "toys")
    (tmp_path / "old-mine.yaml").symlink_to(tmp_path / "old" / "mine.yaml")

    def labels(*words: str) -> list[str]:
        return [method.label for method in methods_of([word.replace("~", str(tmp_path)) for word in words])]

    for word, link in {"1,0,0@~/old/toys": "1,0,0@~/old-toys", "~/old/mine.yaml": "~/old-mine.yaml"}.items():
        other = word.replace("old", "new")
        label = word.replace("~/old/", "")
        with pytest.raises(InputError, match=f"two methods are called {label}. Give one a link"):
            labels(word, "multi_target", other)
        # What a method is called does not depend on what stands beside it.
        assert labels(word) == labels(other) == labels(other, link)[:1] == [label]
        assert labels(link) == labels(link, other)[:1] == [link.replace("~/", "")]
        with pytest.raises(InputError, match="twice"):
            labels(word, link)
    assert labels("1,0,0@~/new/../old/toys/") == labels("1,0,0@~/old/toys/.") == ["1,0,0@toys"]
    (tmp_path / "old" / "toys" / "in").mkdir()
    assert labels("1,0,0@~/old/toys/in/..") == ["1,0,0@toys"]
    assert labels("~/old/mine.yaml@~/new/toys", "~/new/mine.yaml") == ["mine.yaml@toys", "mine.yaml"]


def test_the_order_of_operators_and_drawing_make_methods_differ():
    words = ["multi_target", "1,0,-inf", "multi_target+insert+reorder", "multi_target+reorder+insert"]
    methods = methods_of(words)
    assert [method.label for method in methods] == words
    assert [type(operator) for operator in methods[2].genpas.augment or ()] == [Insert, Reorder]


def test_mixing_that_would_never_begin_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"has 20 plain epochs .* and a run has 20. .* warmup_epochs: 10\}'"):
        check_loss(read_method("1,0,0+basrec"), 20)
    check_loss(read_method("1,0,0+basrec"), 21)
    check_loss(read_method("1,0,0"), 1)
    (tmp_path / "mine.yaml").write_text("genpas: multi_target\nmixing: {method: basrec, warmup_epochs: 1}\n")
    check_loss(read_method(str(tmp_path / "mine.yaml")), 2)


def test_an_epoch_of_a_file_s_own_is_refused(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("genpas: {strategy: slide_window, pairs_per_epoch: 50}\n")
    assert with_epochs(read_method(str(file)), 50).genpas.pairs_per_epoch == 50
    with pytest.raises(InputError, match=r"mine.yaml has pairs_per_epoch 50, and the table 60"):
        with_epochs(read_method(str(file)), 60)
