"""What a row trains on: a strategy or a point, with operators and mixing, as one word or as a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genpas_plugins.augment import OPERATORS
from genpas_plugins.experiments.allowed_settings import is_of_a_method
from genpas_plugins.sampling.constructions import CONSTRUCTIONS
from genpas_plugins.sampling.policy import SAMPLED, Policy, named_policy
from genpas_plugins.settings.genpas import EXPONENT_NAMES, SECTION, GenPASConfig
from genpas_plugins.settings.mixing import METHODS, MixingConfig
from genpas_plugins.settings.mixing import SECTION as MIXING
from genpas_plugins.settings.points import read_point
from genpas_plugins.settings.yaml_text import read_yaml
from genpas_plugins.support.errors import InputError, nearest

RATE, PROBABILITY = 0.3, 0.5  # of an operator in a word

_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Method:
    """What a row trains on."""

    label: str  # name in tables and files
    genpas: GenPASConfig  # which pairs are drawn, and how histories change
    mixing: MixingConfig | None = None  # what is mixed into training
    store: Path | None = None  # a regenerated store; None: the store of the data set

    @property
    def settings(self) -> dict[str, Any]:
        """RecBole's settings that switch the method on; no `mixing` key if nothing is mixed."""
        return {SECTION: self.genpas} if self.mixing is None else {SECTION: self.genpas, MIXING: self.mixing}

    def with_genpas(self, **changes: Any) -> Method:
        """Return the method with other values in its `genpas` section."""
        return replace(self, genpas=self.genpas.replaced(**changes)) if changes else self


def check_different(methods: Sequence[Method]) -> None:
    """Raise InputError for a method that is there twice, and for two methods with one label."""
    for number, method in enumerate(methods):
        for other in methods[:number]:
            if replace(method, label=other.label) == other:
                again = "" if method.label == other.label else f", also as {method.label}"
                raise InputError(f"the method {other.label} is there twice{again}. Remove one.")
            if method.label == other.label:
                raise InputError(f"two methods are called {method.label}. Give one a link of another name.")


def with_epochs(method: Method, pairs_per_epoch: int) -> Method:
    """Return the method with epochs of this length. Raises InputError if it has epochs of another length."""
    own = method.genpas.pairs_per_epoch
    if own not in (None, pairs_per_epoch):
        raise InputError(
            f"{method.label} has pairs_per_epoch {own}, and the table {pairs_per_epoch}. Remove it from the method, or "
            "set it for the table: all rows have the same."
        )
    return method.with_genpas(pairs_per_epoch=pairs_per_epoch)


def check_mixing(method: Method, epochs: int) -> None:
    """Raise InputError for a method whose mixing would begin only after all epochs."""
    if method.mixing is not None and method.mixing.warmup_epochs >= epochs:
        name, plain = method.mixing.method, method.mixing.warmup_epochs
        raise InputError(
            f"{method.label}: {name} has {plain} plain epochs before it mixes, and a run has {epochs}. Train more "
            f"epochs, or write a YAML method with '{MIXING}: {{method: {name}, warmup_epochs: {epochs // 2}}}'."
        )


def read_method(word: str) -> Method:
    """Return the method of a word: POLICY[+OPERATOR…][+basrec] or the name of a YAML file, with @STORE after either.

    POLICY is a strategy, such as multi_target or last_items:length=50, or exponents as 1,0,0. Operators are applied in
    order, with RATE and PROBABILITY. A file has a `genpas` key and may have a `mixing` key. STORE is a directory of
    `genpas regenerate`. The label has the last name of a path, which may be a link.

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
            raise InputError(f"{word}: {path!r} is not a directory. After @ write the store of `genpas regenerate`.")
        method = read_method(before)
        name = Path(path).name  # a link's own: links tell stores of one name apart
        return replace(method, label=f"{method.label}@{store.name if name in ('', '..') else name}", store=store)
    if word.endswith(_YAML):
        return _read_file(Path(word))
    first, *additions = (part.strip() for part in word.split("+"))
    policy = _policy(first, word)
    for name in additions:
        if name not in (*OPERATORS, *METHODS):
            raise InputError(f"{word}: unknown addition {name!r}.{nearest(name, [*OPERATORS, *METHODS])}")
        if additions.count(name) > 1:
            raise InputError(f"{word}: {name} is there twice. Only a YAML file can repeat it.")
    operators = [name for name in additions if name in OPERATORS]
    mixtures = [name for name in additions if name in METHODS]
    if len(mixtures) > 1:
        raise InputError(f"{word}: at most one mixing method.")
    drawn = {name: getattr(policy, name) for name in EXPONENT_NAMES} if policy.strategy == SAMPLED else {}
    augment = [{"operator": name, "rate": RATE, "probability": PROBABILITY} for name in operators] or None
    section = {"strategy": policy.strategy, **drawn, "augment": augment}
    mixing = MixingConfig.from_mapping(mixtures[0]) if mixtures else None
    return Method("+".join([policy.label, *additions]), GenPASConfig.from_mapping(section, word), mixing)


def _policy(text: str, word: str) -> Policy:
    if text.split(":", maxsplit=1)[0] in CONSTRUCTIONS:
        return named_policy(text)
    if "," in text:
        return read_point(text, word)
    how = f"{nearest(text, CONSTRUCTIONS)} Or exponents, as 1,0,0."
    if text == SAMPLED:
        how = "Write its exponents, as 1,0,0."
    raise InputError(f"{word}: {text!r} is not a strategy. {how.strip()}")


def _read_file(file: Path) -> Method:
    yaml = read_yaml(file)
    content = yaml.content if isinstance(yaml.content, dict) else {}
    for key in map(str, content):
        if not is_of_a_method(key):
            raise InputError(
                f"{yaml.where([(key,)])}: a method has only the keys {SECTION} and {MIXING}, not {key!r}. Settings of "
                "all methods belong to the table, or to a --config file."
            )
    genpas = GenPASConfig.from_config(content, yaml.where)
    if genpas is None:
        raise InputError(f"{file}: a method needs the key {SECTION}, as '{SECTION}: multi_target'.")
    return Method(file.name, genpas, MixingConfig.from_config(content, yaml.where))
