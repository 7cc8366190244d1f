"""Half precision on a GPU: bfloat16, or float16 with a scaler; a combination with wrong gradients is refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genpas_plugins import InputError
from recbole_ext import half_precision
from recbole_ext.genpas_key import refuse
from recbole_ext.patches import _with_our_loss

GENPAS = {"genpas": {"strategy": "multi_target"}, "train_neg_sample_args": None}


def check(config: Any) -> None:
    refuse(config, (), half_precision.check(config))


@pytest.fixture
def on_gpu(prepare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return the Config of some settings, with the device of a GPU that has bfloat16 or not."""

    def config(*, bfloat16: bool, **settings: Any) -> Any:
        made = prepare(**settings).config
        made.final_config_dict["device"] = torch.device("cuda", 0)
        monkeypatch.setattr(half_precision, "_has_bfloat16", lambda: bfloat16)
        return made

    return config


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({**GENPAS, "enable_amp": True}, torch.bfloat16),
        ({**GENPAS, "enable_amp": True, "enable_scaler": True}, torch.float16),
        ({"enable_amp": True, "train_neg_sample_args": None}, torch.float16),  # stock RecBole
    ],
    ids=["genpas", "scaler", "stock"],
)
def test_an_epoch_on_a_gpu_is_in_a_type_that_keeps_small_gradients(on_gpu, keys, expected):
    config, seen = on_gpu(bfloat16=True, **keys), []
    check(config)
    trainer = SimpleNamespace(config=config)

    def train_epoch(*_: Any) -> None:
        seen.append(torch.get_autocast_dtype("cuda"))

    _with_our_loss(train_epoch)(trainer, None, 0, lambda: None)
    assert seen == [expected]
    assert torch.get_autocast_dtype("cuda") == torch.float16


def test_a_gpu_without_bfloat16_needs_a_scaler(on_gpu):
    with pytest.raises(InputError, match=r"no bfloat16.*Set enable_scaler: true"):
        check(on_gpu(bfloat16=False, enable_amp=True, **GENPAS))
    check(on_gpu(bfloat16=False, enable_amp=True, enable_scaler=True, **GENPAS))
    check(on_gpu(bfloat16=False, enable_amp=True, train_neg_sample_args=None))


def test_a_scaler_with_clipping_is_refused(prepare):
    with pytest.raises(InputError, match=r"RecBole clips the scaled gradients"):
        prepare(enable_amp=True, enable_scaler=True, clip_grad_norm={"max_norm": 5.0}, **GENPAS)
