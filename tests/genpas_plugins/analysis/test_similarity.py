import numpy as np
import pytest

from genpas_plugins import InputError
from genpas_plugins.analysis.similarity import (
    SIMILARITIES,
    Similarity,
    cosine,
    jaccard,
    positional,
    recency_containment,
    recency_cosine,
)


def test_the_default_is_the_fitted_one():
    of = recency_containment()
    assert of.label == "recency_containment(decay=0.95, length=20)"
    assert of.evaluation_table().shape == of.training_table().shape == (21, 20)
    np.testing.assert_allclose(of.evaluation_table()[20], 0.95 ** np.arange(20))
    np.testing.assert_allclose(of.training_table().sum(1), [0, *[1] * 20])


@pytest.mark.parametrize("name", SIMILARITIES)
def test_no_weight_lies_beyond_the_history(name):
    of = SIMILARITIES[name](length=6)
    assert (of.name, of.length) == (name, 6) and of.label.startswith(f"{name}(")
    assert of.bilinear == (name not in ("jaccard", "cosine"))
    if of.bilinear:
        for table in (of.evaluation_table(), of.training_table()):
            assert (np.triu(table) == 0).all() and (table[np.tril_indices(7, -1, 6)] > 0).all()


def test_a_cosine_has_unit_vectors():
    table = recency_cosine(0.8, 5).training_table()
    np.testing.assert_allclose((table[1:] ** 2).sum(1), 1)


def test_sets_by_hand():
    a = np.array([[0, 1, 2, 2], [1, 2, 3, 4], [0, 0, 0, 5]])
    b = np.array([[0, 2, 3, 2], [4, 3, 2, 1], [0, 0, 0, 6]])
    np.testing.assert_allclose(jaccard(4).compare(a, b), [1 / 3, 1, 0])
    np.testing.assert_allclose(cosine(4).compare(a, b), [1 / 2, 1, 0])


@pytest.mark.parametrize("decay", [0, -1, 1.1, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    for of in (recency_containment, recency_cosine, positional):
        with pytest.raises(InputError, match="decay must be above 0"):
            of(decay=decay)


def test_a_length_of_nothing_is_refused():
    with pytest.raises(InputError, match="length"):
        jaccard(length=0)


def test_half_a_similarity_is_refused():
    with pytest.raises(InputError, match="both weights or a compare function"):
        Similarity("mine", 3, evaluation=lambda m, d: 1.0)
    with pytest.raises(InputError, match="no item weights"):
        cosine().training_table()
