"""DR4SR: a data set regenerated from its own patterns (Yin et al., KDD 2024).

mine patterns → train a regenerator → write patterns → a new store of originals, mined patterns and written patterns.
"""
