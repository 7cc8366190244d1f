"""Rules of `genpas doctor` over literal version tables, and its probes of modules that fail, crash and hang."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from genpas_plugins.sampling.backend import choose_backend
from genpas_plugins.support import doctor
from genpas_plugins.support.doctor import Report, probe
from genpas_plugins.support.doctor_rules import RECBOLE_NEEDS, TORCHREC_NEEDS, Facts, Probe, Problem, find_problems

CPU_TORCH = Probe("torch", True, facts={"cuda_build": None, "cuda_available": False, "devices": []})
CUDA_TORCH = Probe("torch", True, facts={"cuda_build": "13.0", "cuda_available": True, "devices": ["NVIDIA H200"]})
CUDA_TORCH_WITHOUT_DEVICE = Probe("torch", True, facts={"cuda_build": "13.0", "cuda_available": False, "devices": []})

# The lock of requirements/cpu.txt, as far as the rules look at it.
HEALTHY = Facts(
    python=(3, 11),
    versions={
        **dict.fromkeys((*RECBOLE_NEEDS, *TORCHREC_NEEDS), "1.0"),
        "genpas-plugins": "0.1.0",
        "numpy": "2.4.6",
        "numba": "0.68.1",
        "torch": "2.13.0+cpu",
        "pandas": "2.3.3",
        "recbole": "1.2.1",
        "torchrec": "1.8.0",
        "fbgemm-gpu-cpu": "1.8.0",
    },
    probes={"torch": CPU_TORCH, "fbgemm_gpu": Probe("fbgemm_gpu", True), "torchrec": Probe("torchrec", True)},
    fbgemm_variant="cpu",
)


def with_versions(**changes: str | None) -> Facts:
    """Return the healthy facts with some versions changed; an underscore in a name stands for a dash."""
    versions = {name.replace("_", "-"): version for name, version in changes.items()}
    return replace(HEALTHY, versions={**HEALTHY.versions, **versions})


def only(facts: Facts) -> Problem:
    problems = find_problems(facts)
    assert len(problems) == 1, problems
    return problems[0]


def test_the_lock_has_no_problem():
    assert find_problems(HEALTHY) == []


def test_the_core_alone_has_no_problem():
    assert find_problems(Facts((3, 13), {"numpy": "2.2.6", "pyarrow": "26.0.1", "numba": "0.68.1"})) == []


@pytest.mark.parametrize(
    ("torch", "fbgemm", "matches"),
    [
        ("2.13.0+cpu", "1.8.0", True),
        ("2.13.1", "1.8.2", True),
        ("2.14.0", "1.9.0", True),
        ("2.15.0", "1.10.0", True),
        ("2.11.0+cu130", "1.6.0", True),
        ("2.10.0", "1.5.0", True),
        ("2.13.0", "1.9.0", False),
        ("2.13.0", "1.7.0", False),
        ("2.11.0", "1.8.0", False),
        ("2.14.0", "1.8.0", False),
        ("2.13.0", "2.8.0", False),
        ("2.13.0", "0.8.0", False),
        ("3.13.0", "1.8.0", False),
        ("2.14.0.dev20261101", "1.8.0", True),  # nightlies and local builds are not judged by their numbers
        ("2.13.0", "1.9.0+git1234567", True),
    ],
)
def test_pairs_of_torch_and_fbgemm(torch: str, fbgemm: str, matches: bool):
    problems = find_problems(with_versions(torch=torch, fbgemm_gpu_cpu=fbgemm))
    assert (problems == []) == matches
    if not matches:
        assert problems[0].level == "error"
        assert problems[0].what == (
            f"fbgemm-gpu-cpu {fbgemm} does not belong to torch {torch}: "
            "fbgemm 1.X goes with torch 2.(X+5), for example 1.8 with 2.13."
        )


@pytest.mark.parametrize(
    ("torch", "fbgemm", "fix"),
    [
        ("2.13.0", "1.9.0", "pip install 'fbgemm-gpu-cpu==1.8.*' (keeps torch as it is)."),
        ("2.11.0", "1.8.0", "pip install 'fbgemm-gpu-cpu==1.6.*' (keeps torch as it is)."),
        ("3.0.0", "1.8.0", "pip install 'torch==2.13.*' (keeps fbgemm-gpu-cpu as it is)."),
        ("3.0.0", "0.8.0", "pip install 'torch==2.13.*' (keeps fbgemm-gpu-cpu as it is)."),
    ],
)
def test_a_wrong_pair_is_fixed_around_torch(torch: str, fbgemm: str, fix: str):
    assert only(with_versions(torch=torch, fbgemm_gpu_cpu=fbgemm)).fix == fix


def test_fbgemm_without_torch():
    facts = Facts((3, 11), {"numba": "0.68.1", "fbgemm-gpu": "1.6.0"}, fbgemm_variant="cuda")
    assert only(facts) == Problem(
        "error",
        "fbgemm-gpu 1.6.0 is installed without torch, which it needs but does not declare.",
        "pip install 'torch==2.11.*'",
    )


@pytest.mark.parametrize(("torch", "keep"), [(CPU_TORCH, "fbgemm-gpu-cpu"), (CUDA_TORCH_WITHOUT_DEVICE, "fbgemm-gpu")])
def test_both_fbgemm_distributions(torch: Probe, keep: str):
    facts = with_versions(torch="2.13.0", fbgemm_gpu="1.8.0")
    problem = only(replace(facts, probes={**HEALTHY.probes, "torch": torch}))
    assert problem.level == "error"
    assert "both installed" in problem.what
    assert problem.fix == (f"pip uninstall -y fbgemm-gpu fbgemm-gpu-cpu, then pip install '{keep}==1.8.*'.")


def test_cuda_fbgemm_beside_cpu_torch():
    facts = with_versions(fbgemm_gpu="1.8.0", fbgemm_gpu_cpu=None)
    problem = only(replace(facts, fbgemm_variant="cuda"))
    assert problem.level == "error"
    assert problem.what == "fbgemm_gpu is a CUDA build and torch 2.13.0+cpu is a CPU build: it cannot be loaded."
    assert "'fbgemm-gpu-cpu==1.8.*'" in problem.fix


def test_cpu_torch_is_known_by_its_version_where_it_cannot_be_imported():
    broken = Probe("torch", False, "ImportError: no")
    facts = replace(with_versions(fbgemm_gpu="1.8.0", fbgemm_gpu_cpu=None), fbgemm_variant="cuda")
    problems = find_problems(replace(facts, probes={"torch": broken}))
    assert any("is a CUDA build and torch" in problem.what for problem in problems)


@pytest.mark.parametrize("torch", [CUDA_TORCH, CUDA_TORCH_WITHOUT_DEVICE])
def test_cuda_fbgemm_beside_cuda_torch_is_healthy(torch: Probe):
    facts = with_versions(torch="2.13.0", fbgemm_gpu="1.8.0", fbgemm_gpu_cpu=None)
    assert find_problems(replace(facts, fbgemm_variant="cuda", probes={**HEALTHY.probes, "torch": torch})) == []


def test_cpu_fbgemm_on_a_machine_with_a_gpu_is_a_warning():
    facts = replace(with_versions(torch="2.13.0"), probes={**HEALTHY.probes, "torch": CUDA_TORCH})
    problem = only(facts)
    assert problem.level == "warning"
    assert problem.fix == "pip uninstall -y fbgemm-gpu-cpu, then pip install 'fbgemm-gpu==1.8.*'."


@pytest.mark.parametrize(("torch", "name"), [(CPU_TORCH, "fbgemm-gpu-cpu"), (CUDA_TORCH_WITHOUT_DEVICE, "fbgemm-gpu")])
def test_torchrec_without_fbgemm(torch: Probe, name: str):
    facts = with_versions(torch="2.13.0", fbgemm_gpu_cpu=None)
    problem = only(replace(facts, fbgemm_variant=None, probes={**HEALTHY.probes, "torch": torch}))
    assert problem.level == "error"
    assert problem.what == "torchrec 1.8.0 is installed without fbgemm, which it needs."
    assert problem.fix.startswith(f"pip install '{name}==1.8.*'")


@pytest.mark.parametrize(
    ("pandas", "recbole", "broken"),
    [("3.0.0", "1.2.1", True), ("3.1.2", "1.2.1", True), ("2.3.3", "1.2.1", False), ("3.0.0", None, False)],
)
def test_pandas_3_with_recbole(pandas: str, recbole: str | None, broken: bool):
    problems = find_problems(with_versions(pandas=pandas, recbole=recbole))
    assert [problem.fix for problem in problems] == (["pip install 'pandas<3'"] if broken else [])


@pytest.mark.parametrize(
    ("ray", "numpy", "noted"),
    [
        ("2.6.3", "2.4.6", True),
        ("2.5", "2.0.0", True),
        ("2.6.3", "1.26.4", False),
        ("2.7.0", "2.4.6", False),
        ("2.50.0", "2.4.6", False),
    ],
)
def test_old_ray_with_numpy_2_is_a_note(ray: str, numpy: str, noted: bool):
    problems = find_problems(with_versions(ray=ray, numpy=numpy))
    assert [problem.level for problem in problems] == (["note"] if noted else [])
    if noted:
        assert "Harmless where recbole_ext is imported before recbole" in problems[0].what


@pytest.mark.parametrize(("package", "need"), [("recbole", "texttable"), ("torchrec", "tensordict")])
def test_a_need_that_no_deps_left_out(package: str, need: str):
    problem = only(with_versions(**{need: None}))
    assert problem.what == f"{package} {HEALTHY.versions[package]} is installed without {need}."
    assert problem.fix.startswith(f"pip install 'genpas-plugins[{package}]'")


@pytest.mark.parametrize(
    ("python", "level"),
    [((3, 9), "error"), ((3, 10), None), ((3, 11), None), ((3, 12), None), ((3, 13), None), ((3, 14), "warning")],
)
def test_python_range(python: tuple[int, int], level: str | None):
    assert [problem.level for problem in find_problems(replace(HEALTHY, python=python))] == ([level] if level else [])


def test_numba_missing_is_a_note():
    problem = only(with_versions(numba=None))
    assert (problem.level, problem.fix) == ("note", "pip install numba")


def test_torch_before_the_oldest_supported_is_a_warning():
    problem = only(with_versions(torch="2.9.1", fbgemm_gpu_cpu="1.4.0"))
    assert (problem.level, problem.fix) == ("warning", "pip install 'torch>=2.10'")


def test_a_failed_import_names_versions_and_the_pairing_rule():
    failed = Probe("fbgemm_gpu", False, "OSError: Could not load this library: fbgemm_gpu_py.so")
    problem = only(replace(HEALTHY, probes={**HEALTHY.probes, "fbgemm_gpu": failed}))
    assert problem.level == "error"
    assert problem.what == (
        "fbgemm_gpu cannot be imported (torch 2.13.0+cpu, fbgemm-gpu-cpu 1.8.0, torchrec 1.8.0): "
        "OSError: Could not load this library: fbgemm_gpu_py.so"
    )
    assert "1.8 with 2.13" in problem.fix


def test_causes_come_before_symptoms_and_errors_before_notes():
    failed = Probe("torchrec", False, "ImportError: x")
    facts = with_versions(fbgemm_gpu_cpu="1.9.0", numba=None)
    problems = find_problems(replace(facts, probes={**HEALTHY.probes, "torchrec": failed}))
    assert [problem.level for problem in problems] == ["error", "error", "note"]
    assert "does not belong to torch" in problems[0].what
    assert "cannot be imported" in problems[1].what


def test_an_unusable_backend_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENPAS_BACKEND", "numbba")
    monkeypatch.setattr(doctor, "versions", dict.fromkeys)  # nothing to import: fast
    report = doctor.diagnose(choose_backend)
    assert not report.healthy
    assert report.backend == "none"
    assert "numbba" in report.problems[0].what


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that processes started from the test import from."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("source", "ok", "detail"),
    [
        ("print('noise on import')", True, ""),
        ("raise ImportError('first\\nCould not load this library')", False, "Could not load this library"),
        ("import os; os._exit(3)", False, "import ended with exit status 3"),
        ("import os; os._exit(0)", False, "import ended with exit status 0"),
    ],
)
def test_probe(modules: Path, source: str, ok: bool, detail: str):
    (modules / "genpas_test_module.py").write_text(source)
    assert probe("genpas_test_module") == Probe("genpas_test_module", ok, detail)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_probe_survives_a_crash(modules: Path):
    (modules / "genpas_test_module.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert probe("genpas_test_module").detail == "import was killed by signal 11"


def test_probe_gives_up_on_a_hang(modules: Path):
    (modules / "genpas_test_module.py").write_text("import time; time.sleep(60)")
    assert probe("genpas_test_module", timeout=0.5).detail == "import did not finish within 0.5 s"


def test_torch_probe_reports_build_and_devices(modules: Path):
    (modules / "torch.py").write_text(
        "class version: cuda = '13.0'\n"
        "class cuda:\n"
        "    is_available = staticmethod(lambda: True)\n"
        "    device_count = staticmethod(lambda: 2)\n"
        "    get_device_name = staticmethod('GPU {}'.format)\n"
        "__version__ = '2.13.0'\n"
    )
    facts = {"version": "2.13.0", "cuda_build": "13.0", "cuda_available": True, "devices": ["GPU 0", "GPU 1"]}
    assert probe("torch") == Probe("torch", True, facts=facts)


@pytest.mark.parametrize(
    ("content", "versions", "variant"),
    [
        ('{"version": "1.8.0", "variant": "cuda"}', {"fbgemm-gpu": "1.8.0"}, "cuda"),
        ('{"version": "1.8.0", "variant": "cpu"}', {"fbgemm-gpu": "1.8.0"}, "cpu"),
        ("not json", {"fbgemm-gpu": "1.8.0"}, "cuda"),
        ("not json", {"fbgemm-gpu": "1.8.0+cpu"}, "cpu"),
        (None, {"fbgemm-gpu-cpu": "1.8.0"}, "cpu"),
        (None, {}, None),
    ],
)
def test_the_build_of_fbgemm_is_read_without_importing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    versions: dict[str, str | None],
    variant: str | None,
):
    package = tmp_path / "fbgemm_gpu"
    (package / "docs").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    if content is not None:
        (package / "docs" / "target.default.json.py").write_text(content)
    monkeypatch.delitem(sys.modules, "fbgemm_gpu", raising=False)  # another test may have imported the real one
    monkeypatch.syspath_prepend(str(tmp_path))
    assert doctor._fbgemm_build(versions) == variant


def test_report_is_plain_json():
    problem = Problem("warning", "something", "fix it")
    report = Report("3.11.7", "Linux", {"torch": None}, None, {}, {}, "numpy", [problem])
    told = json.loads(json.dumps(report.to_dict()))
    assert told["healthy"] is True
    assert told["problems"] == [{"level": "warning", "what": "something", "fix": "fix it"}]
    assert replace(report, problems=[replace(problem, level="error")]).to_dict()["healthy"] is False


def test_every_need_of_the_extras_is_pinned_in_the_lock():
    root = Path(__file__).parents[3]
    lock = "\n".join(path.read_text(encoding="utf-8") for path in sorted((root / "requirements").glob("c*.txt")))
    pinned = {name.lower().replace("_", "-") for name in re.findall(r"^([\w-]+)==", lock, re.MULTILINE)}
    assert {name.lower() for name in (*RECBOLE_NEEDS, *TORCHREC_NEEDS)} <= pinned
