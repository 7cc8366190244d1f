"""Give hostile files to every command that reads one, and print as JSON what came of each attack.

    python attacks.py SETTINGS FOLDER

SETTINGS is a JSON file with RecBole's settings for the data set `tiny`. Every attack leaves a file CANARY if its code
runs. In addition pickle, os.system, eval and exec are watched: they must not see what an attacker wrote.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import pickle
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from typer.testing import CliRunner

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.cli import app
from genpas_plugins.data.storage import STORE
from recbole_ext.checkpoints import load

CODE = "open('CANARY','w').close()"
GENPAS = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "pairs_per_epoch": 32}
PICKLES = ("dataset_save_path", "dataloaders_save_path")
DEFAULT_NAMES = (
    "saved/tiny-SequentialDataset.pth",
    "saved/tiny-WindowDataset.pth",
    "saved/tiny-for-SASRec-dataloader.pth",
)
SEEN: list[str] = []

Attack = Callable[[], Any]


class Payload:
    """Something that leaves CANARY when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch CANARY",)


EVIL = pickle.dumps(Payload())
EVIL_ARRAY = io.BytesIO()
np.save(EVIL_ARRAY, np.array([Payload()]), allow_pickle=True)


def watch() -> None:
    """Record every call of a dangerous function with something of an attacker's, or from our code or RecBole's."""

    def hostile(value: Any) -> bool:
        if hasattr(value, "name") and isinstance(value.name, str | os.PathLike):
            path = Path(value.name)
            return path.is_file() and b"CANARY" in path.read_bytes()
        return "CANARY" in str(value.co_consts if hasattr(value, "co_consts") else value)

    def watched(name: str, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            caller = sys._getframe(1).f_globals.get("__name__", "").split(".")[0]
            if caller in ("recbole", "recbole_ext", "genpas_plugins", "torchrec_ext") or any(map(hostile, args)):
                SEEN.append(f"{name} from {sys._getframe(1).f_code.co_filename}")
            if name in ("eval", "exec") and len(args) == 1:
                frame = sys._getframe(1)
                args = (*args, frame.f_globals, frame.f_locals)
            return original(*args, **kwargs)

        return call

    for owner, name in ((pickle, "load"), (pickle, "loads"), (os, "system"), (builtins, "eval"), (builtins, "exec")):
        setattr(owner, name, watched(name, getattr(owner, name)))

    class Unpickler(pickle.Unpickler):
        def __init__(self, file: Any, *args: Any, **kwargs: Any) -> None:
            if hostile(file):
                SEEN.append("pickle.Unpickler")
            super().__init__(file, *args, **kwargs)

    pickle.Unpickler = Unpickler  # type: ignore[misc]


def genpas(*arguments: Any) -> str:
    """Run a command; return what it printed. Raises InputError where it ended with one sentence."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.exit_code:
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(said) == 1 and "Traceback" not in done.stderr, done.output
        raise InputError(said[0])
    return done.output


STORE_COMMANDS = (
    *("inspect STORE --verify", "sample STORE --out pairs.csv", "analyze STORE --out page", "append STORE more.csv"),
    *("export-recbole STORE --out exported", "search STORE --out search", "regenerate STORE --out new"),
    "semantic-ids STORE --collaborative --codes 4 --levels 2 --out ids",
    "experiment --stores STORE --methods multi_target --pairs 32 --out table",
)


def store_attacks(store: Path, evil_file: Callable[[str], str]) -> Iterator[tuple[str, Attack]]:
    """Yield every command that reads a store or interactions, on pickles under their names."""

    def read(command: str) -> str:
        shutil.copytree(store, "store")
        header = STORE.read(store)
        Path("store/values.npy").write_bytes(EVIL_ARRAY.getvalue())
        Path("store/header.json").unlink()
        STORE.write(Path("store"), header)  # with the checksums of what is there
        Path("more.csv").write_text("user_id,item_id,timestamp\nu,i,1\n")
        return genpas(*command.replace("STORE", "store").split())

    for command in STORE_COMMANDS:
        yield f"{command.split()[0]}: a pickled array in a store", lambda command=command: read(command)
    for command in ("prepare evil.csv --out new", f"append {store} evil.csv"):
        yield (
            f"{command.split()[0]}: a pickle as a file",
            lambda command=command: (evil_file("evil.csv"), genpas(*command.split()))[1],
        )


def attacks(settings: dict[str, Any], start: Path) -> Iterator[tuple[str, Attack]]:  # noqa: PLR0915 – a list
    """Yield names and attacks; each runs in a folder of its own with what `prepared` left in `start`."""
    from recbole.config import Config
    from recbole.quick_start import load_data_and_model, run_recbole
    from recbole.trainer.hyper_tuning import HyperTuning

    checkpoint, store = start / "good.pth", start / "store"

    def evil_file(name: str) -> str:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(EVIL)
        return name

    def config_file(*without: str, **more: Any) -> str:
        given = {**settings, "genpas": GENPAS, **more}
        Path("run.yaml").write_text(yaml.safe_dump({key: given[key] for key in given if key not in without}))
        return "run.yaml"

    def changed(**final: Any) -> str:
        content = torch.load(checkpoint, weights_only=True)
        content["config"]["final"].update(final)
        torch.save(content, "changed.pth")
        return "changed.pth"

    def train(*more: str, without: str = "", **changes: Any) -> str:
        return genpas(
            *("train", "--model", "SASRec", "--dataset", "tiny", "--config", config_file(without, **changes)), *more
        )

    def default_names() -> None:
        for name in DEFAULT_NAMES:
            evil_file(name)

    readers: dict[str, Callable[[str], Any]] = {
        "recommend": lambda file: genpas("recommend", "--checkpoint", file, "--out", "r.parquet"),
        "semantic-ids": lambda file: genpas(
            "semantic-ids", store, "--checkpoint", file, "--codes", 4, "--levels", 2, "--out", "ids"
        ),
        "load_data_and_model": load_data_and_model,
    }
    checkpoints: dict[str, Attack] = {
        **{f"{key} in a checkpoint": lambda key=key: changed(**{key: evil_file("evil.pth")}) for key in PICKLES},
        "default names beside a checkpoint": lambda: (default_names(), str(checkpoint))[1],
        "checkpoint_dir of a checkpoint": lambda: (
            default_names(),
            changed(checkpoint_dir="saved", save_dataset=True, save_dataloaders=True),
        )[1],
        "a pickle as a checkpoint": lambda: evil_file("evil.pth"),
        "a function under the name of an enum": lambda: changed(
            device={"__kind__": "enum", "value": ["__builtins__", "eval"]}
        ),
        "a class in a setting": lambda: changed(
            model="KD_DAGFM", teacher=CODE, MODEL_TYPE={"__kind__": "enum", "value": ["ModelType", "CONTEXT"]}
        ),
        "a path as a model": lambda: changed(model="../../elsewhere"),
        "text in every setting": lambda: changed(
            **{key: CODE for key in load(checkpoint)["config"].final_config_dict if key not in ("model", "dataset")}
        ),
    }
    for command, read in readers.items():
        for name, made in checkpoints.items():
            yield f"{command}: {name}", lambda read=read, made=made: read(made())

    if all(map(find_spec, ("onnx", "onnxscript", "faiss", "safetensors"))):
        for name in ("a pickle as a checkpoint", "a function under the name of an enum", "a path as a model"):
            yield f"export: {name}", lambda made=checkpoints[name]: genpas("export", made(), "--out", "exported")
    yield "train: warm_start", lambda: train(genpas={**GENPAS, "warm_start": evil_file("evil.pth")})
    yield from store_attacks(store, evil_file)
    yield "train: default names", lambda: (default_names(), train())[1]
    yield "train without genpas: default names", lambda: (default_names(), train(without="genpas"))[1]
    for key in PICKLES:
        yield f"train: {key} in a file", lambda key=key: train(**{key: evil_file("evil.pth")})
        yield f"train: {key}", lambda key=key: train(f"--{key}={evil_file('evil.pth')}")
    for tag in ('!!python/object/apply:os.system ["touch CANARY"]', "!!python/name:os.system", "!!python/module:os"):
        for command, run in {
            "train": lambda: genpas("train", "--model", "SASRec", "--dataset", "tiny", "--config", "run.yaml"),
            "Config": lambda: Config("SASRec", "tiny", config_file_list=["run.yaml"], config_dict=settings),
            "experiment": lambda: genpas("experiment", "run.yaml", "--out", "out"),
            "experiment --config": lambda: genpas(
                *("experiment", "--stores", store, "--methods", "multi_target", "--pairs", 32, "--out", "out"),
                *("--config", "run.yaml"),
            ),
            "search": lambda: genpas("search", store, "--grid", "run.yaml", "--out", "out"),
        }.items():
            yield (
                f"{command}: {tag.split()[0]}",
                lambda run=run, tag=tag: (Path("run.yaml").write_text(f"epochs: {tag}\n", encoding="utf-8"), run())[1],
            )
    yield "train: code as a value", lambda: train(f"--hidden_act={CODE}")
    yield (
        "Config: code as a value",
        lambda: Config("SASRec", "tiny", config_dict={**settings, "learning_rate": CODE, "wandb_project": CODE}),
    )
    yield (
        "HyperTuning: code in the parameters",
        lambda: (
            Path("hyper.test").write_text(f"learning_rate choice [{CODE}]\n"),
            HyperTuning(lambda *_: None, params_file="hyper.test", algo="random"),
        ),
    )
    for model, key in (("S3Rec", "pre_model_path"), ("NeuMF", "mf_pretrain_path"), ("KD_DAGFM", "warm_up")):
        yield (
            f"{model}: {key}",
            lambda model=model, key=key: run_recbole(
                model,
                "tiny",
                config_dict={
                    **{**settings, key: evil_file("evil.pth"), "train_stage": "finetune", "use_pretrain": True},
                    **{"phase": "finetuning", "teacher": "CrossNet", "item_attribute": "class"},
                },
            ),
        )
    yield "KD_DAGFM: teacher", lambda: run_recbole("KD_DAGFM", "tiny", config_dict={**settings, "teacher": repr(CODE)})

    def item_embeddings() -> None:
        Path(settings["data_path"], "tiny", "item_emb.npy").write_bytes(EVIL_ARRAY.getvalue())
        run_recbole("LDiffRec", "tiny", config_dict={**settings, "n_cate": 2})

    yield "LDiffRec: item_emb.npy", item_embeddings

    def resumed_search() -> None:
        command = (
            "search",
            store,
            "--train",
            "--best",
            1,
            "--epochs",
            1,
            "--out",
            "out",
            "--config",
            config_file("genpas", "data_path"),
        )
        genpas(*command)
        with sqlite3.connect("out/study.db") as database:
            for (table,) in database.execute("select name from sqlite_master where type='table'").fetchall():
                columns = [row[1] for row in database.execute(f"pragma table_info({table})") if row[2] == "BLOB"]
                columns += [row[1] for row in database.execute(f"pragma table_info({table})") if row[1] == "value_json"]
                for column in columns:
                    database.execute(f"update {table} set {column}=?", (EVIL,))
        for file in Path("out").rglob("*.pth"):
            file.write_bytes(EVIL)
        genpas(*command)

    yield "search: a changed study", resumed_search

    def regenerate() -> None:
        for name in ("patterns.npz", "regenerator.pt", "regenerated.npz"):
            evil_file(f"work/{name}")
            with contextlib.suppress(InputError):
                genpas("regenerate", store, "--out", "new", "--work", "work", "--epochs", 1, "--dimension", 8)
            Path(f"work/{name}").unlink()

    yield "regenerate: stages", regenerate

    def vectors() -> None:
        Path("vectors.npy").write_bytes(EVIL_ARRAY.getvalue())
        genpas("semantic-ids", store, "--embeddings", "vectors.npy", "--out", "ids")

    yield "semantic-ids: vectors", vectors

    def encoder() -> None:
        Path("encoder").mkdir()
        Path("encoder/evil.py").write_text("import os\nos.system('touch CANARY')\nclass Evil: pass\n")
        modules = [{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}]
        Path("encoder/modules.json").write_text(json.dumps(modules))
        Path("encoder/config.json").write_text("{}")
        Path("items.csv").write_text("item_id,title\n" + "".join(f"i{n:02},a\n" for n in range(25)))
        genpas("semantic-ids", store, "--text", "items.csv", "--encoder", "encoder", "--out", "ids")

    if find_spec("sentence_transformers"):
        yield "semantic-ids: an encoder's code", encoder

    if find_spec("torchrec"):
        from torchrec_ext.train import main

        def sharded(*more: str, **changes: Any) -> None:
            arguments = ["--config", config_file(**changes), "--out", "run", *more]
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                try:
                    main([*arguments, "--model", "SASRec", "--dataset", "tiny"])
                except SystemExit as error:
                    assert error.code == 2 and "Traceback" not in said.getvalue(), said.getvalue()
                    raise InputError(said.getvalue()) from None

        def resumed() -> None:
            sharded(torchrec={"checkpoint_every": 1})
            for file in (*Path("run").rglob(".metadata"), *Path("run").rglob("*.p*t*")):
                if file.is_file():
                    file.write_bytes(EVIL)
            Path("run/results.json").unlink()
            sharded(torchrec={"checkpoint_every": 1})

        start_from = lambda: sharded(genpas={**GENPAS, "warm_start": evil_file("evil.pth")})  # noqa: E731
        yield "torchrec_ext.train: warm_start", start_from
        yield "torchrec_ext.train: default names", lambda: (default_names(), sharded())[1]
        for key in PICKLES:
            yield f"torchrec_ext.train: {key}", lambda key=key: sharded(**{key: evil_file("evil.pth")})
        yield "torchrec_ext.train: a changed run", resumed


def prepared(settings: dict[str, Any], start: Path) -> None:
    """Train the checkpoint `good.pth` and write the store of the data set."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer

    config = Config("SASRec", "tiny", config_dict={**settings, "genpas": GENPAS})
    data = create_dataset(config)
    train_data, valid_data, _ = data_preparation(config, data)
    trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, get_model("SASRec")(config, train_data.dataset))
    trainer.fit(train_data, valid_data)
    Path(trainer.saved_model_file).rename(start / "good.pth")
    ids = [str(item) for item in data.field2id_token["item_id"][1:]]
    view = train_data.dataset.store
    SequenceStore.from_arrays(view.values, view.offsets, item_ids=ids).save(start / "store")


def main(settings_file: str, folder: str) -> None:
    """Run all attacks and print [name, outcome, whether code ran, what was seen] of each."""
    settings = json.loads(Path(settings_file).read_text(encoding="utf-8"))
    start = Path(folder)
    sys.argv = ["attacks"]
    os.chdir(start)
    prepared(settings, start)
    watch()
    outcomes = []
    for number, (name, attack) in enumerate(attacks(settings, start)):
        place = start / str(number)
        place.mkdir()
        os.chdir(place)
        SEEN.clear()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                attack()
            outcome = "ignored"
        except InputError as error:
            outcome = f"refused: {error}"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        ran = bool(list(start.rglob("CANARY")))
        for path in start.rglob("CANARY"):
            path.unlink()
        outcomes.append([name, outcome, ran, list(SEEN)])
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
