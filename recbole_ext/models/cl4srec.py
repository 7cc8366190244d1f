"""CL4SRec in RecBole.

"Contrastive Learning for Sequential Recommendation" (Xie et al., ICDE 2022).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genpas_plugins.augment.operator import Catalogue, Operator
from genpas_plugins.augment.operators.crop import Crop
from genpas_plugins.augment.operators.mask import Mask
from genpas_plugins.augment.operators.reorder import Reorder
from genpas_plugins.neural.device.changed_histories import ChangedTensors, apply_operator
from recbole_ext.models.contrastive import ContrastiveSASRec
from recbole_ext.models.same_target import Histories

_SEEDS = 2**62


class CL4SRec(ContrastiveSASRec):
    """CL4SRec as a RecBole model with the settings of CL4SRec.yaml.

    Each view is made by crop, mask or reorder with equal probability. Attention does not see a masked item. The
    paper gives it its own embedding. Random numbers come from torch's generator.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        crop, mask, reorder = (float(config[name]) for name in ("crop_kept", "mask_rate", "reorder_rate"))
        self.operators: tuple[Operator, ...] = (Crop(1 - crop), Mask(mask), Reorder(reorder))

    def views(self, histories: Histories, targets: Tensor) -> tuple[Histories, Histories]:
        """Return two views: each history after one random operator."""
        return self._view(histories), self._view(histories)

    def _view(self, histories: Histories) -> Histories:
        items, lengths = histories
        number, width = torch.arange(len(items), device=items.device), items.shape[1]
        seed = int(torch.randint(_SEEDS, ()))
        chosen = torch.randint(len(self.operators), lengths.shape).to(lengths.device)
        plain = ChangedTensors(items, torch.zeros_like(items), number, lengths)
        for place, operator in enumerate(self.operators):
            address = (seed, 0, place, number)
            changed = apply_operator(operator, plain, Catalogue(self.n_items - 1), address, width)
            mine = chosen == place
            items = torch.where(mine[:, None], changed.items, items)
            lengths = torch.where(mine, changed.lengths, lengths)
        return Histories(items, lengths)
