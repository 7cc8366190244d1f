"""`genpas doctor`: versions, backends, broken pairs and their fixes."""

from __future__ import annotations

from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON
from genpas_plugins.support.console import print_json, print_lines, progress_bar, stdout_to_stderr

_COLOURS = {"error": typer.colors.RED, "warning": typer.colors.YELLOW, "note": typer.colors.CYAN}


def command(
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="List what this model of RecBole can use.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Check versions and packages, or what a model can use.

    The exit status is 1 if something is broken.
    """
    if model is not None:
        return _print_features(model, as_json)
    from genpas_plugins.sampling.backend import choose_backend
    from genpas_plugins.support.doctor import diagnose

    with progress_bar() as tell:
        tell("importing packages", 0, None)
        report = diagnose(choose_backend)
    if as_json:
        print_json(report.to_dict())
    else:
        rows: list[tuple[str, object]] = [("Python", report.python), ("platform", report.platform)]
        rows += [(name, version or "-") for name, version in report.versions.items()]
        rows += [(f"import {module}", outcome) for module, outcome in report.imports.items()]
        rows += [("fbgemm build", report.fbgemm_build or "-"), ("sampler backend", report.backend)]
        devices = ", ".join(report.torch.get("devices", []))
        rows += [("CUDA", f"yes: {devices}" if report.torch.get("cuda_available") else "no")]
        print_lines(rows)
        typer.echo()
        for problem in report.problems:
            typer.secho(f"{problem.level}: ", fg=_COLOURS[problem.level], bold=True, nl=False)
            typer.echo(f"{problem.what}\n  fix: {problem.fix}")
        typer.echo("All in order." if report.healthy else "Something is broken: see the errors above.")
    if not report.healthy:
        raise typer.Exit(1)


def _print_features(model: str, as_json: bool) -> None:
    from genpas_plugins.support.errors import require_recbole

    require_recbole()
    with stdout_to_stderr():  # some models print when they are made
        from recbole_ext.model_report import report

        reasons = report(model)
    if as_json:
        features = {name: {"usable": reason is None, "reason": reason} for name, reason in reasons.items()}
        print_json({"model": model, "features": features})
    else:
        print_lines((name, "yes" if reason is None else f"no: {reason}") for name, reason in reasons.items())
