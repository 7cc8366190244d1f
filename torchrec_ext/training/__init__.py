"""One training run: its configuration, its ranks, its folder, what is alive in it, the loop, the results.

    configuration → ranks → folder → run (model, optimizers, batches) → loop → results

`torchrec_ext.train` is the command line.
"""
