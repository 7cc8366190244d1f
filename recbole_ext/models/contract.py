"""What a model must have for each feature and what it may offer beyond RecBole's own models.

A feature has a list of conditions. Each condition probes the model and returns a reason where the model does not meet
it. `Offers` lists the members that generic code uses where a model has them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor, nn
from typing_extensions import Self

from genpas_plugins.neural.layers.history_losses import LOSSES, Targets, history_losses
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.override import recorded
from recbole_ext.model_probe import PROBE_ERRORS, close, evaluating, every_position, random_batch, random_histories
from recbole_ext.trimming import ranking_in_groups

PARALLEL, TRIM, LOSS = "targets: parallel", "trim: true", "loss"
MIXING, PERSONALISER, SHARDING = "mixing", "personaliser", "sharding"

ITEMS = "items"  # the `sharded_as` of a model that has none: its item table is sharded, and its loss is over all items

Condition = Callable[[Any, str], str | None]
"""Called as condition(model, loss_type); returns why the model does not meet it, None where it does."""


class Offers(Protocol):
    """Members that RecBole's own models do not have; generic code uses each where a model has it."""

    sharded_as: str  # name of the layer in `torchrec_ext.shard.LAYERS` that runs the sharded model
    trained_on: Mapping[str, Any]  # what the report of a training adds, as plain values

    @classmethod
    def check_config(cls, config: Any) -> None:
        """Raise InputError for settings that the model cannot use. No data are read before this check."""

    @classmethod
    def of_state(cls, config: Any, dataset: Any, state: Mapping[str, Tensor]) -> Self:
        """Return a model of the shape of a `state_dict` where the configuration does not give the shape."""

    def shared_arguments(self) -> dict[str, Any]:
        """Return the arguments of the constructor with which another rank builds the same model."""

    def parallel_refusal(self) -> str | None:
        """Return why a model with `target_losses` cannot train with `targets: parallel`, or None."""

    def target_losses(self, interaction: Any, row: Tensor, place: Tensor, targets: Tensor) -> Tensor:
        """Return the loss `float [T]` of each target for a model that computes the losses of windows itself.

        `row` is the history of each target and `place` is the place of the item before it: int64 [T] on the CPU.
        """

    def best_items(
        self, interaction: Any, k: int, without: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return each row's best k items and their scores `[B, k]` for a model that searches for them.

        `without` are rows and items that the search leaves out. Item 0 with -inf fills a row of fewer items.
        """


class Capability(NamedTuple):
    """What a feature asks of a model and what to do without the feature. The first unmet condition counts."""

    conditions: tuple[Condition, ...]
    advice: str


def reads_histories(model: Any, _: str = "") -> str | None:
    """Require forward(item_seq, item_seq_len) of a model or its class."""
    kind: Any = model if isinstance(model, type) else type(model)
    if list(inspect.signature(kind.forward).parameters)[1:] != ["item_seq", "item_seq_len"]:
        return "it has no forward(item_seq, item_seq_len)"
    return None


def has_item_table(model: Any, _: str) -> str | None:
    """Require an embedding table of items by RecBole's usual name."""
    if not isinstance(getattr(model, "item_embedding", None), nn.Embedding):
        return "it has no nn.Embedding called item_embedding"
    return None


def has_item_loss(model: Any, loss_type: str) -> str | None:
    """Require a loss of forward's output times item_embedding from one call of forward."""
    if loss_type not in LOSSES:
        return f"its loss_type {loss_type!r} is none of {', '.join(LOSSES)}"
    batch = random_batch(model)
    targets = Targets(batch[model.POS_ITEM_ID], batch[model.NEG_ITEM_ID])
    with recorded(model, "forward") as calls:
        own = model.calculate_loss(batch)
    if len(calls) == 1 and isinstance(own, Tensor) and calls[0][1].dim() == 2:  # noqa: PLR2004 – [B, D]
        ours = history_losses(loss_type, calls[0][1], model.item_embedding.weight, targets)
        if close(ours.mean(), own):
            return None
    return f"its loss is not {loss_type} of forward's output times item_embedding"


def has_softmax_loss(_: Any, loss_type: str) -> str | None:
    """Require cross-entropy over all items."""
    return None if loss_type == "CE" else f"its loss_type is {loss_type!r}, not CE"


def is_causal(model: Any, _: str) -> str | None:
    """Require that the output at every position is the output for the history that ends there."""
    histories, lengths = random_histories(model)
    positions = torch.arange(histories.shape[1], device=lengths.device)
    alone = model(histories * (positions < lengths[:, None]), lengths)
    try:
        with every_position(model):
            outputs = model(histories, torch.full_like(lengths, histories.shape[1]))
    except PROBE_ERRORS:
        outputs = alone
    if outputs.dim() != alone.dim() + 1:
        return "its forward does not give every position of a history a vector of its own"
    if not close(outputs[torch.arange(len(lengths)), lengths - 1], alone):
        return "its output at a position depends on later items: it is not causal"
    return None


def ignores_padding(model: Any, _: str) -> str | None:
    """Require the same output and the same scores however far a history is padded."""
    batch = random_batch(model)
    histories, lengths = batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN]
    same = close(model(histories[:, : lengths.max()], lengths), model(histories, lengths))
    if type(model).full_sort_predict is not AbstractRecommender.full_sort_predict:
        scores = model.full_sort_predict(batch)
        with ranking_in_groups(model):
            same = same and close(model.full_sort_predict(batch), scores.view(len(batch), -1))
    return None if same else "it computes something else for a history that is padded less far"


def has_mean_loss(model: Any, _: str) -> str | None:
    """Require that the loss of a batch is the mean of the losses of its histories."""
    batch = random_batch(model)
    whole, first, rest = (model.calculate_loss(part) for part in (batch, batch[:3], batch[3:]))
    if not isinstance(whole, Tensor):
        return "its loss has several parts"
    same = close((3 * first + (len(batch) - 3) * rest) / len(batch), whole)
    return None if same else "its loss of a batch is not the mean of the losses of single histories"


def embeds_histories(model: Any, _: str) -> str | None:
    """Require that forward looks up the very tensor of item numbers that it is given in item_embedding."""
    histories, lengths = random_histories(model)
    with recorded(model.item_embedding, "forward") as calls:
        model(histories, lengths)
    if any(args and args[0] is histories for args, _ in calls):
        return None
    return "its forward does not embed item_seq with item_embedding as it is given"


CAPABILITIES: dict[str, Capability] = {
    PARALLEL: Capability(
        (reads_histories, has_item_table, has_item_loss, is_causal, ignores_padding),
        "Set targets: single, or choose another model, such as SASRec or GRU4Rec.",
    ),
    TRIM: Capability((reads_histories, ignores_padding, has_mean_loss), "Set trim: false, or choose another model."),
    LOSS: Capability(
        (reads_histories, has_item_table, has_softmax_loss, has_item_loss),
        "Remove loss from the genpas section, or choose another model, such as SASRec or GRU4Rec.",
    ),
    MIXING: Capability(
        (reads_histories, has_item_table, has_item_loss, embeds_histories),
        "Remove the mixing key, or choose another model, such as SASRec, GRU4Rec or FMLPRec.",
    ),
    PERSONALISER: Capability(
        (reads_histories, has_item_table, has_item_loss),
        "Remove the personaliser key, or choose another model, such as SASRec, GRU4Rec or FMLPRec.",
    ),
    SHARDING: Capability(
        (reads_histories, has_item_table, has_softmax_loss, has_item_loss, embeds_histories, ignores_padding),
        "Set loss_type: CE, or choose another model, such as SASRec, GRU4Rec or TIGER.",
    ),
}
"""What a model needs for each feature, by the setting that asks for it."""


def sharded_as(model: Any) -> str:
    """Return the name of the layer that runs a sharded model; `model` may be its class."""
    return getattr(model, "sharded_as", ITEMS)


def why_not(model: Any, feature: str, loss_type: str) -> str | None:
    """Return why a model cannot use a feature, or None."""
    if feature == SHARDING and sharded_as(model) != ITEMS:
        return None
    if feature == PARALLEL and hasattr(model, "target_losses"):
        reason: str | None = model.parallel_refusal()
        return reason
    for condition in CAPABILITIES[feature].conditions:
        try:
            with evaluating(model):
                reason = condition(model, loss_type)
        except PROBE_ERRORS as error:
            what = str(error).partition("\n")[0]
            reason = f"it does not take histories of any length ({type(error).__name__}: {what})"
        if reason is not None:
            return reason
    return None


def require(model: Any, feature: str, loss_type: str) -> None:
    """Raise InputError with the reason unless a model can use a feature."""
    reason = why_not(model, feature, loss_type)
    if reason is not None:
        raise InputError(refusal(type(model).__name__, feature, reason))


def require_of_class(model_class: type[Any], feature: str) -> None:
    """Raise InputError if the arguments of the class's forward rule the feature out."""
    own = feature == PARALLEL and hasattr(model_class, "target_losses")
    reason = None if own else reads_histories(model_class)
    if reason is not None:
        raise InputError(refusal(model_class.__name__, feature, reason))


def refusal(name: str, feature: str, reason: str) -> str:
    """Return the message for a model that cannot use a feature."""
    return f"{feature} is not possible with {name}: {reason}. {CAPABILITIES[feature].advice}"
