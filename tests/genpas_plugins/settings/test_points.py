"""Numbers and points as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError
from genpas_plugins.settings.points import join_points, read_number, read_point

EXPONENTS = st.floats(allow_nan=False)
WORDS = st.lists(st.one_of(st.sampled_from(["last_target", "a.yaml", "crop+basrec"]), st.tuples(*[EXPONENTS] * 3)))


@pytest.mark.parametrize(
    ("text", "value"),
    [("inf", math.inf), (".inf", math.inf), ("-INF", -math.inf), ("-.Inf", -math.inf), (" 2", 2.0), ("1e-3", 1e-3)],
)
def test_numbers_are_read_as_yaml_and_python_write_them(text: str, value: float):
    assert read_number(text) == value


def test_other_text_stays_text():
    assert read_number("one ") == "one" and read_number("") == ""
    assert math.isnan(float(read_number(".nan")))


@given(words=WORDS)
def test_points_are_joined_and_other_words_left_alone(words: list[str | tuple[float, ...]]):
    written = [word if isinstance(word, str) else ",".join(map(repr, word)) for word in words]
    assert join_points([part for word in written for part in word.split(",")]) == written


@given(point=st.tuples(*[st.floats(-50, 50) | st.sampled_from([math.inf, -math.inf])] * 3))
def test_a_point_is_read_back(point: tuple[float, float, float]):
    policy = read_point(",".join(map(repr, point)))
    assert (policy.alpha, policy.beta, policy.gamma) == point


@pytest.mark.parametrize("text", ["", "1,0", "1,0,0,0", "1;0;0", "1,0,x", "1,,0", "1,0,nan"])
def test_what_is_not_a_point_is_refused_with_its_place(text: str):
    with pytest.raises(InputError, match=r"^rows"):
        read_point(text, "rows")
