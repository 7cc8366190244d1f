"""`genpas reproduce`: a published table, on top of what trains the cells of `genpas compare`.

command   what the command line takes
table     what a table's YAML file says (points: of its grid, and of what it varies)
stores    where a table's data sets are, and how they get there
source    the file that a store was prepared from, which must not change
training  in which order cells are trained and tested, within a budget of time
rows      figures of the cells' files, as plain values
markdown  these as tables
plots     these as figures
earlier   what a report keeps of data sets that only an earlier call was about
report    all of it, as files
"""
