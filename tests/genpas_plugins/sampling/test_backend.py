import pytest

from genpas_plugins import InputError
from genpas_plugins.sampling import backend
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.sampler import draw_pairs


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("GENPAS_BACKEND", raising=False)


@pytest.mark.parametrize(("installed", "expected"), [(True, "numba"), (False, "numpy")])
def test_numba_is_the_default_where_it_is_installed(monkeypatch, installed, expected):
    monkeypatch.setattr(backend, "_numba_installed", lambda: installed)
    assert choose_backend() == expected


def test_the_argument_goes_before_the_variable_and_the_variable_before_the_default(monkeypatch):
    monkeypatch.setenv("GENPAS_BACKEND", "numpy")
    assert choose_backend() == "numpy"
    monkeypatch.setattr(backend, "_numba_installed", lambda: True)
    assert choose_backend("numba") == "numba"


@pytest.mark.parametrize("name", ["torch", "Numba", "cuda"])
def test_an_unknown_backend_is_refused(monkeypatch, name):
    message = rf"Unknown backend '{name}' \(argument or \$GENPAS_BACKEND\)\. Use numpy or numba"
    with pytest.raises(InputError, match=message):
        choose_backend(name)
    monkeypatch.setenv("GENPAS_BACKEND", name)
    with pytest.raises(InputError, match=message):
        choose_backend()


def test_numba_that_is_not_installed_is_refused_with_the_mend(monkeypatch):
    monkeypatch.setattr(backend, "_numba_installed", lambda: False)
    with pytest.raises(InputError, match="pip install numba"):
        choose_backend("numba")


def test_an_implementation_is_the_function_or_its_compiled_namesake():
    assert implementation(draw_pairs, "numpy") is draw_pairs
    compiled = pytest.importorskip("genpas_plugins.sampling.kernels")
    assert implementation(draw_pairs, "numba") is compiled.draw_pairs
