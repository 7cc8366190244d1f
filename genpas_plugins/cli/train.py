"""`genpas train`: RecBole's training with RecBole's options."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, ConfigFiles, Settings
from genpas_plugins.settings.yaml_text import check_yaml, parse_settings
from genpas_plugins.support.console import hide_arguments, print_json, print_lines, stdout_to_stderr
from genpas_plugins.support.errors import require_recbole


def command(
    context: typer.Context,
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="RecBole's name of the model, for example SASRec.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="RecBole's name of the data set.")],
    config: ConfigFiles = None,
    settings: Settings = None,
    nproc: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    world_size: Annotated[
        int, typer.Option("--world-size", "--world_size", help="Number of processes on all machines. Default: nproc.")
    ] = -1,
    ip: Annotated[str, typer.Option(help="Address of the main process.")] = "localhost",
    port: Annotated[str, typer.Option(help="Port of the main process.")] = "5678",
    group_offset: Annotated[
        int, typer.Option("--group-offset", "--group_offset", help="Rank of this machine's first process.")
    ] = 0,
    as_json: JSON = False,
) -> None:
    """Train and evaluate one of RecBole's models.

    A genpas key in a FILE switches GenPAS on. RecBole's settings follow as --learning_rate=0.01 or learning_rate=0.01.
    They win over the files.
    """
    require_recbole()
    from recbole_ext.command_line import CommandLine, recbole_run, run_errors
    from recbole_ext.known_settings import check_settings

    overrides = parse_settings([*(settings or ()), *context.args])
    files = config or []
    for file in files:
        check_yaml(file)
    with hide_arguments(), stdout_to_stderr() if as_json else nullcontext():
        run = recbole_run(model)
        check_settings(model, dataset, files, overrides)
        with run_errors(model, files, overrides):
            result = run(
                model=model,
                dataset=dataset,
                config_file_list=[str(file) for file in files],
                config_dict=CommandLine(overrides),
                nproc=nproc,
                world_size=world_size,
                ip=ip,
                port=port,
                group_offset=group_offset,
            )
    result = dict(result or {})
    if as_json:
        print_json(result)
        return
    for part in ("best_valid_result", "test_result", "trained_on"):
        if isinstance(result.get(part), Mapping):
            typer.echo(part.replace("_", " "))
            print_lines((f"  {name}", value) for name, value in result[part].items())
