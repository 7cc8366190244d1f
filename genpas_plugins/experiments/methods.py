"""What `genpas compare` compares: a strategy or a point, with operators and mixing, as one word or a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genpas_plugins.augment import OPERATORS
from genpas_plugins.sampling.policy import EXPONENTS, SAMPLED, SamplingPolicy
from genpas_plugins.settings import mixing
from genpas_plugins.settings.genpas import PREFIX, SECTION, GenPASConfig
from genpas_plugins.settings.points import read_point
from genpas_plugins.settings.yaml_text import read_yaml
from genpas_plugins.support.errors import InputError, nearest
from genpas_plugins.support.json_text import as_json_value

RATE, PROBABILITY = 0.3, 0.5
"""Of an operator that is named without a YAML file."""

_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Method:
    """A row of the comparison.

    label  : how tables and files call it, whatever stands beside it
    genpas : what pairs are drawn and how histories change
    mixing : what is trained on beside them, None for nothing
    store  : a regenerated store to draw from, None for the store of the comparison
    """

    label: str
    genpas: GenPASConfig
    mixing: mixing.MixingConfig | None = None
    store: Path | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Return the RecBole settings that switch the method on; no `mixing` key where nothing is mixed."""
        sections: dict[str, Any] = {SECTION: self.genpas}
        return sections if self.mixing is None else {**sections, mixing.SECTION: self.mixing}


def read_methods(words: Sequence[str], where: str = "--methods") -> list[Method]:
    """Return the methods of these words, which stand `where`.

    Raises InputError for a word that is no method, for a method that is given twice, and for two of one label.
    """
    methods: dict[str, Method] = {}
    for word in words:
        method = read_method(word, where)
        for before, other in methods.items():
            if (as_json_value(method.settings), method.store) == (as_json_value(other.settings), other.store):
                again = "" if method.label == other.label else f": {method.label} is {other.label}"
                raise InputError(f"{where} {word}: the method {other.label!r} is given twice{again}. Leave one out.")
            if method.label == other.label:
                raise InputError(
                    f"{where} {before} and {word} are both called {method.label}; a copy or a link of another name "
                    "tells them apart."
                )
        methods[word] = method
    return list(methods.values())


def with_epochs(method: Method, pairs_per_epoch: int) -> Method:
    """Return the method with epochs of so many pairs. Raises InputError if it has epochs of its own."""
    if method.genpas.pairs_per_epoch not in (None, pairs_per_epoch):
        raise InputError(
            f"{method.label} has pairs_per_epoch {method.genpas.pairs_per_epoch}, the comparison {pairs_per_epoch}: "
            "all methods have the same. Remove the key, or set --pairs-per-epoch."
        )
    return replace(method, genpas=method.genpas.replaced(pairs_per_epoch=pairs_per_epoch))


def check_mixing(method: Method, epochs: int) -> None:
    """Raise InputError for a method whose mixing would begin only after all the epochs."""
    if method.mixing is None or method.mixing.warmup_epochs < epochs:
        return
    plain_epochs = f"{method.mixing.warmup_epochs} plain epochs before it mixes, and a run has {epochs}"
    raise InputError(
        f"{method.label}: {method.mixing.method} has {plain_epochs}: nothing would be mixed. Train more epochs, or "
        f"write a YAML method with its own '{mixing.SECTION}: {{method: {method.mixing.method}, warmup_epochs: "
        f"{epochs // 2}}}'."
    )


def read_method(word: str, where: str = "--methods") -> Method:
    """Return the method of a word: POLICY[+OPERATOR…][+basrec] or the name of a YAML file, and @STORE behind either.

    POLICY is last_target, multi_target, slide_window or exponents as 1,0,0. Operators are applied as they stand, with
    RATE and PROBABILITY; mixing is as it comes. A file holds a `genpas` key and may hold a `mixing` one. STORE is a
    directory that `genpas regenerate` made. The label has the last name of a path, as it is written: a link's own.
    Raises InputError for anything else, naming `where` it stands and the nearest word.

    >>> method = read_method("1,0,-inf+insert+basrec")
    >>> method.label, method.genpas.policy, method.mixing.method
    ('1,0,-inf+insert+basrec', SamplingPolicy(alpha=1, beta=0, gamma=-inf)  # multi_target, 'basrec')
    >>> method.genpas.augment
    (Insert(rate=0.3, probability=0.5, operator='insert'),)
    """
    before, at, path = word.rpartition("@")
    if at and not word.endswith(_YAML):
        store = Path(path).resolve()
        if not path or not store.is_dir():
            raise InputError(f"{where} {word}: {path!r} is no directory; a store that was regenerated follows the @.")
        method = read_method(before, where)
        name = Path(path).name  # a link's own: links tell stores of one name apart
        return replace(method, label=f"{method.label}@{store.name if name in ('', '..') else name}", store=store)
    if word.endswith(_YAML):
        return _read_file(Path(word), where)
    if "," in word and any(part.split("+")[0].strip() in EXPONENTS for part in word.split(",")):
        raise InputError(f"{where} {word}: write each method as an entry of the list.")
    first, *additions = (part.strip() for part in word.split("+"))
    if not first:
        raise InputError(
            f"{where} {word}: a strategy or exponents stand before the first +, as in multi_target"
            f"{f'+{additions[0]}' if additions else ''}."
        )
    policy = _policy(first, f"{where} {word}")
    operators = [name for name in additions if name in OPERATORS]
    mixtures = [name for name in additions if name in mixing.METHODS]
    for name in additions:
        if name not in OPERATORS and name not in mixing.METHODS:
            raise InputError(f"{where} {word}: {name!r} is no addition.{nearest(name, [*OPERATORS, *mixing.METHODS])}")
        if additions.count(name) > 1:
            raise InputError(f"{where} {word}: {name} is there twice; a YAML file can say that.")
    if len(mixtures) > 1:
        raise InputError(f"{where} {word}: one mixing method at most.")
    augment = [{"operator": name, "rate": RATE, "probability": PROBABILITY} for name in operators]
    exponents = {name: getattr(policy, name) for name in ("alpha", "beta", "gamma")}
    section = {"strategy": policy.strategy, **(exponents if policy.strategy == SAMPLED else {})}
    return Method(
        "+".join([policy.label, *additions]),
        GenPASConfig.from_mapping({**section, "augment": augment or None}, f"{where} {word}"),
        mixing.MixingConfig.from_mapping(mixtures[0]) if mixtures else None,
    )


def _policy(text: str, where: str) -> SamplingPolicy:
    if text in EXPONENTS:
        return SamplingPolicy.named(text)
    if "," in text:
        try:
            return read_point(text)
        except InputError:
            raise InputError(
                f"{where}: {text!r} is no point; write three numbers alpha,beta,gamma, as 1,0,0 or 1,0,-inf."
            ) from None
    if text == SAMPLED:
        raise InputError(f"{where}: sampled is written as its exponents alpha,beta,gamma, as 1,0,0.")
    raise InputError(
        f"{where}: there is no strategy {text!r}.{nearest(text, EXPONENTS)} Exponents are written 1,0,0, and "
        "what is neither goes into a .yaml file."
    )


def _read_file(file: Path, where: str) -> Method:
    if not file.is_file():
        raise InputError(f"{where} {file}: there is no such file; check the path.")
    content = (read := read_yaml(file)).content
    if not isinstance(content, dict):
        raise InputError(f"{file}: a method holds a {SECTION} key, and may hold a {mixing.SECTION} one.")
    for key in map(str, content):
        if key not in (SECTION, mixing.SECTION) and not key.startswith((PREFIX, mixing.PREFIX)):
            raise InputError(
                f"{file}: a method holds the keys {SECTION} and {mixing.SECTION} alone, not {key!r}; settings for all "
                "methods go into a --config file."
            )
    genpas = GenPASConfig.from_config(content, read.where)
    if genpas is None:
        raise InputError(f"{file}: a method needs a {SECTION} key, such as '{SECTION}: multi_target'.")
    return Method(file.name, genpas, mixing.MixingConfig.from_config(content, read.where))
