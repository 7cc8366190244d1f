"""Train a RecBole model on drawn pairs with its item table sharded over all ranks.

    torchrun --nproc-per-node 2 -m torchrec_ext.train --config a.yaml --config b.yaml --out RUN epochs=5

The configuration files hold RecBole's settings, a `genpas:` section and a `torchrec:` section (both explained
below). Later files override earlier files and `key=value` overrides all files. A run found in RUN continues.
Without torchrun there is one process.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from genpas_plugins.settings.yaml_text import KeyPath, YamlFile, name_places, parse_settings, read_yaml
from genpas_plugins.support.console import (
    hide_arguments,
    print_json,
    print_lines,
    progress_bar,
    split_list,
    stdout_to_stderr,
)
from genpas_plugins.support.errors import InputError, is_full_disk, require_recbole

if TYPE_CHECKING:
    from genpas_plugins.settings.torchrec import TorchRecConfig
    from torchrec_ext.training.ranks import Ranks
    from torchrec_ext.training.run import Loaders

PROGRAM = "python -m torchrec_ext.train"
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}; {PROGRAM} --help lists the options.")


class _Once(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, value: Any, name: str | None = None) -> None:
        if getattr(namespace, self.dest) is not None:
            raise InputError(f"{name} is given 2 times. Keep one of them.")
        setattr(namespace, self.dest, value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one sentence on stderr and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        _parser().print_help()
        return
    from torchrec_ext.training.ranks import Ranks

    try:
        ranks = Ranks.join()
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(BAD_INPUT) from error
    code = _outcome(ranks, arguments)
    if code and ranks.world_size > 1:
        # Collectives that another rank left open would abort an ordinary exit.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    from torch import distributed

    distributed.destroy_process_group()
    if code:
        raise SystemExit(code)


def _outcome(ranks: Ranks, arguments: Sequence[str]) -> int:
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    # Deprecations in TorchRec and torch are theirs to fix. Every rank would print them.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torchrec\.")
    warnings.filterwarnings("ignore", "Please use DTensor", FutureWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)

    from torchrec_ext.training.ranks import is_loss_of_a_rank

    # With these two calls torchrun can show the first error of any rank, whichever machine it was on. They are what
    # @record does, which would also put a traceback under every sentence about bad input.
    under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if under_torchrun:
        get_error_handler().initialize()
    try:
        run(ranks, arguments)
    except InputError as error:
        ranks.has_said(f"error: {' '.join(str(error).split())}")
        return BAD_INPUT
    except KeyboardInterrupt:
        ranks.say("error: interrupted; the same command goes on from the last checkpoint.")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and (error.filename is not None or is_full_disk(error)):
            typer.echo(
                f"error: {error.filename or 'output'}: {error.strerror or error}, so the run ends here. Check its "
                "folder and the disk's space. The same command goes on from the last checkpoint that is left.",
                err=True,
            )
            return FAILED
        if not is_loss_of_a_rank(error):
            if under_torchrun:
                get_error_handler().record_exception(error)
            traceback.print_exc()
            return FAILED
        typer.echo(
            f"error: rank {ranks.rank} lost another rank, which died or was killed, so the run ends here. The same "
            "command goes on from the last checkpoint.",
            err=True,
        )
        return FAILED
    return 0


def run(ranks: Ranks, arguments: Sequence[str]) -> None:
    """Read the arguments and train. Rank 0 prints the results."""
    options, rest = ranks.together(lambda: _parsed(arguments))
    with hide_arguments(), stdout_to_stderr() if options.json else nullcontext():
        config, section = ranks.together(lambda: configuration(ranks, options, rest))
        loaders = ranks.together(lambda: prepared_data(config))
        from torchrec_ext.training.folder import RunFolder
        from torchrec_ext.training.loop import train

        with progress_bar() if ranks.rank == 0 else nullcontext(lambda step, done, total: None) as tell:
            results = train(config, section, loaders, ranks, RunFolder(options.out), fresh=options.fresh, tell=tell)
    if ranks.rank == 0:
        if options.json:
            print_json(results)
        else:
            print_lines(_summary(results, options.out))


def configuration(ranks: Ranks, options: argparse.Namespace, settings: Sequence[str]) -> tuple[Any, TorchRecConfig]:
    """Return RecBole's Config and the `torchrec` section. Raises InputError for whatever in them cannot be used."""
    overrides = parse_settings(settings, PROGRAM, "write a setting of RecBole's as --key=value or key=value")
    files = [read_yaml(file, "--config") for file in options.config]
    named = {**_keys(files), **overrides}
    for key in ("model", "dataset"):
        if getattr(options, key) is None and key not in named:
            raise InputError(f"No {key} is named: write `{key}: …` in a file given with --config, or --{key}.")
    from genpas_plugins.settings.all_sections import misspelt_section
    from genpas_plugins.settings.torchrec import SECTION, TorchRecConfig
    from torchrec_ext.training.torchrec_section import check_keys, check_model, check_recbole

    def where(paths: Collection[KeyPath]) -> str:
        places = [(str(file.file), file.lines) for file in files]
        return name_places(paths, [*places, ("the command line", {(key,): 0 for key in overrides})])

    for key in named:
        if (meant := misspelt_section(key)).startswith(SECTION):
            raise InputError(f"{where([(key,)])}: there is no key {key!r}. Did you mean {meant!r}?")
    section = TorchRecConfig.from_config(named, where) or TorchRecConfig()
    device = ranks.device(wanted=named.get("use_gpu", True) is not False and named.get("gpu_id", "0") != "")
    if device.type == "cuda" and named.get("gpu_id") is not None:
        raise InputError(
            f"gpu_id is {named['gpu_id']!r}, but each rank takes the GPU of its number on the machine. Remove the key; "
            "CUDA_VISIBLE_DEVICES chooses GPUs."
        )
    from torchrec_ext.shard import check_cache, check_optimizer

    check_optimizer(section.optimizer, device)
    check_cache(section.cached, device)
    config = _recbole_config(options, overrides, named, device)
    from recbole_ext.genpas_key import genpas_config

    if genpas_config(config) is None:
        raise InputError(
            "There is no genpas section, which says how training pairs are drawn: add one of configs/strategy/ with "
            "--config."
        )
    check_keys(config, list(named))
    check_recbole(config)
    check_model(config, section)
    return config, section


def prepared_data(config: Any) -> Loaders:
    """Return RecBole's three loaders. Raises InputError for data that are not there or cannot be read."""
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    from torchrec_ext.training.run import Loaders

    init_seed(config["seed"], config["reproducibility"])
    try:
        return Loaders(*data_preparation(config, create_dataset(config)))
    except InputError:
        raise
    except (ValueError, NotImplementedError, OSError) as error:
        raise InputError(
            f"RecBole cannot read the data set {config['dataset']!r} (data_path is {config['data_path']!r}): {error}"
        ) from error


def _recbole_config(options: argparse.Namespace, overrides: dict[str, Any], named: dict[str, Any], device: Any) -> Any:
    from recbole.config import Config

    import recbole_ext  # noqa: F401 – registers GenPAS in RecBole

    require_recbole()
    from recbole_ext.command_line import CommandLine, refusals
    from recbole_ext.known_settings import check_model

    check_model(named["model"] if options.model is None else options.model)
    # RecBole writes gpu_id into the environment, where it would hide the other ranks' GPUs.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = visible if visible is not None else ",".join(map(str, range(64)))
    # The sharded model has a cross-entropy of its own, whatever RecBole would sample.
    made = {"gpu_id": repr(every), **({} if "train_neg_sample_args" in named else {"train_neg_sample_args": None})}
    given = {key: value for key, value in overrides.items() if key != "gpu_id"}
    try:
        with refusals():
            config = Config(
                model=options.model,
                dataset=options.dataset,
                config_file_list=[str(file) for file in options.config],
                config_dict=CommandLine(given, made),
            )
    finally:
        if visible is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
    config.final_config_dict.update(device=device, gpu_id=visible or "0")
    return config


def _keys(files: Sequence[YamlFile]) -> dict[str, Any]:
    """Return the settings of the files; later files win. Raises InputError for a file without settings."""
    merged: dict[str, Any] = {}
    for file, content, _ in files:
        if not isinstance(content, dict):
            raise InputError(f"{file} must hold settings such as 'epochs: 10', not {type(content).__name__}.")
        merged.update({str(key): value for key, value in content.items()})
    return merged


def _parser() -> _Parser:
    from genpas_plugins.settings.field_words import commented_yaml
    from genpas_plugins.settings.genpas import GenPASConfig
    from genpas_plugins.settings.torchrec import TorchRecConfig

    sections = (GenPASConfig(strategy="multi_target"), TorchRecConfig())
    parser = _Parser(
        prog=PROGRAM,
        usage="%(prog)s --config FILE,… --out RUN [--fresh] [--json] [key=value …]",
        description=__doc__,
        epilog="\n".join(commented_yaml(section.SECTION, section) for section in sections),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        *("--config", "-c"),
        type=lambda text: [Path(word) for word in split_list(text, "--config")],
        action="extend",
        default=[],
        metavar="FILE,…",
        help="YAML; later files win",
    )
    parser.add_argument("--out", "-o", action=_Once, type=Path, required=True, metavar="RUN", help="the run's folder")
    parser.add_argument("--model", "-m", action=_Once, help="RecBole's name of the model, if no file has it")
    parser.add_argument("--dataset", "-d", action=_Once, help="name of the data set, if no file has it")
    parser.add_argument("--fresh", action="store_true", help="delete the run found in RUN and begin anew")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object")
    return parser


def _parsed(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    return _parser().parse_known_args(list(arguments))


def _summary(results: dict[str, Any], out: Path) -> list[tuple[str, object]]:
    best = results["best_valid"] or {}
    return [
        ("epochs", results["epochs"]),
        ("pairs seen", results["pairs_seen"]),
        ("pairs a second", round(results["pairs_per_second"])),
        ("best epoch", results["best_epoch"]),
        *((f"validation {name}", value) for name, value in best.items()),
        *((f"test {name}", value) for name, value in results["test"].items()),
        ("saved in", out),
    ]


if __name__ == "__main__":
    main()
