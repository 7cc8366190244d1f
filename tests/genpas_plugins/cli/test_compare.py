"""`genpas compare`: how methods are written, what is refused before anything is trained, and the table's figures."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from genpas_plugins import GenPASConfig, InputError, SamplingPolicy, SequenceStore
from genpas_plugins.augment import OPERATORS
from genpas_plugins.augment.operators.insert import Insert
from genpas_plugins.augment.operators.reorder import Reorder
from genpas_plugins.cli import app
from genpas_plugins.experiments.budget import read_seeds, whole_epochs
from genpas_plugins.experiments.measured_settings import check_metric, figure_names, measures
from genpas_plugins.experiments.methods import PROBABILITY, RATE, check_mixing, read_method, read_methods, with_epochs
from genpas_plugins.experiments.text_table import grid, markdown, row
from genpas_plugins.sampling.policy import EXPONENTS
from genpas_plugins.settings.mixing import MixingConfig

Run = Callable[..., Any]
CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.fixture
def compare() -> Run:
    """Return compare(*arguments), which runs `genpas compare` in this process."""
    return lambda *arguments: CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def saved(medium: SequenceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare") / "medium"
    medium.save(path)
    return path


@pytest.mark.parametrize("policy", [*EXPONENTS, "1,0,0", "2,1.5,-inf", "-1,0,inf"])
@pytest.mark.parametrize("additions", [[], ["insert"], ["reorder", "insert"], ["basrec"], ["crop", "basrec"]])
def test_a_word_is_a_policy_operators_and_mixing(policy: str, additions: list[str]):
    method = read_method("+".join([policy, *additions]))
    assert method.label == "+".join([policy, *additions]) == "+".join([method.genpas.policy.label, *additions])
    operators = tuple(OPERATORS[name](RATE, PROBABILITY) for name in additions if name != "basrec")
    assert method.genpas.augment == (operators or None)
    assert (method.mixing is not None) == ("basrec" in additions) == ("mixing" in method.settings)
    assert GenPASConfig.from_config(method.settings) == method.genpas
    assert MixingConfig.from_config(method.settings) == method.mixing


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_can_be_added(name: str):
    assert read_method(f"multi_target+{name}").genpas.augment == (OPERATORS[name](RATE, PROBABILITY),)


def test_a_store_of_its_own_follows_an_at(tmp_path: Path):
    method = read_method(f"multi_target+insert@{tmp_path}")
    assert (method.label, method.store) == (f"multi_target+insert@{tmp_path.name}", tmp_path.resolve())
    assert len(read_methods(["multi_target", f"multi_target@{tmp_path}"])) == 2
    with pytest.raises(InputError, match="twice"):
        read_methods([f"multi_target@{tmp_path}", f"multi_target@{tmp_path}/."])


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
    assert method.mixing is not None and method.mixing.views == 1
    file.write_text("genpas_strategy: last_target\nmixing_method: basrec\n")
    method = read_method(str(file))
    assert method.genpas.strategy == "last_target" and method.mixing is not None


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
        ("multi_target+", "'' is no addition"),
        ("+insert", "before the first +, as in multi_target+insert"),
        ("+", "before the first +"),
        ("multi_target,last_target", "each method as an entry"),
        ("multi_target+insert,1,0,0", "each method as an entry"),
        ("sampled", "written as its exponents"),
        ("1,0", "write three numbers"),
        ("1,0,nan", "write three numbers"),
        ("1,zero,0+insert", "write three numbers"),
        ("missing.yaml", "no such file"),
        ("multi_target@missing", "is no directory"),
        ("multi_target@", "is no directory"),
    ],
)
def test_a_word_that_is_no_method_is_refused(word: str, told: str):
    with pytest.raises(InputError, match=r"^--methods") as error:
        read_method(word)
    assert word in str(error.value) and told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("genpas: multi_target\nlearning_rate: 0.1\n", "not 'learning_rate'"),
        ("mixing: basrec\n", "needs a genpas key"),
        ("genpas: multi_targt\n", "Did you mean 'multi_target'"),
        ("genpas: multi_target\nmixing: {method: basrec, view: 1}\n", "Did you mean 'views'"),
        ("multi_target\n", "may hold a mixing one"),
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
        read_methods(words)


def test_two_methods_of_one_label_are_refused_and_a_link_tells_them_apart(tmp_path: Path):
    for k, folder in enumerate(("old", "new")):
        (tmp_path / folder / "toys").mkdir(parents=True)
        (tmp_path / folder / "mine.yaml").write_text(f"genpas: {{strategy: multi_target, pairs_per_epoch: {5 + k}}}\n")
    (tmp_path / "old-toys").symlink_to(tmp_path / "old" / "toys")
    (tmp_path / "old-mine.yaml").symlink_to(tmp_path / "old" / "mine.yaml")

    def labels(*words: str) -> list[str]:
        return [method.label for method in read_methods([word.replace("~", str(tmp_path)) for word in words])]

    for word, link in {"1,0,0@~/old/toys": "1,0,0@~/old-toys", "~/old/mine.yaml": "~/old-mine.yaml"}.items():
        other = word.replace("old", "new")
        label = word.replace("~/old/", "")
        with pytest.raises(InputError, match=f"are both called {label}; a copy or a link") as error:
            labels(word, "multi_target", other)
        assert word.replace("~", str(tmp_path)) in str(error.value) and str(tmp_path / "new") in str(error.value)
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
    methods = read_methods(words)
    assert [method.label for method in methods] == words
    assert [type(operator) for operator in methods[2].genpas.augment or ()] == [Insert, Reorder]


def test_mixing_that_would_never_begin_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"has 20 plain epochs .* and a run has 20: .* warmup_epochs: 10\}'"):
        check_mixing(read_method("1,0,0+basrec"), 20)
    check_mixing(read_method("1,0,0+basrec"), 21)
    check_mixing(read_method("1,0,0"), 1)
    (tmp_path / "mine.yaml").write_text("genpas: multi_target\nmixing: {method: basrec, warmup_epochs: 1}\n")
    check_mixing(read_method(str(tmp_path / "mine.yaml")), 2)


def test_an_epoch_of_a_file_s_own_is_refused(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("genpas: {strategy: slide_window, pairs_per_epoch: 50}\n")
    assert with_epochs(read_method(str(file)), 50).settings["genpas"].pairs_per_epoch == 50
    with pytest.raises(InputError, match=r"mine.yaml has pairs_per_epoch 50, the comparison 60"):
        with_epochs(read_method(str(file)), 60)


@pytest.mark.parametrize("words", [[""], ["1", "-2"], ["1.5"], ["one"], ["1", "1"], ["4294967296"]])
def test_seeds_that_are_none_are_refused(words: list[str]):
    with pytest.raises(InputError, match="--seeds"):
        read_seeds(words)


def test_pairs_are_whole_epochs():
    assert read_seeds(["3", "0"]) == [3, 0]
    for epochs, length in itertools.product((1, 2, 7), (1, 30)):
        assert whole_epochs(epochs * length, length) == epochs
    with pytest.raises(InputError, match="write 60 or 90, or set"):
        whole_epochs(61, 30)
    with pytest.raises(InputError, match="write 30, or set"):
        whole_epochs(1, 30)


def test_metrics():
    assert [check_metric(text) for text in ("NDCG@10", "recall@020", "hit@1")] == ["NDCG@10", "Recall@20", "Hit@1"]
    for text, told in {
        "NDGC@10": "Did you mean 'NDCG'",
        "NDCG": "behind an @",
        "NDCG@0": "behind an @",
        "NDCG@x": "@",
    }.items():
        with pytest.raises(InputError, match=told):
            check_metric(text)


def test_the_metric_that_chooses_is_measured_in_any_case():
    assert figure_names(measures([], "NDCG@10")) == ["ndcg@10", "recall@10"]
    assert measures([{"topk": 5}, {"metrics": ["Hit"], "seed": 1}, {"topk": [20, 1]}], "MRR@3") == {
        "metrics": ["Hit", "MRR"],
        "topk": [20, 1, 3],
    }
    assert measures([{"metrics": ["recall"], "topk": [3]}], "Recall@3") == {"metrics": ["recall"], "topk": [3]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--methods", "multi_targt", "--pairs", "5"], "Did you mean 'multi_target'"),
        (["--methods", "multi_target,multi_target", "--pairs", "5"], "twice"),
        (["--methods", "multi_target", "--pairs", "5"], "no multiple of the"),
        (["--methods", "multi_target", "--pairs", "50", "--pairs-per-epoch", "25", "--seeds", ""], "--seeds"),
        (["--methods", "multi_target", "--pairs", "5", "--pairs-per-epoch", "5", "--metric", "AUC@10"], "--metric"),
        (
            ["--methods", "multi_target", "--pairs", "5", "--pairs-per-epoch", "5", "--set", "epochs=3"],
            "Write --pairs instead",
        ),
        (["--methods", "multi_target", "--pairs", "5", "--pairs-per-epoch", "5", "--set", "mixing=x"], "--set mixing="),
        (
            ["--methods", "multi_target", "--pairs", "5", "--pairs-per-epoch", "5", "--config", "no.yaml"],
            "no.yaml does not",
        ),
    ],
)
def test_bad_arguments_are_one_sentence_and_leave_nothing(
    arguments: list[str], told: str, compare: Run, saved: Path, tmp_path: Path
):
    done = compare(saved, "--out", tmp_path / "out", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_with_a_method_in_it_is_refused(compare: Run, saved: Path, tmp_path: Path):
    file = tmp_path / "model.yaml"
    file.write_text("hidden_size: 8\ngenpas_alpha: 1\n")
    budget = ("--pairs", 5, "--pairs-per-epoch", 5)
    done = compare(saved, "--out", tmp_path / "out", "--methods", "multi_target", *budget, "-c", file)
    assert done.exit_code == 2 and "genpas_alpha is what methods differ in" in done.stderr


def cell(validation: float, ndcg: float, seconds: float) -> dict[str, Any]:
    trained_on = {"kl_validation": 0.25}
    figures = {"pairs_seen": 1200, "validation": validation, "test": {"ndcg@10": ndcg}, "seconds": seconds}
    return {**figures, "trained_on": trained_on}


def test_the_table_has_means_and_sample_deviations():
    of_two = row("multi_target", [cell(0.1, 0.2, 10), cell(0.3, 0.2, 14)])
    assert of_two["validation"] == {"mean": pytest.approx(0.2), "sd": pytest.approx(0.02**0.5)}
    assert of_two["test"]["ndcg@10"]["sd"] == 0 and of_two["pairs_seen"] == 1200
    lines = grid([of_two, row("1,0,0", [cell(0.1, 0.2, 10)])], "NDCG@10")
    assert lines == [
        ["method", "pairs seen", "validation NDCG@10", "test ndcg@10", "seconds", "KL"],
        ["multi_target", "1,200", "0.2000 ± 0.1414", "0.2000 ± 0.0000", "12.0 ± 2.8", "0.2500"],
        ["1,0,0", "1,200", "0.1000 ± –", "0.2000 ± –", "10.0 ± –", "0.2500"],
    ]
    page = markdown(lines, "SASRec on x")
    assert "| 1,0,0 | 1,200 | 0.1000 ± – |" in page and page.startswith("# SASRec on x\n")
