"""`genpas analyze`: figures and a page about what strategies and points train on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from genpas_plugins.cli.options import JSON, Overwrite, SplitWord, StorePath, check_choice, check_not_the_store
from genpas_plugins.sampling.constructions import CONSTRUCTIONS
from genpas_plugins.sampling.policy import SAMPLED, Policy, named_policy
from genpas_plugins.settings.points import join_points, read_point
from genpas_plugins.support.console import figure, print_json, print_lines, progress_bar
from genpas_plugins.support.errors import InputError

_STEPS = 6
_NOTE = """
KL: of test (or validation) targets from training targets, in nats; lower is better.
A/D: similarity of test histories to training histories of the same target (alignment), over their similarity to
training histories of other targets (discrimination); higher is better.
"""


def command(
    store: StorePath,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Directory to make, for report.json and report.html.")
    ],
    strategies: Annotated[
        list[str] | None,
        typer.Option(
            "--strategies",
            metavar="NAME,…",
            help="Such as suffix, last_items:length=50. Default: last_target, multi_target, slide_window.",
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option("--point", metavar="A,B,C,…", help="Exponents alpha,beta,gamma; inf and -inf are allowed."),
    ] = None,
    framework: Annotated[
        list[str] | None,
        typer.Option(
            "--framework",
            metavar="NAME,…",
            help="Code bases instead of policies, such as recbole, rectools or grid; all: every one that is known.",
        ),
    ] = None,
    similarity: Annotated[
        str, typer.Option(metavar="NAME", help="Similarity of histories, for alignment and discrimination.")
    ] = "recency_containment",
    smoothing: Annotated[float, typer.Option(help="Added to every probability before a KL divergence.")] = 1e-10,
    split: SplitWord = "leave_last_out",
    overwrite: Overwrite = False,
    as_json: JSON = False,
) -> None:
    """Show what strategies and points train on.

    The figures are exact: nothing is sampled or trained. Only a similarity of whole histories is estimated, with its
    standard error. The command writes DIR/report.json and DIR/report.html; --json prints the first. With --framework
    both are about what code bases train on by default.
    """
    if framework:
        if strategies or point:
            raise InputError("--framework has strategies of its own. Remove it, or --strategies and --point.")
        _frameworks(store, out, framework, split, overwrite=overwrite, as_json=as_json)
        return
    policies = read_policies(strategies or (), join_points(point or ()))
    if not (math.isfinite(smoothing) and smoothing > 0):
        raise InputError(f"--smoothing must be a number above 0, not {smoothing}; 1e-10 is the published convention.")
    try:
        import scipy  # noqa: F401 – only whether it is there
    except ModuleNotFoundError as error:
        raise InputError("genpas analyze needs scipy: pip install 'genpas-plugins[analysis]'.") from error
    from genpas_plugins.analysis.similarity import SIMILARITIES
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.data.temporal import read_split
    from genpas_plugins.pages.analysis_report import build_report, check_directory, check_split, write_report
    from genpas_plugins.pages.report_files import PAGE_NAME
    from genpas_plugins.pages.verdict import verdict

    check_choice("--similarity", similarity, SIMILARITIES)
    check_directory(out, overwrite=overwrite)
    views = read_split(SequenceStore.open(store), split)
    check_not_the_store(out, store)
    check_split(views)
    with progress_bar() as tell:
        steps: list[str] = []

        def progress(step: str) -> None:
            steps.append(step)
            tell("analysing", min(len(steps), _STEPS), _STEPS)

        report = build_report(
            views,
            policies,
            name=store.resolve().name,
            split_name=split,
            similarity=SIMILARITIES[similarity](),
            smoothing=smoothing,
            progress=progress,
        )
    write_report(report, out, overwrite=overwrite)
    if as_json:
        print_json(report)
        return
    width = max(map(len, report["policies"]))
    typer.echo(f"{'':<{width}}  KL test  KL validation        A/D  mean history")
    for label in report["policies"]:
        ratio = report["alignment_discrimination"][label]["ratio"]
        typer.echo(
            f"{label:<{width}}  {report['kl']['test'][label]:7.3f}  {report['kl']['validation'][label]:13.3f}  "
            f"{figure(ratio, '.2f'):>9}  {report['history_length'][label]['mean']:12.2f}"
        )
    typer.echo(_NOTE)
    typer.echo("\n".join(verdict(report["verdict"])) + "\n")
    print_lines([("page", out / PAGE_NAME)])


def _frameworks(store: Path, out: Path, words: list[str], split: str, *, overwrite: bool, as_json: bool) -> None:
    from genpas_plugins.analysis.frameworks import frameworks_named
    from genpas_plugins.data.sequences import SequenceStore
    from genpas_plugins.data.temporal import read_split
    from genpas_plugins.pages.analysis_report import check_directory
    from genpas_plugins.pages.framework_report import build_framework_report, write_framework_report
    from genpas_plugins.pages.report_files import PAGE_NAME

    chosen = frameworks_named(words)
    check_directory(out, overwrite=overwrite)
    views = read_split(SequenceStore.open(store), split)
    check_not_the_store(out, store)
    report = build_framework_report(views, chosen, name=store.resolve().name, split_name=split)
    write_framework_report(report, out, overwrite=overwrite)
    if as_json:
        print_json(report)
        return
    width = max(len(row["name"]) for row in report["frameworks"])
    typer.echo(f"{'':<{width}}  KL validation  mean history  strategy")
    for row in report["frameworks"]:
        kl, length = row["kl_validation"], row["history_length"]
        typer.echo(f"{row['name']:<{width}}  {kl:13.3f}  {length:12.2f}  {row['strategy']}")
    print_lines([("page", out / PAGE_NAME)])


def read_policies(strategies: Sequence[str], points: Sequence[str]) -> list[Policy]:
    """Return the policies of strategies and points, each once; GenPAS's three strategies if none is given.

    >>> read_policies(["last_target"], ["1,0,-inf", "1.0,0,-inf"])
    [SamplingPolicy.named('last_target'), SamplingPolicy(alpha=1, beta=0, gamma=-inf)  # multi_target]
    """
    named = list(strategies) or ([] if points else ["last_target", "multi_target", "slide_window"])
    for name in named:
        if name == SAMPLED:
            raise InputError("--strategies sampled needs exponents: write --point ALPHA,BETA,GAMMA instead.")
        check_choice("--strategies", name.split(":")[0], CONSTRUCTIONS)
    policies = [named_policy(name) for name in named]
    return list(dict.fromkeys([*policies, *map(read_point, points)]))
