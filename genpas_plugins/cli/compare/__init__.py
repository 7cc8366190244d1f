"""`genpas compare`: methods under an equal budget. `genpas reproduce` builds on it, never the other way round.

command   what the command line takes, and the one pass over methods and seeds
budget    seeds, and pairs as whole epochs
methods   what is compared: words and YAML files
settings  which settings of RecBole's are the comparison's to make, and what is measured
cell      one method with one seed
training  cells trained and tested through RecBole, each kept as a file
table     the table that is printed and saved
"""
