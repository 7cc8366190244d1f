"""Whole runs of RecBole on a stand-in for a GPU: equal to the CPU's, with few waits, copies and kernels a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("faiss")

SASREC = {"n_heads": 1, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "SASRec": ("SASRec", SASREC),
    "GRU4Rec": ("GRU4Rec", {"dropout_prob": 0.0}),
    "FMLPRec": ("FMLPRec", {"hidden_dropout_prob": 0.0}),
    "BASRec": ("SASRec", {**SASREC, "mixing": {"method": "basrec", "warmup_epochs": 1}}),
    "TIGER": (
        "TIGER",
        {
            **{"levels": 2, "codes": 8, "d_model": 8, "num_heads": 2, "head_size": 4, "d_ff": 8, "beams": 20},
            **{"encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0},
        },
    ),
    "causal TIGER": ("TIGER", {}),
}
MODELS["causal TIGER"] = ("TIGER", {**MODELS["TIGER"][1], "encoder": "causal"})
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"strategy": "multi_target"},
    "trim": {"strategy": "multi_target", "trim": True},
    "parallel": {"strategy": "multi_target", "targets": "parallel"},
}
# RecBole's trainer reads each loss twice; a batch is drawn with one wait.
STEP = {
    "genpas_plugins/neural/device/device_batch.py:fetched_sizes": 1,
    "recbole/trainer/trainer.py:_train_epoch": 1,
    "recbole/trainer/trainer.py:_check_nan": 1,
}
# BASRec has three losses; its model is probed once.
BASREC = {
    **STEP,
    "recbole/trainer/trainer.py:<genexpr>": 3,
    "recbole_ext/model_probe.py:close": 1.34,
    "recbole_ext/models/contract.py:ignores_padding": 0.34,
    "recbole_ext/trimming.py:on_cpu": 0.34,
}
# The layout of TIGER's windows is computed on the CPU.
WINDOWS = {
    **STEP,
    "recbole_ext/parallel_targets.py:__call__": 1,
    "recbole_ext/trimming.py:on_cpu": 1,
}
TEST = {"recbole/evaluator/collector.py:get_data_struct": 1, "recbole_ext/trimming.py:on_cpu": 1}
OF_TIGER = {**TEST, "recbole_ext/models/tiger.py:load_state_dict": 1, "recbole_ext/models/tiger.py:shared_arguments": 1}
BUDGET = {
    # case: waits by function, copies, kernels a step; the same of the test, weights loaded; raise none
    "SASRec, plain": ((STEP, 0, 716), (TEST, 28, 41)),
    "SASRec, trim": ((STEP, 0, 840), (TEST, 29, 84)),
    "SASRec, parallel": ((STEP, 0, 654), (TEST, 29, 84)),
    "GRU4Rec, plain": ((STEP, 0, 549), (TEST, 13, 17)),
    "GRU4Rec, trim": ((STEP, 0, 596), (TEST, 14, 36)),
    "GRU4Rec, parallel": ((STEP, 0, 410), (TEST, 14, 36)),
    "FMLPRec, plain": ((STEP, 0, 640), (TEST, 21, 30)),
    "FMLPRec, trim": ((STEP, 0, 730), (TEST, 22, 62)),
    "BASRec, plain": ((BASREC, 19.4, 1300), (TEST, 28, 41)),
    "BASRec, trim": ((BASREC, 19.4, 1650), (TEST, 29, 84)),
    "TIGER, plain": ((STEP, 0, 1082), (OF_TIGER, 49, 425)),
    "causal TIGER, parallel": ((WINDOWS, 30, 2400), (OF_TIGER, 49, 500)),
}


@pytest.fixture(scope="module")
def found(on_stand_in: Callable[..., Any], settings: dict[str, Any], tmp_path_factory) -> dict[str, dict[str, Any]]:
    """Return what `training_on_device.py` measures, by case."""
    folder = tmp_path_factory.mktemp("runs")
    common = {key: settings[key] for key in ("data_path", "train_neg_sample_args", "seed", "show_progress", "state")}
    common |= {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "checkpoint_dir": str(folder)}
    common |= {"MAX_ITEM_LIST_LENGTH": 12, "train_batch_size": 64, "eval_batch_size": 1000, "epochs": 2}
    common |= {"topk": [5], "metrics": ["NDCG", "Recall"], "valid_metric": "NDCG@5"}
    cases = {}
    for case in BUDGET:
        name, way = case.split(", ")
        model, own = MODELS[name]
        sizes = {key: settings[key] for key in SIZES[model]}
        cases[case] = (model, {**common, **sizes, **own, "genpas": WAYS[way]})
    (folder / "cases.json").write_text(json.dumps(cases))
    lines = on_stand_in(Path(__file__).with_name("training_on_device.py"), str(folder / "cases.json"))
    return {line["case"]: line for line in lines}


SIZES = {
    "SASRec": ("n_layers", "hidden_size", "inner_size"),
    "FMLPRec": ("n_layers", "hidden_size", "inner_size"),
    "GRU4Rec": ("hidden_size", "embedding_size"),
    "TIGER": (),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BUDGET)
def test_a_run_is_the_cpus_and_stays_within_its_budget(found, case):
    line = found[case]
    losses, expected = line["losses"]
    # BASRec's numbers depend on the width of a batch, which a GPU rounds up to a multiple of eight.
    assert losses == pytest.approx(expected, rel=0.01 if case == "BASRec, trim" else 1e-5)
    for figures, of_cpu in zip(*line["figures"], strict=True):
        assert figures == pytest.approx(of_cpu, abs=0.03)  # one user of 40 may change places
    for counts, (waits, copies, kernels) in zip((line["step"], line["test"]), BUDGET[case], strict=True):
        assert all(count <= waits.get(function, 0) for function, count in counts["waits"].items()), counts["waits"]
        assert counts["copies"] <= copies
        assert counts["kernels"] <= 1.1 * kernels  # draws included, which have a budget of their own
