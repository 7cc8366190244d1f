"""DuoRec in RecBole: "Contrastive Learning for Representation Degeneration Problem in Sequential Recommendation".

Qiu et al., WSDM 2022. The contrast is the paper's one, `us_x` in the authors' released code.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from recbole_ext.models.contrastive import ContrastiveSASRec
from recbole_ext.models.same_target import Histories, SameTarget


class DuoRec(ContrastiveSASRec):
    """DuoRec as a RecBole model; its settings and defaults are in DuoRec.yaml.

    One view is the history itself, with a dropout of its own. The other is the history of a random training pair with
    the same target, uniform over them, and so sometimes the same pair.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.same_target = SameTarget(dataset)

    def views(self, histories: Histories, targets: Tensor) -> tuple[Histories, Histories]:
        """Return the histories, and histories of pairs with the same targets."""
        return histories, self.same_target.drawn(targets, histories)
