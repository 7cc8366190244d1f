"""A torchrec that cannot be imported is one sentence with the versions, and importing the adapter loads nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import torchrec_ext
from genpas_plugins import InputError
from torchrec_ext import import_guard

ROOT = Path(__file__).resolve().parents[2]


def test_importing_the_adapter_loads_nothing():
    code = "import sys, torchrec_ext; print([n for n in ('torch', 'torchrec', 'fbgemm_gpu') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'Sampler'"):
        torchrec_ext.Sampler  # noqa: B018


def test_every_public_name_is_there():
    pytest.importorskip("torchrec")
    assert all(getattr(torchrec_ext, name).__name__ == name for name in torchrec_ext.__all__)


def fail(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], module: str, error: Exception) -> str:
    def version(name: str) -> str:
        if name in versions:
            return versions[name]
        raise metadata.PackageNotFoundError(name)

    def load(name: str) -> None:
        if name == module:
            raise error

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(import_guard, "import_module", load)
    with pytest.raises(InputError) as caught:
        import_guard.require_torchrec()
    return str(caught.value)


def test_a_wrong_pair_names_versions_rule_and_mend(monkeypatch):
    versions = {"torch": "2.13.0", "fbgemm-gpu-cpu": "1.9.0", "torchrec": "1.8.0"}
    text = fail(monkeypatch, versions, "fbgemm_gpu", OSError("Could not load this library: fbgemm_gpu_py.so\nmore"))
    assert text.startswith("fbgemm_gpu cannot be imported (Could not load this library: fbgemm_gpu_py.so).")
    assert "torch 2.13.0, fbgemm-gpu-cpu 1.9.0, torchrec 1.8.0" in text
    assert "fbgemm 1.X goes with torch 2.(X+5)" in text
    assert "pip install 'fbgemm-gpu-cpu==1.8.*'" in text


def test_a_missing_torchrec_says_so(monkeypatch):
    text = fail(monkeypatch, {"torch": "2.13.0"}, "torchrec", ModuleNotFoundError("No module named 'torchrec'"))
    assert "torchrec cannot be imported (No module named 'torchrec'). Installed: torch 2.13.0;" in text


def test_a_package_that_works_passes():
    pytest.importorskip("torchrec")
    import_guard.require_torchrec()


def test_a_missing_driver_is_named_and_not_the_pairing_rule(monkeypatch: pytest.MonkeyPatch):
    error = OSError("libnvidia-ml.so.1: cannot open shared object file: No such file or directory")
    message = fail(monkeypatch, {"torch": "2.13.0", "fbgemm-gpu": "1.8.0"}, "fbgemm_gpu", error)
    assert "no NVIDIA driver" in message and "goes with torch" not in message
