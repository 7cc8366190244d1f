"""RQ-VAE: an autoencoder whose bottleneck is quantised level by level (TIGER §3.1 after Zeghidour et al.).

vector-quantize-pytorch has the codebooks. They start with k-means and unused codes are reset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np

from genpas_plugins.semantic_ids.codebook import Quantised
from genpas_plugins.semantic_ids.residual_kmeans import blocks, checked_embeddings, relative_error
from genpas_plugins.support.array_types import AnyArray, Float32, Int64
from genpas_plugins.support.errors import InputError, nearest, whole_number

Progress = Callable[[int, int], None]
Optimiser = Literal["adamw", "adagrad"]

LEARNING_RATES = {"adamw": 1e-3, "adagrad": 0.4}  # default learning rate of each optimiser. TIGER has Adagrad's.

_START_PER_CODE = 32  # items a code in the first batch, which k-means starts from


def rq_vae(  # noqa: PLR0915 – one training run from start to end
    embeddings: AnyArray,  # float [n, d]. They are centred and scaled by one number, which changes no relative error.
    levels: int = 3,
    codes: int = 256,
    *,
    # Widths of the encoder's layers and of the bottleneck. The decoder mirrors them.
    hidden: Sequence[int] = (512, 256, 128),
    latent: int = 32,
    steps: int = 3000,  # every item comes once before any item comes twice
    batch_size: int = 1024,
    optimiser: Optimiser = "adamw",
    learning_rate: float | None = None,  # None: the rate in LEARNING_RATES
    commitment: float = 0.25,  # weight β of the pull of an encoding to its code
    # Whether the optimiser moves the codes, as in TIGER. Otherwise they are exponential moving averages.
    learnable_codebook: bool = False,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Quantised:
    """Train an RQ-VAE on embeddings and quantise them. The same seed gives the same codes on one machine.

    TIGER uses optimiser="adagrad" and learnable_codebook=True for 20 000 epochs. The default is far shorter.

    The centroids are in the latent space. The reconstruction is the decoder's. Raises InputError if a value is not
    finite or a setting is unusable. There must be as many items as codes.
    """
    try:
        import torch
        from vector_quantize_pytorch import ResidualVQ
    except ImportError as missing:
        raise InputError(
            "The RQ-VAE needs torch and vector-quantize-pytorch, one of which is not installed: "
            "pip install vector-quantize-pytorch, or use residual k-means."
        ) from missing

    levels, codes = whole_number("levels", levels, 1), whole_number("codes", codes, 1)
    steps, batch_size = whole_number("steps", steps, 1), whole_number("batch_size", batch_size, 1)
    if optimiser not in get_args(Optimiser):
        raise InputError(f"Unknown optimiser {optimiser!r}.{nearest(optimiser, get_args(Optimiser))}")
    vectors = checked_embeddings(embeddings, codes)
    n, width = vectors.shape
    widths = [width, *(whole_number("hidden", size, 1) for size in hidden), whole_number("latent", latent, 1)]
    mean, scale = _centre_and_scale(vectors)

    def batch(rows: Int64 | slice) -> torch.Tensor:
        return torch.from_numpy(((vectors[rows] - mean) / scale).astype(np.float32)).to(device)

    generator = np.random.default_rng(seed)
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        encoder = _mlp(widths).to(device)
        decoder = _mlp(widths[::-1]).to(device)
        quantiser = ResidualVQ(
            dim=latent,
            num_quantizers=levels,
            codebook_size=codes,
            kmeans_init=True,
            kmeans_iters=10,
            threshold_ema_dead_code=1,
            decay=0.9,  # encodings move fast at first; slower averages cannot follow
            commitment_weight=commitment,
            learnable_codebook=learnable_codebook,
            ema_update=not learnable_codebook,
            rotation_trick=False,
        ).to(device)
        quantiser.train()
        with torch.no_grad():  # the first batch is what the codebooks' k-means starts from
            quantiser(encoder(batch(generator.permutation(n)[: max(batch_size, _START_PER_CODE * codes)])))
        parameters = [*encoder.parameters(), *decoder.parameters(), *quantiser.parameters()]
        rate = LEARNING_RATES[optimiser] if learning_rate is None else learning_rate
        chosen = torch.optim.AdamW if optimiser == "adamw" else torch.optim.Adagrad
        update: Any = chosen(parameters, lr=rate)
        order = np.empty(0, np.int64)
        for step in range(steps):
            if len(order) == 0:
                order = generator.permutation(n)
            rows, order = order[:batch_size], order[batch_size:]
            x = batch(rows)
            quantised, _, commitments = quantiser(encoder(x))
            loss = torch.nn.functional.mse_loss(decoder(quantised), x) + commitments.sum()
            if not torch.isfinite(loss):
                raise InputError(f"The RQ-VAE's loss is not finite at step {step + 1}: choose a lower learning rate.")
            update.zero_grad()
            loss.backward()
            update.step()
            if progress is not None:
                progress(step + 1, steps)
        quantiser.eval()  # in training mode a forward pass would still move the codebooks
        table = np.empty((n, levels), np.int32)
        error = 0.0
        with torch.no_grad():
            for block in blocks(n):
                x = batch(block)
                quantised, found, _ = quantiser(encoder(x))
                table[block] = found.cpu().numpy()
                error += float((decoder(quantised) - x).square().sum(dtype=torch.float64)) * scale**2
        centroids: Float32 = quantiser.codebooks.detach().cpu().numpy().astype(np.float32)
    return Quantised(table, centroids, relative_error(error, vectors))


def _mlp(widths: Sequence[int]) -> Any:
    from torch import nn

    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _centre_and_scale(vectors: AnyArray) -> tuple[Float32, float]:
    """Return the mean vector and the root mean square around it, or 1 where that is 0."""
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares = sum(float(np.square(vectors[rows] - mean).sum(dtype=np.float64)) for rows in blocks(len(vectors)))
    return mean, float(np.sqrt(squares / vectors.size)) or 1.0
