"""Search (α, β, γ): a grid, the published shortlist, a continuous optimum, and training of the shortlist alone."""
