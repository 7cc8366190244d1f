"""Text files as bytes: compression, encoding and line ends by content. polars gets a plain copy where needed."""

from __future__ import annotations

import ast
import bz2
import codecs
import gzip
import io
import json
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, TextIO

import pyarrow as pa

from genpas_plugins.data.source import ReadOptions, first_line
from genpas_plugins.support.errors import InputError

_BLOCK = 1 << 20
_HEAD = 1 << 16
_ZIP = b"PK\x03\x04"
# A Python literal nests in the parser, so that long lines are refused before they are parsed.
_LONGEST_LITERAL = 1 << 20


def _open_member(file: Path) -> IO[bytes]:
    """Open the one file in a zip archive. Raises InputError if it holds several or cannot be read."""
    try:
        archive = zipfile.ZipFile(file)
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise InputError(
                f"{file} is a zip archive of {len(members)} files; unpack it, and name the file of interactions."
            )
        return archive.open(members[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # the last two: passwords, methods
        raise InputError(
            f"{file} cannot be unpacked ({first_line(error)}); unpack it, and name the file inside."
        ) from error


_MAGIC: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\x28\xb5\x2f\xfd": lambda file: io.BufferedReader(pa.input_stream(str(file), compression="zstd")),
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    _ZIP: _open_member,
}
_FOREIGN = {
    b"SQLite format 3": "an SQLite database; export its table as CSV",
    b"ARROW1\0\0": "an Arrow or Feather file; write it as parquet",
    b"\x89HDF": "an HDF5 file; write its table as parquet",
    b"Obj\x01": "an Avro file; write it as parquet",
    b"7z\xbc\xaf": "a 7z archive; unpack it, and name the file inside",
    b"Rar!": "a RAR archive; unpack it, and name the file inside",
} | dict.fromkeys(
    (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
    "a pickle, which can run code and is not read; write its table as parquet",
)
_TAR = slice(257, 262)
_READ_BY_POLARS = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException)


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file and undo its compression. The first bytes name the compression."""
    magic = _magic(file)
    opened: IO[bytes] = _MAGIC[magic](file) if magic else file.open("rb")
    return opened


def inner_name(file: Path) -> Path:
    """Return the name of the only file in a zip archive. Any other name is returned as it is."""
    if not file.is_file() or _magic(file) != _ZIP:
        return file
    with open_bytes(file) as stream:
        return Path(stream.name)


def open_text(file: Path) -> TextIO:
    """Open a plain or compressed UTF-8 file without its byte-order mark. Line ends stay."""
    return io.TextIOWrapper(open_bytes(file), encoding="utf-8-sig", newline="")


def head_of(file: Path, options: ReadOptions) -> bytes:
    """Return the first text of a file as UTF-8 without compression and byte-order mark.

    A search needs UTF-8 because other encodings have the bytes of separators inside of letters. Raises InputError
    if the first bytes are damaged.
    """
    head = _first_bytes(file)
    encoding = _encoding_of(head, options)
    return head.decode(encoding, "ignore").encode() if encoding != "utf-8" else head.removeprefix(codecs.BOM_UTF8)


def _first_bytes(file: Path) -> bytes:
    with undamaged(file), open_bytes(file) as stream:
        head = stream.read(_HEAD)
    what = next((what for magic, what in _FOREIGN.items() if head.startswith(magic)), None)
    if head[_TAR] == b"ustar":
        what = "a tar archive; unpack it, and name the file inside"
    if what is not None:
        raise InputError(f"{file} is {what}.")
    return head


def _encoding_of(head: bytes, options: ReadOptions) -> str:
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if utf16 else codecs.lookup(options.encoding).name


def plain_files(files: list[Path], options: ReadOptions) -> tuple[list[Path], object]:
    """Return files that polars reads as UTF-8 lines: the files or copies in a folder that the second value holds.

    Raises
    ------
    InputError
        A file is damaged or has another encoding or a line above `options.max_line`.
    """
    held: tempfile.TemporaryDirectory[str] | None = None
    plain = []
    for number, file in enumerate(files):
        convert = _conversion(file, options)
        if convert is None:
            plain.append(file)
            continue
        held = held or tempfile.TemporaryDirectory(prefix="genpas.")
        plain.append(Path(held.name) / f"{number}-{file.name}")
        with plain[-1].open("w", encoding="utf-8", newline="\n") as copy:
            copy.writelines(convert)
    return plain, held


@contextmanager
def undamaged(file: Path) -> Iterator[None]:
    """Turn undecodable text or damaged compression inside the block into an InputError with file and line."""
    try:
        yield
    except (UnicodeDecodeError, *_DAMAGE) as error:
        line = 0
        try:
            with open_bytes(file) as stream:
                for raw in stream:
                    line += 1
                    raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{file}, line {line} is not UTF-8 text; convert the file to UTF-8 or name its --encoding."
            ) from error
        except _DAMAGE as damage:
            raise InputError(f"{file} breaks off after line {line} ({damage}); copy it again.") from damage
        raise InputError(
            f"{file} could not be read as text ({first_line(error)}); check its quotes and separators."
        ) from error


def _magic(file: Path) -> bytes:
    with file.open("rb") as stream:
        head = stream.read(8)
    return next((magic for magic in _MAGIC if head.startswith(magic)), b"")


def _conversion(file: Path, options: ReadOptions) -> Iterator[str] | None:
    """Return the pieces of a copy or None if polars can read the file itself. Checks the lines of compressed files."""
    magic, head = _magic(file), _first_bytes(file)
    encoding = _encoding_of(head, options)
    first = head.split(b"\n", maxsplit=1)[0].lstrip()
    if first.startswith((b"{'", b"{u'")):
        return _literals(file, options)
    if (
        encoding != "utf-8"
        or head.startswith(codecs.BOM_UTF8)
        or magic not in (b"", *_READ_BY_POLARS)
        or (b"\r" in head and b"\n" not in head)
    ):
        return _decoded(file, encoding.replace("utf-8", "utf-8-sig"), options)
    if magic:
        for _ in _blocks(file, options):
            pass
    return None


def _blocks(file: Path, options: ReadOptions) -> Iterator[bytes]:
    """Yield a file's bytes without compression. Raises InputError for damage and for a line that is too long."""
    length, lines = 0, 0
    try:
        with open_bytes(file) as stream:
            while block := stream.read(_BLOCK):
                lines += block.count(b"\n")
                end = max(block.rfind(b"\n"), block.rfind(b"\r"))
                length = length + len(block) if end < 0 else len(block) - end
                if length > options.max_line:
                    raise InputError(
                        f"{file}, line {lines + 1} is longer than {options.max_line:,} bytes; "
                        "check the file, or raise --max-line."
                    )
                yield block
    except _DAMAGE as error:
        raise InputError(f"{file} breaks off after line {lines} ({error}); copy it again.") from error


def _decoded(file: Path, encoding: str, options: ReadOptions) -> Iterator[str]:
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    lines = 0
    try:
        for block in chain(_blocks(file, options), [b""]):
            text = decoder.decode(block, final=not block)
            lines += text.count("\n")
            yield text
    except UnicodeDecodeError as error:
        raise InputError(f"{file}, after line {lines}: the text is not {encoding}; name another --encoding.") from error


def _literals(file: Path, options: ReadOptions) -> Iterator[str]:
    """Yield Python literals (one a line) as JSON lines."""
    limit = min(options.max_line, _LONGEST_LITERAL)
    with undamaged(file), open_text(file) as stream:
        number = 0
        while line := stream.readline(limit + 1):
            number += 1
            try:
                if len(line) > limit:
                    raise ValueError(f"more than {limit:,} characters")
                yield json.dumps(ast.literal_eval(line), default=str) + "\n" if line.strip() else "\n"
            except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
                raise InputError(
                    f"{file}, line {number} is not a Python literal as line 1 is ({first_line(error)}); fix the line."
                ) from error
