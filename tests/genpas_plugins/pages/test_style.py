"""Text and lines of the pages differ enough from what is under them: the contrasts of WCAG 2.1, level AA."""

import re
from importlib.resources import files

import pytest

Colour = tuple[float, float, float]
CSS = (files("genpas_plugins.pages") / "templates" / "style.css").read_text(encoding="utf-8")
TEXT, SHAPE = 4.5, 3.0  # least contrast of small text and of shapes
HEAT = (0.08, 0.5)  # least and largest opacity of a square of the agreement


def colours(theme: str) -> dict[str, Colour]:
    """Return the variables of a theme, and the colours of text on the parts of a bar."""
    parts = (
        CSS if theme == "dark" else re.sub(r"@media \(prefers-color-scheme:dark\)\{.*?\}\}", "", CSS, flags=re.DOTALL)
    )
    found = dict(re.findall(r"--(\w+):(#\w+)", parts))  # the later one wins, as in a browser
    for names, value in re.findall(r"((?:svg \.on-p\d,?)+)\{fill:(#\w+)\}", parts):
        found |= dict.fromkeys(re.findall(r"on-p\d", names), value)
    return {name: rgb(value) for name, value in found.items()}


def rgb(text: str) -> Colour:
    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    red, green, blue = (int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4))
    return red, green, blue


def contrast(a: Colour, b: Colour) -> float:
    def luminance(colour: Colour) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted(map(luminance, (a, b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrasts_are_those_that_accessibility_asks_for(theme: str) -> None:
    of = colours(theme)
    pairs = {(text, ground): (of[text], of[ground], TEXT) for text in ("ink", "soft") for ground in ("bg", "card")}
    pairs |= {(f"on-p{part}", f"p{part}"): (of[f"on-p{part}"], of[f"p{part}"], TEXT) for part in range(4)}
    pairs |= {(f"c{number}", "card"): (of[f"c{number}"], of["card"], SHAPE) for number in range(8)}
    for opacity in HEAT:
        mixed = tuple(opacity * heat + (1 - opacity) * card for heat, card in zip(of["heat"], of["card"], strict=True))
        pairs["ink", f"heat {opacity}"] = (of["ink"], mixed, TEXT)
    low = {names: round(contrast(a, b), 2) for names, (a, b, least) in pairs.items() if contrast(a, b) < least}
    assert low == {}
