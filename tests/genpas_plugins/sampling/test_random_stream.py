import numpy as np
import pytest

from genpas_plugins import InputError
from genpas_plugins.sampling.random_stream import check_epoch, check_seed, keyed_uniform, philox, uniform

# The known-answer vectors that Random123 publishes for philox4x32-10 (kat_vectors): counter, key, words.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter: str, key: str, expected: str):
    low, high, epoch, block = words(counter)
    key_low, key_high = words(key)
    index = np.array([low | high << 32], dtype=np.uint64)
    result = philox(key_low | key_high << 32, epoch, block, index)
    assert result.dtype == np.uint32
    assert result.shape == (4, 1)
    assert result[:, 0].tolist() == words(expected)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_compiled_philox_gives_the_published_words(counter: str, key: str, expected: str):
    numba = pytest.importorskip("numba")
    from genpas_plugins.sampling.kernels import _philox

    @numba.njit
    def block_of(index, epoch, block, key0, key1):
        return _philox(index, epoch, block, key0, key1)

    low, high, epoch, block = words(counter)
    key0, key1 = (np.uint32(word) for word in words(key))
    result = block_of(np.uint64(low | high << 32), np.uint32(epoch), np.uint32(block), key0, key1)
    assert [int(word) for word in result] == words(expected)


def test_words_depend_on_the_index_not_on_its_neighbours():
    indices = np.array([5, 0, 1 << 40, 3, 5])
    together = philox(7, 2, 0, indices)
    for place, index in enumerate(indices):
        assert np.array_equal(together[:, place], philox(7, 2, 0, [index])[:, 0])


def test_every_part_of_the_counter_and_both_key_words_matter():
    high = 1 << 32
    points = [(0, 0, 0, 0), (1, 0, 0, 0), (high, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, high)]
    blocks = {tuple(philox(seed, epoch, block, [index])[:, 0]) for seed, epoch, block, index in points}
    assert len(blocks) == len(points)


def test_uniform_stays_in_its_half_open_interval_at_the_extremes():
    ends = uniform(np.array([0, 0xFFFFFFFF], np.uint32), np.array([0, 0xFFFFFFFF], np.uint32))
    assert ends.tolist() == [0.0, 1 - 2.0**-53]


def test_uniform_uses_the_top_53_bits():
    high = np.array([0, 0, 0x80000000], np.uint32)
    low = np.array([0x7FF, 0x800, 0], np.uint32)
    assert uniform(high, low).tolist() == [0.0, 2.0**-53, 0.5]


def test_keyed_numbers_are_those_of_splitmix64():
    """The upper 53 bits of the published generator's first words with seed 1234567."""
    words = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert (keyed_uniform(np.arange(1, 6), 1234567) * 2**53).tolist() == [word >> 11 for word in words]


def test_uniform_numbers_have_the_moments_of_the_uniform_distribution():
    block = philox(11, 0, 0, np.arange(100_000))
    for u in (uniform(block[0], block[1]), uniform(block[2], block[3])):
        assert abs(u.mean() - 1 / 2) < 0.005  # five standard errors
        assert abs(u.var() - 1 / 12) < 0.002
    assert abs(np.corrcoef(uniform(block[0], block[1]), uniform(block[2], block[3]))[0, 1]) < 0.02


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1, np.int64(3)])
def test_seeds_of_64_bits_are_taken(seed: int):
    assert check_seed(seed) == seed


@pytest.mark.parametrize("value", [-1, 2**64, 1.0, "7", None, True])
def test_other_seeds_are_refused(value: object):
    with pytest.raises(InputError, match="seed must be a whole number"):
        check_seed(value)


@pytest.mark.parametrize("value", [-1, 2**32, 0.5, "0", None, False])
def test_other_epochs_are_refused(value: object):
    with pytest.raises(InputError, match="epoch must be a whole number"):
        check_epoch(value)
