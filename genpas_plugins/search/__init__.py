"""Search (α, β, γ) on a grid and between its points without training or by training a shortlist.

criteria = Criteria.of(split.train, split.validation)
found = shortlist(criteria, Grid())                 found.ranked[0].policy is the best point of the grid
between = optimum(criteria, Grid(), found)          the best points between the points of the grid
"""

from genpas_plugins.search.criteria import Criteria
from genpas_plugins.search.grid import Grid, read_grid
from genpas_plugins.search.optimum import Optimum, optimum
from genpas_plugins.search.shortlist import Candidate, Shortlist, shortlist

__all__ = ["Candidate", "Criteria", "Grid", "Optimum", "Shortlist", "optimum", "read_grid", "shortlist"]
