"""`enable_amp: true` with a `genpas` section on a GPU takes bfloat16. It needs no scaler.

RecBole takes float16 on a GPU and by default does not scale the loss. Small gradients are then zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from recbole.config import Config

from recbole_ext.genpas_key import Mistake, genpas_config


def check(config: Config) -> Iterator[Mistake]:
    """Yield half precision with wrong gradients; nothing if GenPAS is off."""
    if genpas_config(config) is None:
        return
    if config["enable_scaler"] and config["clip_grad_norm"]:
        yield (
            ["enable_scaler", "clip_grad_norm"],
            "RecBole clips the scaled gradients, so clip_grad_norm with enable_scaler clips nearly all of "
            "them. Remove one of the two keys.",
        )
    if config["enable_amp"] and _on_gpu(config) and not config["enable_scaler"] and not _has_bfloat16():
        yield (
            ["enable_amp"],
            "this GPU has no bfloat16, and in float16 small gradients are zero. Set enable_scaler: true, or "
            "remove enable_amp.",
        )


@contextmanager
def autocast_type(config: Config) -> Iterator[None]:
    """Let autocast on a GPU take bfloat16 inside the block unless there is a scaler for float16."""
    if genpas_config(config) is None or not _on_gpu(config) or config["enable_scaler"]:
        yield
        return
    before = torch.get_autocast_dtype("cuda")
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        yield
    finally:
        torch.set_autocast_dtype("cuda", before)


def _on_gpu(config: Config) -> bool:
    return bool(config["device"].type == "cuda")


def _has_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
