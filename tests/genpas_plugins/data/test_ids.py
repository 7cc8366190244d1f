import numpy as np
import pyarrow as pa
import pytest

from genpas_plugins.data.ids import places_of
from genpas_plugins.support.errors import InputError

CASES = {
    "text": (pa.array(["b", "x"]), pa.array(["a", "b"]), [1, -1]),
    "two widths of integers": (pa.array([300, 7], pa.int16()), pa.array([7, 300], pa.int64()), [1, 0]),
    "numbers are text": (pa.array(["7", "07"]), pa.array([5, 7]), [1, -1]),
    "two types of text": (pa.array(["é"], pa.large_string()), pa.array(["e", "é"]), [1]),
    "bytes": (pa.array([b"\xff"]), pa.array([b"\x00", b"\xff"]), [1]),
    "a dictionary": (pa.array(["b", "b"]).dictionary_encode(), pa.array(["a", "b"]), [1, 1]),
    "none wanted": (pa.array([], pa.string()), pa.array(["a"]), []),
    "none known": (pa.array(["a"]), pa.array([], pa.int64()), [-1]),
}


@pytest.mark.parametrize("case", CASES)
def test_places_of_ids(case: str):
    wanted, known, places = CASES[case]
    found = places_of(wanted, known)
    assert found.tolist() == places
    assert found.dtype == np.int64


def test_ids_without_a_text_form_are_refused():
    with pytest.raises(InputError, match=r"Ids of type list<.*> cannot be found among ids of type string"):
        places_of(pa.array([[1]]), pa.array(["1"]))
