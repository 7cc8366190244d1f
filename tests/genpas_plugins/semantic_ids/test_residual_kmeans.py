from __future__ import annotations

import numpy as np
import pytest

from genpas_plugins import InputError
from genpas_plugins.semantic_ids import residual_kmeans as module

pytest.importorskip("faiss")
residual_kmeans = module.residual_kmeans


@pytest.fixture(scope="module")
def clouds() -> np.ndarray:
    """400 points: 4 far-apart centres, around each of which 4 near ones, with little noise; cloud k is rows k::16."""
    generator = np.random.default_rng(0)
    far = np.eye(8)[:4] * 10
    near = np.array([[0, 0, 0, 0, *corner] for corner in ((1, 1, 0, 0), (1, -1, 0, 0), (-1, 1, 0, 0), (-1, -1, 0, 0))])
    centres = (far[:, None] + near[None]).reshape(16, 8)
    return np.tile(centres, (25, 1)).astype(np.float32) + 0.01 * generator.standard_normal((400, 8)).astype(np.float32)


def test_nested_clusters_get_nested_codes(clouds: np.ndarray):
    quantised = residual_kmeans(clouds, levels=2, codes=4)
    assert (quantised.codes.dtype, quantised.codes.shape, quantised.sizes) == (np.int32, (400, 2), (4, 4))
    by_cloud = quantised.codes.reshape(25, 16, 2)
    assert np.all(by_cloud == by_cloud[0])  # a cloud has one ID …
    assert len(np.unique(by_cloud[0], axis=0)) == 16  # … of its own, …
    assert np.all(by_cloud[0, :, 0] == np.repeat(by_cloud[0, ::4, 0], 4))  # with its far centre's first code
    assert quantised.reconstruction_error < 0.01


def test_the_reconstruction_is_the_sum_of_the_centroids(clouds: np.ndarray):
    quantised = residual_kmeans(clouds * 3, levels=3, codes=3, seed=4)
    reconstruction = quantised.centroids[np.arange(3), quantised.codes].sum(axis=1)
    error = np.square(clouds * 3 - reconstruction).sum() / np.square(clouds * 3 - clouds.mean(axis=0) * 3).sum()
    assert quantised.reconstruction_error == pytest.approx(error, rel=1e-3)
    worse = np.square(clouds * 3 - 1.05 * reconstruction).sum()
    assert worse > np.square(clouds * 3 - reconstruction).sum()  # least squares: no other factor is better


def test_each_level_is_nearest_to_what_remains_at_length_one(clouds: np.ndarray):
    """The definition in plain numpy, up to the factor that the returned centroids of a level carry."""
    quantised = residual_kmeans(clouds, levels=2, codes=5)
    residual = clouds.astype(np.float64)
    for level in range(2):
        residual /= np.linalg.norm(residual, axis=1, keepdims=True)
        code = quantised.codes[:, level]
        means = np.stack([residual[code == number].mean(axis=0) for number in range(5)])
        distance = np.square(residual[:, None] - means[None]).sum(axis=2)
        assert np.mean(distance.argmin(axis=1) == code) > 0.97  # Lloyd's algorithm may stop just before its fixed point
        cosine = np.sum(means * quantised.centroids[level], axis=1)
        cosine /= np.linalg.norm(means, axis=1) * np.linalg.norm(quantised.centroids[level], axis=1)
        assert np.all(cosine > 0.99)
        residual -= means[code]


def test_a_seed_gives_the_same_codes_and_another_seed_others():
    vectors = np.random.default_rng(1).standard_normal((600, 6))
    first, again, other = (residual_kmeans(vectors, codes=16, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.codes, again.codes)
    assert np.array_equal(first.centroids, again.centroids)
    assert not np.array_equal(first.codes, other.codes)


def test_more_levels_and_codes_leave_less_error():
    vectors = np.random.default_rng(1).standard_normal((600, 6))
    errors = [
        residual_kmeans(vectors, levels, codes).reconstruction_error for levels, codes in ((1, 8), (3, 8), (3, 32))
    ]
    assert 1 > errors[0] > errors[1] > errors[2] > 0


def test_the_input_stays_as_it_was_and_blocks_do_not_matter(clouds: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    given = clouds.copy()
    whole = residual_kmeans(given, levels=2, codes=8)
    assert np.array_equal(given, clouds)
    monkeypatch.setattr(module, "_BLOCK", 37)
    done = []
    parts = residual_kmeans(given, levels=2, codes=8, progress=lambda *counts: done.append(counts))
    assert np.array_equal(parts.codes, whole.codes)
    assert done[0] == (37, 800)
    assert done[-1] == (800, 800)
    assert done == sorted(set(done))


def test_items_without_any_direction_and_repeated_items_are_quantised():
    vectors = np.zeros((20, 4))
    vectors[:10] = np.eye(4)[0]
    quantised = residual_kmeans(vectors, levels=2, codes=4)
    assert len(np.unique(quantised.codes[:10], axis=0)) == len(np.unique(quantised.codes[10:], axis=0)) == 1
    assert quantised.codes[0].tolist() != quantised.codes[10].tolist()
    assert np.isfinite(quantised.centroids).all()
    assert quantised.reconstruction_error < 1e-6
    assert residual_kmeans(np.ones((5, 3)), levels=1, codes=2).reconstruction_error == 0


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((9, 2), np.nan), "item number 1 has values that are not finite"),
        (np.r_[np.ones((5, 2)), np.full((1, 2), np.inf)], "item number 6 has values"),
        (np.ones((3, 2)), "3 items cannot fill 4 codes"),
        (np.ones((9, 2), np.int64), "must be floats"),
        (np.ones(9), "must be floats .* shape"),
    ],
)
def test_what_cannot_be_quantised_is_refused(vectors: np.ndarray, message: str):
    with pytest.raises(InputError, match=message):
        residual_kmeans(vectors, levels=2, codes=4)


@pytest.mark.parametrize("setting", ["levels", "codes", "iterations", "restarts", "points_per_code"])
def test_settings_must_be_whole_numbers(setting: str):
    with pytest.raises(InputError, match=f"{setting} must be a whole number from 1"):
        residual_kmeans(np.ones((9, 2)), **{"codes": 2, setting: 0})


def test_balanced_clusters_are_nearly_of_one_size_and_fewer_items_share_codes():
    generator = np.random.default_rng(0)
    crowd = np.r_[generator.normal(0, 0.05, (900, 6)) + np.eye(6)[0], generator.normal(0, 1, (100, 6))]
    plain, balanced = (residual_kmeans(crowd, levels=2, codes=16, balanced=choice) for choice in (False, True))
    sizes = [np.bincount(made.codes[:, 0], minlength=16) for made in (plain, balanced)]
    assert sizes[1].max() < 0.7 * sizes[0].max() and sizes[1].min() > 0
    assert len(np.unique(balanced.codes, axis=0)) > len(np.unique(plain.codes, axis=0))
    assert balanced.reconstruction_error < 1
    again = residual_kmeans(crowd, levels=2, codes=16, balanced=True)
    assert np.array_equal(again.codes, balanced.codes)


def test_equal_vectors_have_equal_codes_when_balanced():
    vectors = np.repeat(np.eye(3), 10, axis=0)
    quantised = residual_kmeans(vectors, levels=2, codes=8, balanced=True)
    assert len(np.unique(quantised.codes, axis=0)) == 3 and np.isfinite(quantised.centroids).all()
