"""What `genpas train` accepts as a setting: all that is read, all that is shipped, and nothing else."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest
import yaml
from recbole.utils import get_model

from genpas_plugins import InputError
from recbole_ext.known_settings import check_model, check_settings, defaults, known_settings, model_names

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = [file for file in sorted(CONFIGS.rglob("*.yaml")) if file.parent.name != "experiment"]

OF_RECBOLE = """
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
RATING_FIELD: rating
TIME_FIELD: timestamp
NEG_PREFIX: neg_
LABEL_FIELD: label
ITEM_LIST_LENGTH_FIELD: item_length
LIST_SUFFIX: _list
MAX_ITEM_LIST_LENGTH: 50
POSITION_FIELD: position_id
load_col: {inter: [user_id, item_id]}
unload_col: ~
unused_col: ~
user_inter_num_interval: "[5,inf)"
item_inter_num_interval: "[5,inf)"
val_interval: {rating: "[3,inf)"}
filter_inter_by_user_or_item: true
rm_dup_inter: ~
alias_of_item_id: ~
additional_feat_suffix: ~
benchmark_filename: ~
normalize_all: ~
threshold: ~
field_separator: "\\t"
seq_separator: " "
encoding: utf-8
gpu_id: "0"
worker: 0
enable_amp: true
tail_ratio: 0.1
wandb_project: x
eval_args: {split: {LS: valid_and_test}, order: TO, group_by: user, mode: full}
mask_history: true
model: SASRec
dataset: mine
"""


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_shipped_files_are_accepted(file: Path):
    model = yaml.safe_load(file.read_text()).get("model", "TIGER" if file.stem == "tiger" else "SASRec")
    check_settings(model, "mine", [file])


def test_settings_of_recboles_documentation_and_of_ours_are_accepted(tmp_path: Path):
    file = tmp_path / "all.yaml"
    file.write_text(OF_RECBOLE)
    check_settings("SASRec", "mine", [file])
    ours = ["genpas", "genpas_alpha", "mixing", "mixing_method", "personaliser", "torchrec"]
    check_settings("SASRec", "ml-100k", (), ours)
    check_settings("S3Rec", "mine", (), ["pretrain_epochs", "save_step", "item_attribute"])
    check_settings("SASRec", "mine", (), ["mask_ratio", "transform"])
    check_settings("TIGER", "mine", (), ["semantic_ids", "beams", "exact_ranking", "learning_rate_decay"])


@pytest.mark.parametrize(
    "model", ["BERT4Rec", "FEARec", "GRU4Rec", "HRM", "KD_DAGFM", "TIGER", "FMLPRec", "BPR", "KGAT"]
)
def test_whatever_a_models_code_reads_is_known(model: str):
    code = inspect.getsource(sys.modules[get_model(model).__module__])
    read = set(re.findall(r"""config\[["'](\w+)["']\]""", code)) - {"device"}
    assert read | set(defaults(model, "")) - {"MODEL_TYPE", "genpas"} <= known_settings(model)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            "epochs: 1\nhiden_size: 8",
            2,
            "neither RecBole nor SASRec has a setting 'hiden_size'. Did you mean 'hidden_size'",
        ),
        ("beams: 8", 1, "neither RecBole nor SASRec has a setting 'beams'"),
        ("mask_ratio: 0.2", 1, "has a setting 'mask_ratio'"),
        ("device: cpu", 1, "device belongs inside the genpas key"),
        ("genpass: multi_target", 1, "Did you mean 'genpas'?"),
        ("GENPAS_strategy: multi_target", 1, "Did you mean 'genpas_strategy'?"),
        ("mixin: basrec", 1, "Did you mean 'mixing'?"),
        ("alpha: 1", 1, "alpha belongs inside the genpas key, or is written genpas_alpha."),
    ],
)
def test_what_nothing_reads_is_refused_with_file_and_line(text: str, line: int, told: str, tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text(text + "\n")
    with pytest.raises(InputError) as caught:
        check_settings("SASRec", "mine", [file])
    assert str(caught.value).startswith(f"{file}, line {line}: ") and told in str(caught.value)
    with pytest.raises(InputError, match=r"^the command line: "):
        check_settings("SASRec", "mine", (), yaml.safe_load(text))


@pytest.mark.parametrize("text", ["", "# nothing yet", "- epochs: 1"])
def test_a_file_without_settings_is_refused(text: str, tmp_path: Path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=r"a\.yaml has no settings"):
        check_settings("SASRec", "mine", [tmp_path / "a.yaml"])


@pytest.mark.parametrize(("model", "meant"), [("SASRek", "SASRec"), ("sasrec", "SASRec"), ("TIGRE", "TIGER")])
def test_a_misspelt_model_is_told_the_nearest(model: str, meant: str):
    assert meant in model_names()
    with pytest.raises(InputError, match=f"no model '{model}'. Did you mean '{meant}'?") as caught:
        check_model(model)
    assert "installed" not in str(caught.value)
    check_model(meant)


def test_a_package_that_a_model_needs_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith("recbole.model.exlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "xgboost", None)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(InputError, match=r"xgboost needs (lightgbm|xgboost), which is not installed"):
        check_model("xgboost")
