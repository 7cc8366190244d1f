"""Search (α, β, γ) on a grid and between its points, without training or by training a shortlist."""
