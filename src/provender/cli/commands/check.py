"""`provender check`: what differs from the lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.console import Console, clean, counted
from provender.cli.options import console_of, output_options, registry_options
from provender.cli.project import directory_option, project_directory
from provender.cli.services import Services

if TYPE_CHECKING:
    from provender.project.report import CheckReport


@click.command("check")
@click.option("--deep", is_flag=True, help="Hash every file, not only what looks different.")
@click.option("--offline", is_flag=True, help="Ask no registry, even if then changed files cannot be named.")
@directory_option
@registry_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    deep: bool,
    offline: bool,
    directory: Path | None,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> int:
    """Report missing, changed and extra files of each dependency; exit status 1 if there are any.

    \b
    Example:
      provender check
      provender check --deep --format json
    """
    from provender.project.check import check
    from provender.project.manifest import MANIFEST_NAME, Manifest

    console = console_of(ctx)
    services = Services(console, registries=registries, plain_http=plain_http, is_offline=offline)
    project = project_directory(console, directory)
    manifest = Manifest.load(project / MANIFEST_NAME)
    with services.sources(manifest) as sources:
        report = check(project, sources, is_deep=deep, progress=console.progress())
    console.stop_progress()
    _render(console, report)
    return 0 if report.is_clean else 1


def _render(console: Console, report: CheckReport) -> None:
    if console.is_json:
        fields = [
            {
                "name": finding.name,
                "to": finding.to,
                "clean": finding.is_clean,
                "problem": finding.problem,
                "missing": list(finding.drift.missing),
                "changed": list(finding.drift.changed),
                "extra": list(finding.drift.extra),
            }
            for finding in report.findings
        ]
        console.document("check", {"clean": report.is_clean, "dependencies": fields})
        return
    for finding in report.findings:
        if finding.is_clean:
            continue
        console.result(f"{console.paint(finding.name, 'bold')}  {finding.to}")
        if finding.problem:
            console.result(f"  {console.paint('problem', 'yellow')}  {clean(finding.problem)}")
        for word, paths in (
            ("missing", finding.drift.missing),
            ("changed", finding.drift.changed),
            ("extra", finding.drift.extra),
        ):
            for path in paths:
                console.result(f"  {console.paint(word, 'yellow')}  {clean(path)}")
    bad = sum(not finding.is_clean for finding in report.findings)
    total = len(report.findings)
    all_of_them = counted(total, "dependency", "dependencies")
    console.note(f"{bad} of {all_of_them} not as locked" if bad else f"{all_of_them}, all as locked")
