"""Write one small file or folder of every kind that the library reads again: `python write.py OUT`.

Run a copy of this folder outside the repository. PYTHONPATH names a checkout of the commit whose formats are to be
kept. The script uses commands, and RecBole's own functions for the scores. It leaves `files.tar.xz` and
`expected.json` beside OUT.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = Path(sys.argv[1]).resolve()
SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": -1, "pairs_per_epoch": 96}
RUNS = {  # checkpoint: model, settings, genpas section
    "sasrec_sampled.pth": ("SASRec", "sasrec.yaml", SAMPLED),
    "sasrec_parallel.pth": ("SASRec", "sasrec.yaml", {"strategy": "multi_target", "targets": "parallel"}),
    "tiger.pth": ("TIGER", "tiger.yaml", {"strategy": "multi_target"}),
}
# What no command reads again.
LEFT_OUT = (
    *("saved", "resumed", "dataset", "run.yaml", "**/log", "**/log_tensorboard", "**/tensorboard", "**/*.html"),
    *("search/dataset", "search/checkpoints", "**/.lock"),
)


def genpas(*words: object) -> None:
    """Run the command `genpas`."""
    code = "import sys; from genpas_plugins.cli import main; sys.argv[0] = 'genpas'; main()"
    subprocess.run([sys.executable, "-c", code, *map(str, words)], check=True)


def interactions() -> str:
    """30 users of 4 to 9 interactions with 20 items, as CSV."""
    rows = [
        f"u{user:02},i{(user * 7 + place * 3 + place * place) % 20:02},{1000 * user + 10 * place}"
        for user in range(30)
        for place in range(4 + user % 6)
    ]
    return "\n".join(["user_id,item_id,timestamp", *rows]) + "\n"


def scores(checkpoint: Path) -> list[list[float]]:
    """Return the scores of all items for a checkpoint's first two test users."""
    import recbole_ext  # noqa: F401 – before recbole

    sys.argv[1:] = []
    import torch
    from recbole.quick_start import load_data_and_model

    config, model, _, _, _, test = load_data_and_model(str(checkpoint))
    model.eval()
    batch = next(iter(test))[0].to(config["device"])
    with torch.no_grad():
        found = model.full_sort_predict(batch).view(len(batch), -1)
    return [[round(x, 6) for x in row] for row in found[:2].tolist()]


def main() -> None:
    """Write everything into OUT."""
    OUT.mkdir(parents=True)
    os.chdir(OUT)
    Path("interactions.csv").write_text(interactions(), encoding="utf-8")
    columns = ("--user", "user_id", "--item", "item_id", "--order", "timestamp")
    genpas("prepare", "interactions.csv", *columns, "--out", "store")
    small = ("--epochs", 2, "--dimension", 4, "--memories", 2, "--max-history", 6, "--vectors", "random")
    genpas("regenerate", "store", "--out", "regenerated", "--work", "stages", *small)
    genpas("semantic-ids", "store", "--collaborative", "--levels", 2, "--codes", 4, "--out", "semantic_ids")
    genpas("export-recbole", "store", "--out", "dataset", "--name", "mine")
    expected = {}
    for name, (model, file, section) in RUNS.items():
        config = OUT / "run.yaml"
        common = {"data_path": str(OUT / "dataset"), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
        config.write_text(json.dumps({**common, "genpas": section, "checkpoint_dir": str(OUT / "saved")}))
        genpas("train", "--model", model, "--dataset", "mine", "--config", config, "--config", HERE / file)
        (saved,) = Path("saved").glob("*.pth")
        saved.replace(name)
        expected[name] = scores(OUT / name)
    torchrec = {"learning_rate": 0.1, "checkpoint_every": 2, "keep_last": 1}
    Path("run.yaml").write_text(json.dumps({**common, "genpas": SAMPLED, "torchrec": torchrec}))
    train = [sys.executable, "-m", "torchrec_ext.train", "--config", HERE / "sasrec.yaml", "--config", "run.yaml"]
    train += ["--model", "SASRec", "--dataset", "mine"]
    subprocess.run([*train, "--out", "torchrec_run", "epochs=1"], check=True)
    shutil.copytree("torchrec_run", "resumed")
    subprocess.run([*train, "--out", "resumed", "epochs=2"], check=True)
    expected["torchrec_run"] = json.loads(Path("resumed/results.json").read_text())["curve"]
    genpas(
        *("search", "store", "--out", "search", "--train", "--model", "SASRec", "--config", HERE / "sasrec.yaml"),
        *("--epochs", 1, "--pairs-per-epoch", 64, "--seed", 7, "--pruner", "none"),
        *("--alpha", "0,1", "--beta", "0", "--gamma", "0,1", "--keep", 1.0),
    )
    for pattern in LEFT_OUT:
        for left in list(Path().glob(pattern)):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    (OUT.parent / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")
    subprocess.run(["tar", "-cJf", OUT.parent / "files.tar.xz", *sorted(map(str, Path().iterdir()))], check=True)


if __name__ == "__main__":
    main()
