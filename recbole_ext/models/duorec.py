"""DuoRec in RecBole.

"Contrastive Learning for Representation Degeneration Problem in Sequential Recommendation" (Qiu et al., WSDM 2022).
The contrast is the paper's: `us_x` in the authors' released code.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from recbole_ext.models.contrastive import ContrastiveSASRec
from recbole_ext.models.same_target import Histories, SameTarget


class DuoRec(ContrastiveSASRec):
    """DuoRec as a RecBole model with the settings of DuoRec.yaml.

    One view is the history itself with its own dropout. The other is the history of a random training pair with the
    same target. The draw is uniform and sometimes returns the same pair.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.same_target = SameTarget(dataset)

    def views(self, histories: Histories, targets: Tensor) -> tuple[Histories, Histories]:
        """Return the histories and other histories with the same targets."""
        return histories, self.same_target.drawn(targets, histories)
