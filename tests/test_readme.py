"""README's blocks run as they stand: Python and YAML as files of one folder, `genpas` lines as commands."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)

# RecBole reads settings from the command line: what keeps the README's training short without changing its text.
SHORT = [
    "--epochs=1",
    "--genpas_pairs_per_epoch=512",
    "--MAX_ITEM_LIST_LENGTH=10",
    "--hidden_size=16",
    "--show_progress=False",
]


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "genpas.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    rows = [f"u{user},i{(user * 7 + step * step) % 40},{step}" for user in range(120) for step in range(3 + user % 7)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_blocks_run(number: int, folder: Path) -> None:
    text = blocks("python")[number]
    (folder / "block.py").write_text(text, encoding="utf-8")
    run([sys.executable, "-W", "ignore", "block.py", *(SHORT if "run_recbole" in text else [])], folder)


ACCEPTED = """
import sys
import recbole_ext
from recbole.config import Config
file, sys.argv[1:] = sys.argv[1], []
Config("SASRec", "ml-100k", config_file_list=[file], config_dict={"train_neg_sample_args": None})
"""


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_settings_are_accepted(number: int, folder: Path) -> None:
    (folder / "block.yaml").write_text(blocks("yaml")[number], encoding="utf-8")
    run([sys.executable, "-W", "ignore", "-c", ACCEPTED, "block.yaml"], folder)


# One process for all commands, which then import torch and RecBole once.
COMMANDS = """
import json, sys
from pathlib import Path
from genpas_plugins.cli import main
for arguments in json.loads(sys.argv[1]):
    # The shell would expand a pattern.
    sys.argv = ["genpas", *(str(next(iter(Path().glob(a)), a)) if "*" in a else a for a in arguments)]
    print(*sys.argv, file=sys.stderr)
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.mark.slow
def test_commands_run_in_order(folder: Path) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("genpas ")]
    assert len(lines) > 4
    commands = []
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        if arguments[0] == "train":
            arguments = [a for a in arguments if not a.startswith(("--epochs", "--genpas_pairs"))] + SHORT
            if "TIGER" in arguments:  # its width has another name, and `genpas train` refuses what nothing reads
                arguments.remove("--hidden_size=16")
        if arguments[0] == "experiment":
            arguments += ["--set", "MAX_ITEM_LIST_LENGTH=5", "--set", "hidden_size=16"]
            arguments = [{"4000": "256", "2000": "128"}.get(a, a) for a in arguments]
        # The files that the README names are here or in the checkout.
        commands.append([str(ROOT / a) if a.startswith("configs/") else a for a in arguments])
    run([sys.executable, "-W", "ignore", "-c", COMMANDS, json.dumps(commands)], folder)
    assert (folder / "pairs.parquet").is_file()


def test_make_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"^make ([\w-]+)", "\n".join(blocks("bash")), flags=re.MULTILINE)
    assert named
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_linked_files_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
