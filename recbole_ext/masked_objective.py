"""BERT4Rec's masked objective on drawn pairs. The targets are a pair's target and the masked items of its history.

RecBole's `mask_itemseq` masks histories alone with Python's global generator and never trains the drawn target. Here
the operator `mask` masks the history. The place after it is always masked:

    history 4 7 2 9, target 5    →    4 [mask] 2 9 [mask]  with the targets 7 and 5
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction

from genpas_plugins.augment.operator import Operator
from genpas_plugins.augment.operators.mask import Mask
from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.errors import InputError

TRANSFORM = "mask_itemseq"
"""RecBole's name of the objective, the `transform` of BERT4Rec."""


def is_masked(config: Config) -> bool:
    """Return whether the model of a configuration is trained on masked items: its own transform masks."""
    return bool(config["transform"] == TRANSFORM == config.internal_config_dict.get("transform"))


def operators_with_mask(config: Config, operators: tuple[Operator, ...] | None) -> tuple[Operator, ...] | None:
    """Return the operators of a training. A masked model without a `mask` gets RecBole's settings.

    A share `ft_ratio` of the pairs keeps its history. Of the other histories a share `mask_ratio` is masked as in
    the authors' code. RecBole draws each item independently.

    Raises InputError for a masked model with a loss that needs negatives.
    """
    if not is_masked(config):
        return operators
    if config["loss_type"] != "CE":
        raise InputError(f"{config['model']} trains masked items of drawn pairs with loss_type: CE alone.")
    if any(isinstance(operator, Mask) for operator in operators or ()):
        return operators
    mask = Mask(rate=float(config["mask_ratio"]), probability=1 - float(config["ft_ratio"] or 0))
    return (*(operators or ()), mask)


def masked_fields(
    config: Config, data: Interaction, histories: Any, items: AnyArray, mask: int
) -> dict[str, torch.Tensor]:
    """Return the fields that BERT4Rec reads of a batch.

    Parameters
    ----------
    config, data : of the batch, whose lists have 0 at masked places
    histories : n `ChangedHistories`, the same ones with the row of the store of each place
    items : item number of each row of the store
    mask : number of the mask token
    """
    sequence = data[config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]]
    length, width = data[config["ITEM_LIST_LENGTH_FIELD"]], sequence.shape[1]
    own = torch.from_numpy(histories.padded_column(items, width))
    # A full history loses its oldest item: the mask of the target needs a place.
    place = torch.arange(width) + (length == width).long()[:, None]
    last = length.clamp(max=width - 1)[:, None]
    sequence, own = (part.gather(1, place.clamp(max=width - 1)) for part in (sequence, own))
    hidden = (sequence == 0) & (own != 0) & (torch.arange(width) < last)
    sequence = sequence.masked_fill(hidden, mask).scatter(1, last, mask)
    targets = own.scatter(1, last, data[config["ITEM_ID_FIELD"]][:, None])
    # RecBole takes the place 0 for padding: its item is masked and not trained.
    trained = hidden.scatter(1, last, True)
    trained[:, 0] = False
    row, where = trained.nonzero(as_tuple=True)
    number = trained.cumsum(1)[row, where] - 1
    index, positive = sequence.new_zeros(2, len(trained), int(trained.sum(1).max()))
    index[row, number], positive[row, number] = where, targets[row, where]
    names = (config["MASK_ITEM_SEQ"], config["POS_ITEMS"], config["NEG_ITEMS"], config["MASK_INDEX"])
    return dict(zip(names, (sequence, positive, torch.zeros_like(positive), index), strict=True))
