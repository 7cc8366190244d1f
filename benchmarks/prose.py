"""Measure the prose of the library: sentences, numpydoc sections, comments and lines.

    python -m benchmarks.prose                     one row a package and room
    python -m benchmarks.prose --worst 20          the modules with the longest sentences too
    python -m benchmarks.prose --show MODULE.py    every sentence of a module above the goal

The script prints and never fails. Goal: at most 13 words and .5 commas a sentence on average.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("genpas_plugins", "recbole_ext", "torchrec_ext")
GOAL_WORDS, GOAL_COMMAS = 13, 0.5

_Definition = ast.FunctionDef | ast.AsyncFunctionDef
_Documented = ast.Module | ast.ClassDef | _Definition
_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
_ENTRY_SECTIONS = {"Parameters", "Attributes", "Returns", "Yields", "Raises", "Other Parameters", "Warns"}
_CODE = re.compile(r"``.+?``|`[^`]+`|\[[^][]*\]|\([^() ]+(, [^() ]+)+\)", re.DOTALL)  # code, shapes and tuples
_SENTENCE_END = re.compile(r"(?<=[.!?])[)\"']?\s+(?=[^a-z])")


@dataclass
class Prose:
    """The counts of one module or of several modules."""

    sentences: list[str] = field(default_factory=list)
    parameters: int = 0  # public functions with parameters
    numpydoc: int = 0  # how many of these functions have a Parameters section
    lines: int = 0
    comments: int = 0

    def add(self, other: Prose) -> None:
        """Add the counts of `other`."""
        self.sentences += other.sentences
        self.parameters += other.parameters
        self.numpydoc += other.numpydoc
        self.lines += other.lines
        self.comments += other.comments

    @property
    def words_a_sentence(self) -> float:
        """Return the mean number of words."""
        return sum(map(words, self.sentences)) / max(1, len(self.sentences))

    @property
    def commas_a_sentence(self) -> float:
        """Return the mean number of commas."""
        return sum(sentence.count(",") for sentence in self.sentences) / max(1, len(self.sentences))


def words(sentence: str) -> int:
    """Return the number of words that hold a letter or a digit."""
    return sum(any(map(str.isalnum, word)) for word in sentence.split())


def sentences_of(docstring: str) -> list[str]:
    """Return the sentences of a docstring.

    Inline code, a shape and a tuple count as one word. Code blocks and lines `name : type` do not count.
    """
    parts = _HEADING.split(inspect.cleandoc(docstring))
    blocks = list(_paragraphs(parts[0].splitlines(), entries=False))
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        if heading not in {"Examples", "References"}:
            blocks += _paragraphs(body.splitlines(), entries=heading in _ENTRY_SECTIONS)
    return [
        sentence
        for block in blocks
        for sentence in _SENTENCE_END.split(_CODE.sub("code", block).strip())
        if words(sentence)
    ]


def _paragraphs(lines: Iterable[str], *, entries: bool) -> Iterator[str]:
    """Yield running text without code. In a section of entries, only the indented descriptions are text."""
    paragraph: list[str] = []
    for line in [*lines, ""]:
        text = line.strip()
        code = text.startswith((">>>", "...", "|", "==", "--")) or (line.startswith("    ") and not entries)
        ends = not text or code or (entries and not line.startswith(" ")) or text.startswith(("- ", "* "))
        if ends and paragraph:
            yield " ".join(paragraph)
            paragraph = []
        if text and not code and (line.startswith(" ") or not entries):
            paragraph.append(text.removeprefix("- ").removeprefix("* "))


def measure(path: Path) -> Prose:
    """Return what the module at `path` holds."""
    source = path.read_text("utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    prose = Prose(
        lines=source.count("\n"),
        comments=sum(
            token.type == tokenize.COMMENT and not re.match(r"#\s*(noqa|type:|pragma|!)", token.string)
            for token in tokens
        ),
    )
    for node, public in _documented(ast.parse(source), public=True):
        docstring = ast.get_docstring(node) or ""
        prose.sentences += sentences_of(docstring)
        if public and takes_parameters(node):
            prose.parameters += 1
            prose.numpydoc += "Parameters\n---" in docstring
    return prose


def _documented(node: ast.AST, *, public: bool) -> Iterator[tuple[_Documented, bool]]:
    """Yield every module, class and function in `node`, and whether a user can reach it."""
    if isinstance(node, _Documented):
        public &= not getattr(node, "name", "").startswith("_")
        yield node, public
        public &= not isinstance(node, _Definition)
    for child in ast.iter_child_nodes(node):
        yield from _documented(child, public=public)


def takes_parameters(node: ast.AST) -> bool:
    """Return whether `node` is a function with at least one parameter other than self and cls."""
    if not isinstance(node, _Definition):
        return False
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return bool({argument.arg for argument in named} - {"self", "cls"})


def row(name: str, prose: Prose) -> str:
    """Return one line of the table."""
    return (
        f"{name:<34}{prose.lines:>7}{len(prose.sentences):>7}{prose.words_a_sentence:>7.1f}"
        f"{prose.commas_a_sentence:>8.2f}{prose.numpydoc:>6} of {prose.parameters:<4}"
        f"{100 * prose.comments / max(1, prose.lines):>8.1f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", default=PACKAGES, help="packages or folders; the library if left out")
    parser.add_argument("--worst", type=int, default=0, help="list the N modules with the longest sentences")
    parser.add_argument("--show", type=Path, help="print the long sentences of one module, and nothing else")
    arguments = parser.parse_args()
    if arguments.show:
        for sentence in measure(arguments.show).sentences:
            if words(sentence) > GOAL_WORDS or sentence.count(",") > 1:
                print(f"{words(sentence):3} words, {sentence.count(',')} commas: {sentence}")
        return
    modules: dict[Path, Prose] = {}
    print(f"{'':<34}{'lines':>7}{'sent.':>7}{'words':>7}{'commas':>8}{'numpydoc':>12}{'comments':>10}")
    total = Prose()
    for folder in map(Path, arguments.folders):
        package = Prose()
        rooms: dict[str, Prose] = {}
        for path in sorted(folder.rglob("*.py")):
            modules[path] = measure(path)
            package.add(modules[path])
            inside = path.relative_to(folder).parts
            if len(inside) > 1:
                rooms.setdefault(inside[0], Prose()).add(modules[path])
        print(row(str(folder), package), *(row(f"  {name}/", room) for name, room in sorted(rooms.items())), sep="\n")
        total.add(package)
    print(row("all", total))
    print(f"comments: a 100 lines. Goal: at most {GOAL_WORDS} words and {GOAL_COMMAS} commas a sentence.")
    worst = sorted(modules, key=lambda path: -modules[path].words_a_sentence - 4 * modules[path].commas_a_sentence)
    for path in worst[: arguments.worst]:
        print(row(str(path), modules[path]))


if __name__ == "__main__":
    main()
