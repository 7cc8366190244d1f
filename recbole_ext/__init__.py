"""GenPAS in RecBole: import this before `recbole.quick_start`, then switch it on with a `genpas:` key.

    import recbole_ext
    from recbole.quick_start import run_recbole

    run_recbole(model="SASRec", dataset="ml-100k", config_file_list=["genpas.yaml"])

Without the key RecBole trains as stock. With it, training pairs are drawn as the key says and nothing else changes:
models, negative sampling, evaluation, trainers and the command line are RecBole's own.
"""

from recbole_ext import compatibility

compatibility.repair()

from recbole_ext import (  # noqa: E402 – RecBole must import first
    checkpoints,
    dataloader,
    dataset,
    genpas_key,
    mask_history,
    mixing,
    models,
    parallel_targets,
    personaliser,
    processes,
    trained_on,
    trimming,
)

checkpoints.register()
genpas_key.register()
dataset.register()
dataloader.register()
mask_history.register()
parallel_targets.register()
trimming.register()
mixing.register()
personaliser.register()
trained_on.register()
models.register()
processes.register()
