"""What a row trains on: a strategy or a point with operators and mixing. A word or a YAML file names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genpas_plugins.augment import OPERATORS
from genpas_plugins.experiments.allowed_settings import is_of_a_method
from genpas_plugins.sampling.policy import SAMPLED
from genpas_plugins.settings.base import Where
from genpas_plugins.settings.genpas import EXPONENT_NAMES, SECTION, GenPASConfig
from genpas_plugins.settings.mixing import MixingConfig
from genpas_plugins.settings.personaliser import PersonaliserConfig
from genpas_plugins.settings.points import read_policy
from genpas_plugins.settings.yaml_text import read_yaml
from genpas_plugins.support.errors import InputError, nearest

RATE, PROBABILITY = 0.3, 0.5  # of an operator in a word

LOSSES: dict[str, type[MixingConfig | PersonaliserConfig]] = {"basrec": MixingConfig, "dr4sr_plus": PersonaliserConfig}
"""Sections that change the training loss, by the word that adds one with its defaults."""

DATASET = "{dataset}"  # the last part of a path after @ that has a store for every data set

_YAML = (".yaml", ".yml")
_KEYS = (SECTION, *(kind.SECTION for kind in LOSSES.values()))


@dataclass(frozen=True)
class Method:
    """What a row trains on."""

    label: str  # name in tables and files
    genpas: GenPASConfig  # which pairs are drawn, and how histories change
    loss: MixingConfig | PersonaliserConfig | None = None  # what changes the training loss
    store: Path | None = None  # a regenerated store, or ending in DATASET; None: the store of the data set

    @property
    def settings(self) -> dict[str, Any]:
        """RecBole's settings that switch the method on."""
        return {SECTION: self.genpas} if self.loss is None else {SECTION: self.genpas, self.loss.SECTION: self.loss}

    def with_genpas(self, **changes: Any) -> Method:
        """Return the method with other values in its `genpas` section."""
        return replace(self, genpas=self.genpas.replaced(**changes)) if changes else self

    def on_dataset(self, name: str) -> Method:
        """Return the method with its store of a data set."""
        if self.store is None or self.store.name != DATASET:
            return self
        return replace(self, store=self.store.with_name(name))


def check_different(methods: Sequence[Method]) -> None:
    """Raise InputError for a repeated method or two methods with one label."""
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


def check_loss(method: Method, epochs: int) -> None:
    """Raise InputError for a method whose loss would change only after all epochs or has nothing to weigh."""
    loss = method.loss
    if loss is not None and loss.warmup_epochs >= epochs:
        raise InputError(
            f"{method.label}: {loss.method} has {loss.warmup_epochs} plain epochs before it begins, and a run has "
            f"{epochs}. Train more epochs, or write a YAML method with '{loss.SECTION}: {{method: {loss.method}, "
            f"warmup_epochs: {epochs // 2}}}'."
        )
    if isinstance(loss, PersonaliserConfig) and method.store is None:
        raise InputError(
            f"{method.label}: {loss.method} weighs regenerated sequences. Add the store of `genpas regenerate` after @."
        )


def read_method(word: str) -> Method:
    """Return the method of a word: POLICY[+OPERATOR…][+LOSS] or the name of a YAML file. Either may end in @STORE.

    POLICY is a strategy (multi_target, last_items:length=50) or exponents as `1,0,0`. Operators are applied in
    order with RATE and PROBABILITY. LOSS is basrec or dr4sr_plus. A file has a `genpas` key and may have a `mixing`
    or `personaliser` key. STORE is a directory of `genpas regenerate` or FOLDER/{dataset} with a directory for
    every data set. The label has the last name of the path or of FOLDER. The path may be a link.

    >>> method = read_method("1,0,-inf+insert+basrec")
    >>> method.label, method.genpas.policy, method.loss.method
    ('1,0,-inf+insert+basrec', SamplingPolicy(alpha=1, beta=0, gamma=-inf)  # multi_target, 'basrec')
    >>> method.genpas.augment
    (Insert(rate=0.3, probability=0.5, operator='insert'),)
    """
    before, at, path = word.rpartition("@")
    if at and not word.endswith(_YAML):
        store, method = _store(path, f"{word}: after @"), read_method(before)
        name = Path(path).name if store.name != DATASET else store.parent.name  # a link's own tells stores apart
        return replace(method, label=f"{method.label}@{store.name if name in ('', '..') else name}", store=store)
    if word.endswith(_YAML):
        return _read_file(Path(word))
    first, *additions = (part.strip() for part in word.split("+"))
    policy = read_policy(first, word)
    for name in additions:
        if name not in (*OPERATORS, *LOSSES):
            raise InputError(f"{word}: unknown addition {name!r}.{nearest(name, [*OPERATORS, *LOSSES])}")
        if additions.count(name) > 1:
            raise InputError(f"{word}: {name} is there twice. Only a YAML file can repeat it.")
    operators = [name for name in additions if name in OPERATORS]
    losses = [name for name in additions if name in LOSSES]
    if len(losses) > 1:
        raise InputError(f"{word}: {' and '.join(losses)} are two training losses. Keep one.")
    drawn = {name: getattr(policy, name) for name in EXPONENT_NAMES} if policy.strategy == SAMPLED else {}
    augment = [{"operator": name, "rate": RATE, "probability": PROBABILITY} for name in operators] or None
    section = {"strategy": policy.strategy, **drawn, "augment": augment}
    loss = LOSSES[losses[0]].from_mapping(losses[0]) if losses else None
    return Method("+".join([policy.label, *additions]), GenPASConfig.from_mapping(section, word), loss)


def _store(path: str, where: str) -> Path:
    """Return an absolute path. Raises InputError if it is neither a directory nor ends in DATASET."""
    given = Path(path)
    if given.name == DATASET and given.parent.name:
        return given.absolute()
    if not path or not given.resolve().is_dir():
        raise InputError(f"{where} {path!r} is not a directory. Name the store of `genpas regenerate`.")
    return given.resolve()


def _read_file(file: Path) -> Method:
    yaml = read_yaml(file)
    content = yaml.content if isinstance(yaml.content, dict) else {}
    for key in map(str, content):
        if not is_of_a_method(key):
            raise InputError(
                f"{yaml.where([(key,)])}: a method has only the keys {', '.join(_KEYS)}, not {key!r}. Settings of all "
                "methods belong to the table, or to a --config file."
            )
    return _with_sections(file.name, content, yaml.where)


def method_of(row: Mapping[str, Any]) -> Method:
    """Return the method of a row with keys name and genpas. The keys mixing, personaliser and store are optional.

    >>> method_of({"name": "views alone", "genpas": "multi_target", "mixing": {"method": "basrec", "cross": 0}}).label
    'views alone'
    """
    name, own = row.get("name"), ("name", "store")
    sections = {str(key): value for key, value in row.items() if key not in own}
    for key in sections:
        if not is_of_a_method(key):
            raise InputError(f"a row has only the keys {', '.join((*own, *_KEYS))}, not {key!r}.")
    if not isinstance(name, str) or not name or {*name} & {*"/\\"}:
        raise InputError(f"a row of several keys needs a name for tables and files, without a slash, not {name!r}.")
    method = _with_sections(name, sections, f"row {name}")
    return replace(method, store=_store(str(row["store"]), f"row {name}: store")) if "store" in row else method


def _with_sections(label: str, content: Mapping[str, Any], where: Where) -> Method:
    genpas = GenPASConfig.from_config(content, where)
    if genpas is None:
        raise InputError(f"{label}: a method needs the key {SECTION}, as '{SECTION}: multi_target'.")
    losses = [loss for kind in LOSSES.values() if (loss := kind.from_config(content, where)) is not None]
    if len(losses) > 1:
        raise InputError(f"{label}: {' and '.join(loss.SECTION for loss in losses)} are two losses. Keep one.")
    return Method(label, genpas, next(iter(losses), None))
