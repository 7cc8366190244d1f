"""Turn a folder of `genpas compare`, which is gone, into one of `genpas experiment`: its finished runs stay finished.

    python -m benchmarks.migrate_cells OUT --name STORE --config configs/model/SASRec.yaml --config recipe.yaml

NAME is the name of the store's directory. The configuration files must have the content that the runs were trained
with. Their settings then stand in every cell; the figures of the test are of the one protocol that was measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from genpas_plugins.experiments.allowed_settings import OWN
from genpas_plugins.experiments.run import settings_of
from genpas_plugins.support.atomic import replaced_file
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import to_json

WORK = ("checkpoints", "dataset", "regenerated", "log", "log_tensorboard", "recbole.yaml")


def migrate(out: Path, name: str, files: Sequence[Path]) -> int:
    """Move the cells of a folder to cells/NAME and all else that runs left to work/NAME; return how many cells.

    Raises
    ------
    InputError
        If a cell was trained with other configuration files. Nothing is moved then.
    """
    digests = [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files]
    of_files = {key: value for key, value in settings_of(files).items() if key not in (*OWN, "model", "dataset")}
    texts = {}
    for file in sorted((out / "cells").glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        configuration, result = content["configuration"], content["result"]
        if configuration.pop("config files") != digests:
            raise InputError(f"{file} was trained with other configuration files. Name the same, in the same order.")
        settings = {**{key: str(value) for key, value in of_files.items()}, **configuration["settings"]}
        configuration["settings"] = settings
        masked = settings.get("mask_history") == "True"
        result["test"] = {"masked" if masked else "unmasked": result["test"]}
        texts[file] = to_json(content)
    for file, text in texts.items():
        with replaced_file(out / "cells" / name / file.name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        file.unlink()
    for work in (out / part for part in WORK if (out / part).exists()):
        (out / "work" / name).mkdir(parents=True, exist_ok=True)
        work.rename(out / "work" / name / work.name)
    return len(texts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--config", type=Path, action="append", default=[])
    given = parser.parse_args()
    print(f"{migrate(given.out, given.name, given.config)} cells moved to {given.out / 'cells' / given.name}.")
