"""HTML and SVG from templates and elements: whatever is not Markup is escaped where it enters a page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import NamedTuple


class Markup(str):
    """Text that is HTML already. A sum with it is HTML; other text in the sum is escaped.

    >>> Markup("<br/>") + "a < b"
    '<br/>a &lt; b'
    """

    __slots__ = ()

    def __add__(self, other: str) -> Markup:
        return Markup(str.__add__(self, escape(other)))


class Finding(NamedTuple):
    """A sentence with the figures and a sentence with the consequence."""

    what: str
    why: str


def escape(value: object) -> Markup:
    """Return Markup as it is and anything else as escaped text."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Return the parts one after the other. Each is escaped unless it is Markup."""
    return Markup(between.join(escape(part) for part in parts))


def element(tag: str, /, *content: object, **attributes: object) -> Markup:
    """Return an element of HTML or SVG. Content is escaped unless it is Markup. Without content it closes itself.

    `class_` is class and `_` in a name is a hyphen. None and "" leave an attribute out.

    >>> element("li", "a < b", class_="soft")
    '<li class="soft">a &lt; b</li>'
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None and value != ""
    )
    return Markup(f"<{tag}{written}>{join(content)}</{tag}>" if content else f"<{tag}{written}/>")


def page(template: str, styles: Sequence[str], title: str, **values: object) -> str:
    """Return a whole page."""
    return _filled(
        "page.html",
        title=title,
        style=Markup("".join(map(_read, styles))),
        body=_filled(template, title=title, **values),
    )


def table(heads: Sequence[str], rows: Iterable[Markup]) -> Markup:
    """Return a table with a first row of heads. On a narrow screen each row becomes a list."""
    first, *others = heads
    head = element("tr", element("th", first), *(element("th", name, scope="col") for name in others))
    return element("table", element("thead", head), element("tbody", *rows), class_="stack")


def row(name: str, cells: Iterable[tuple[str, str]]) -> Markup:
    """Return a row of a table: its name and then head and text of every cell."""
    written = (element("td", text, data_label=head) for head, text in cells)
    return element("tr", element("th", name, scope="row"), *written)


def definitions(rows: Mapping[str, str]) -> Markup:
    """Return names and values as a list."""
    return element("dl", *(element("dt", name) + element("dd", value) for name, value in rows.items()))


def findings_list(findings: Iterable[Finding]) -> Markup:
    """Return the items of a list of findings."""
    return join(
        element("li", element("p", finding.what, class_="what"), element("p", finding.why, class_="why"))
        for finding in findings
    )


def _filled(template: str, **values: object) -> Markup:
    return Markup(Template(_read(template)).substitute({name: escape(value) for name, value in values.items()}))


def _read(name: str) -> str:
    return (files("genpas_plugins.pages") / "templates" / name).read_text(encoding="utf-8")
