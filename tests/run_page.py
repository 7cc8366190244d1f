"""Run the blocks of a Markdown page in order, in the current folder: python run_page.py PAGE ROOT.

yaml      `# NAME.yaml` in the first line: the file NAME.yaml; any other: settings that RecBole must accept
python    run, all blocks of the page in one namespace; without those of an OPTIONAL framework that is not installed
bash      lines that begin with `genpas` or `python -m torchrec_ext.train` are run; other commands are not
"""

import io
import re
import runpy
import shlex
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

OPTIONAL = ("replay", "cornac")
SHORT = [
    "--epochs=1",
    "--genpas_pairs_per_epoch=512",
    "--MAX_ITEM_LIST_LENGTH=10",
    "--hidden_size=16",
    "--show_progress=False",
]
"""RecBole reads settings from the command line: what keeps a training short without changing its text."""


def blocks_of(page: Path) -> list[tuple[str, str]]:
    """Return language and text of the page's blocks."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def main(page: Path, root: Path) -> None:
    """Run the page."""
    names: dict[str, object] = {"__name__": "page"}
    for language, text in blocks_of(page):
        sys.argv[1:] = []
        if language == "yaml":
            file = re.match(r"# ([\w.-]+\.yaml)\n", text)
            Path(file[1] if file else "block.yaml").write_text(text, encoding="utf-8")
            if file is None or "genpas:" in text:
                accept(file[1] if file else "block.yaml")
        elif language == "python" and not any(f"from {name}" in text and find_spec(name) is None for name in OPTIONAL):
            sys.argv[1:] = SHORT if "run_recbole(" in text else []
            exec(compile(text, str(page), "exec"), names)
        elif language == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                run(shlex.split(line, comments=True), root)


def accept(file: str) -> None:
    """Have RecBole check settings."""
    from recbole.config import Config

    import recbole_ext  # noqa: F401, PLC0415, RUF100

    Config("SASRec", "ml-100k", config_file_list=[file], config_dict={"train_neg_sample_args": None})


def run(words: list[str], root: Path) -> None:
    """Run a command in this process, which imports torch and RecBole once; other commands are left alone."""
    # The files that a page names are here or in the checkout. The shell would expand a pattern.
    words = [str(root / word) if word.startswith("configs/") else word for word in words]
    words = [str(next(iter(Path().glob(word)), word)) if "*" in word else word for word in words]
    if words[:3] == ["python", "-m", "torchrec_ext.train"]:
        short = [word.removeprefix("--") for word in SHORT[:-1]]
        sys.argv[1:] = [*(word for word in words[3:] if not word.startswith("epochs=")), *short]
        module = "torchrec_ext.train"
    elif words[:1] == ["genpas"]:
        sys.argv[1:] = shortened(words[1:])
        module = "genpas_plugins"
    else:
        return
    print(*words[:3], file=sys.stderr)
    try:
        with redirect_stdout(io.StringIO()):
            runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise


def shortened(words: list[str]) -> list[str]:
    """Return a command with little training."""
    if words[0] == "train":
        words = [word for word in words if not word.startswith(("--epochs", "--genpas_pairs"))] + SHORT
        if "TIGER" in words:  # its width has another name, and `genpas train` refuses what nothing reads
            words.remove("--hidden_size=16")
    if words[0] == "experiment":
        words = [{"4000": "256", "2000": "128"}.get(word, word) for word in words]
        if "--methods" in words:
            words += ["--set", "MAX_ITEM_LIST_LENGTH=5", "--set", "hidden_size=16"]
    return words


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
