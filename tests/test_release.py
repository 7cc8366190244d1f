"""What a release says of itself agrees, and the lock has the hash of every pin."""

import re
from pathlib import Path

import tomllib
import yaml

import genpas_plugins

ROOT = Path(__file__).parent.parent


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == genpas_plugins.__version__ == citation["version"]


def test_every_pin_has_its_hashes() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        found = re.findall(r"^([\w.-]+)==([\w.+!-]+)", text, flags=re.MULTILINE)
        return {f"{re.sub('[-_.]+', '-', package).lower()}=={version}" for package, version in found}

    assert pins("hashes.txt") == pins("common.txt"), "make locks"


def test_continuous_integration_runs_what_developers_run() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert {"run": ".ci/run"} in workflow["jobs"]["ci"]["steps"]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(f"\nmake {target}\n" in script for target in ("test", "lint", "docs"))
