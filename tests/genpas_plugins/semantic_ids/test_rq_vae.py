from __future__ import annotations

import numpy as np
import pytest

from genpas_plugins import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("vector_quantize_pytorch")

from genpas_plugins.semantic_ids.rq_vae import rq_vae  # noqa: E402

SMALL = {"levels": 2, "codes": 8, "hidden": (32, 16), "latent": 8, "batch_size": 128}


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """512 points around 16 centres, far from the origin; cloud k is rows k::16."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((16, 24)) + 5
    return (np.tile(centres, (32, 1)) + 0.05 * generator.standard_normal((512, 24))).astype(np.float32)


@pytest.mark.parametrize("learnable", [False, True], ids=["moving averages", "learnt"])
def test_it_learns_two_points_by_heart(vectors: np.ndarray, learnable: bool):
    """Two points and two codes: no assignment is near a tie, so that rounding changes nothing that counts."""
    two = np.tile(vectors[:2], (64, 1))
    short, long = (
        rq_vae(two, **{**SMALL, "codes": 2}, steps=steps, learning_rate=3e-3, learnable_codebook=learnable)
        for steps in (1, 100)
    )
    assert short.reconstruction_error > 0.9  # 1 is the error of the mean
    assert long.reconstruction_error < 0.05  # eight seeds end below .005
    assert (long.codes.dtype, long.codes.shape, long.centroids.shape) == (np.int32, (128, 2), (2, 2, 8))
    assert long.sizes == (2, 2)
    assert sorted({tuple(codes) for codes in long.codes[:, :1].tolist()}) == [(0,), (1,)]
    assert (long.codes[::2] == long.codes[0]).all() and (long.codes[1::2] == long.codes[1]).all()


def test_a_seed_gives_the_same_codes_and_leaves_torch_alone(vectors: np.ndarray):
    state = torch.get_rng_state()
    first, again, other = (rq_vae(vectors, **SMALL, steps=5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(first.codes, again.codes)
    assert first.reconstruction_error == again.reconstruction_error
    assert not np.array_equal(first.codes, other.codes)


def test_neither_place_nor_scale_of_the_embeddings_matters(vectors: np.ndarray):
    plain = rq_vae(vectors, **SMALL, steps=20)
    moved = rq_vae(vectors.astype(np.float64) * 64, **SMALL, steps=20)
    assert moved.reconstruction_error == pytest.approx(plain.reconstruction_error, rel=0.02)


def test_tigers_optimiser_and_progress(vectors: np.ndarray):
    done = []
    result = rq_vae(
        vectors,
        **SMALL,
        steps=60,
        optimiser="adagrad",
        learning_rate=0.05,
        learnable_codebook=True,
        progress=lambda *counts: done.append(counts),
    )
    assert done == [(step, 60) for step in range(1, 61)]
    assert result.reconstruction_error < 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimiser": "adam"}, "Unknown optimiser 'adam'. Did you mean 'adamw'"),
        ({"codes": 600}, "512 items cannot fill 600 codes"),
        ({"steps": 0}, "steps must be a whole number from 1"),
        ({"hidden": (0,)}, "hidden must be a whole number from 1"),
        ({"learning_rate": 1e30, "steps": 20}, "not finite at step .* lower learning rate"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(vectors: np.ndarray, settings, message: str):
    with pytest.raises(InputError, match=message):
        rq_vae(vectors, **{**SMALL, "steps": 2, **settings})
