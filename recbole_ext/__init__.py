"""GenPAS in RecBole: import this before `recbole.quick_start` and then add a `genpas:` key.

    import recbole_ext
    from recbole.quick_start import run_recbole

    run_recbole(model="SASRec", dataset="ml-100k", config_file_list=["genpas.yaml"])

The key draws the training pairs and changes nothing else. Models, negative sampling, evaluation, trainers and the
command line are RecBole's own. Without the key RecBole trains as stock. `recbole_ext.patches` lists what is
replaced.
"""

from recbole_ext.compatibility import import_recbole

import_recbole()

from recbole_ext.patches import apply  # noqa: E402 – RecBole must import first

apply()
