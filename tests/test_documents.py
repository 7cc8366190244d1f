"""README and the pages of the site: their blocks run as they stand, their links exist, `make` has their targets."""

import re
from pathlib import Path

import pytest

from benchmarks import forked

ROOT = Path(__file__).parent.parent
RUN = Path(__file__).with_name("run_page.py")
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*/*.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "docs/index.md")),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = {page: BLOCK.findall(page.read_text(encoding="utf-8")) for page in PAGES}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "reference"], ids=name_of)
def test_blocks_run_in_order(page: Path, tmp_path: Path) -> None:
    runs = [text for language, text in BLOCKS[page] if language in ("python", "yaml") or "genpas " in text]
    if not runs:
        pytest.skip("the page has no block to run")
    if "from pyspark" in "".join(runs):
        pytest.skip("tests/genpas_plugins/data/prepare/test_parts.py runs it where PySpark and Java are installed")
    old = [(user, (user * 7 + step * step) % 40, step) for user in range(120) for step in range(3 + user % 7)]
    new = [(user, (user * 5 + step) % 45, step) for user in range(110, 130) for step in range(20, 24)]
    for name, rows in (("interactions", old), ("more", new)):
        text = "".join(f"u{user},i{item},{step}\n" for user, item, step in rows)
        (tmp_path / f"{name}.csv").write_text(f"user_id,item_id,timestamp\n{text}", encoding="utf-8")
    log = tmp_path / "page.log"
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = forked.start(str(RUN), str(page), str(ROOT), log=log, cwd=tmp_path, **environment)
    process.join()
    assert process.exitcode == 0, log.read_text(encoding="utf-8")[-4000:]


def test_make_has_the_targets_that_pages_name() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    bash = "\n".join(text for blocks in BLOCKS.values() for language, text in blocks if language == "bash")
    named = set(re.findall(r"^make ([\w-]+)", bash, flags=re.MULTILINE))
    assert {"demo", "test"} <= named
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named), named


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_linked_files_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (page.parent / link).exists() or "generated/" in link, f"{name_of(page)} links {link}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
