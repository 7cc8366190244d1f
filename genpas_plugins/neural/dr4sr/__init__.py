"""DR4SR: a data set regenerated from its own patterns (Yin et al., KDD 2024).

mine → train a regenerator → infer → a new store of the original sequences, the patterns and the regenerated ones.
"""
