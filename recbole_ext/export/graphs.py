"""A model's forward as graphs: ONNX, and `torch.export` where it is one graph.

Inputs may have any batch size and any length up to the model's maximum. The graph pads to the maximum because training
does. Recurrent layers then have a fixed number of steps and all outputs equal the model's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from genpas_plugins.neural.tiger.network import Memory, TigerNetwork
from genpas_plugins.support.errors import InputError
from recbole_ext.model_probe import PROBE_ERRORS, close, evaluating, random_batch

_EXAMPLE_ROWS = 5  # another number than any other size of the example: equal sizes could be taken for one


class VectorEncoder(nn.Module):
    """Turn histories `int64 [B, L]` and lengths `int64 [B]` into user vectors `float32 [B, D]`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Return the vectors whose product with the item vectors is the score."""
        vectors: Tensor = self.model(F.pad(items, (0, self.model.max_seq_length - items.shape[1])), lengths)
        return vectors


class TigerEncoder(nn.Module):
    """Turn histories with lengths and user numbers into the states and the mask that the decoder reads."""

    def __init__(self, network: TigerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor) -> tuple[Tensor, Tensor]:
        """Return `float32 [B, S, D]` and `bool [B, S]`."""
        longest = self.network.max_history
        items = F.pad(items, (0, longest - items.shape[1]))
        items = items * (torch.arange(longest, device=items.device) < lengths[:, None])
        buckets = self.network.user_buckets(users) if self.network.n_users else None
        memory = self.network.encode(self.network.tokens_of(items).flatten(1), buckets)
        return memory.states, memory.mask


class TigerDecoder(nn.Module):
    """Turn states and prefixes of codes into logits over the codes of all levels."""

    def __init__(self, network: TigerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, states: Tensor, mask: Tensor, codes: Tensor) -> Tensor:
        """Return the logits `float32 [N, Σ sizes]`, level after level.

        Level l reads the first l of `codes`, `int64 [N, depth]`.
        """
        decoded = self.network.decode(Memory(states, mask), codes + self.network.first_token)
        return torch.cat([self.network.logits(decoded[:, level], level) for level in range(self.network.depth)], 1)


def check_vector_model(model: Any) -> None:
    """Raise InputError unless a model's scores are its forward's output times its item table."""
    reason = "it has no nn.Embedding called item_embedding"
    if isinstance(getattr(model, "item_embedding", None), nn.Embedding):
        try:
            with evaluating(model):
                batch = random_batch(model)
                vectors = model(batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN])
                scores = model.full_sort_predict(batch).view(len(batch), -1)
                same = close(vectors @ model.item_embedding.weight.T, scores)
            reason = "" if same else "its scores are not forward's output times item_embedding"
        except PROBE_ERRORS as error:
            reason = f"its forward does not read a history and its length alone ({type(error).__name__})"
    if reason:
        raise InputError(
            f"{type(model).__name__} cannot be exported: {reason}. Export a model such as SASRec, GRU4Rec or TIGER."
        )


def write_graph(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: list[str], fixed: int | None, file: Path
) -> None:
    """Write a module as the ONNX file `file` and as a `torch.export` archive `.pt2` beside it.

    Parameters
    ----------
    module : the module; its forward takes `inputs` by name
    inputs : an example of each, its first size the batch
    outputs : names of the outputs
    fixed : highest length of the input `items`; None: there is no such input
    file : the ONNX file
    """
    batch = torch.export.Dim("batch")
    shapes: dict[str, dict[int, Any]] = {name: {0: batch} for name in inputs}
    if fixed is not None and fixed > 1:
        shapes["items"][1] = torch.export.Dim("length", min=1, max=fixed)
    # Attention as plain products: the fused kernels have strides that no ONNX operator keeps.
    with warnings.catch_warnings(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore")  # about the exporter's own internals
        program = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
        torch.export.save(program, file.with_suffix(".pt2"))
        torch.onnx.export(
            program,
            f=str(file),
            dynamo=True,
            input_names=list(inputs),
            output_names=outputs,
            external_data=False,
            verbose=False,
        )


def example_histories(max_length: int, n_items: int) -> dict[str, Tensor]:
    """Return example inputs `items` and `lengths` of a graph."""
    length = max(1, max_length - 1)
    items = torch.arange(_EXAMPLE_ROWS * length).view(_EXAMPLE_ROWS, length) % (n_items - 1) + 1
    return {"items": items, "lengths": torch.full((_EXAMPLE_ROWS,), length)}
