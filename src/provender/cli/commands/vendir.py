"""`provender vendir`: vendir's own command line over provender's engine; `import` leads from the one to the other."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provender.cli.console import Console
from provender.cli.options import console_of
from provender.cli.vendir_flags import VendirCommand, VendirGroup, given_arguments, output_of, split_values, ui_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from provender.cli.vendir_output import VendirOutput
    from provender.dialects.vendir.config import Configuration
    from provender.dialects.vendir.lock import LockConfig
    from provender.dialects.vendir.lock_file import OnRollBack
    from provender.dialects.vendir.sync import Synced, SyncOptions


@click.group(
    "vendir",
    cls=VendirGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@ui_options
@click.pass_context
def command(ctx: click.Context) -> None:
    """Sync an existing vendir.yml: vendir's flags and files, with ociArtifact, in parallel, all or nothing.

    \b
    Example:
      provender vendir sync --locked
    """
    if ctx.invoked_subcommand is None:
        names = sorted(name for name, each in command.commands.items() if each.name == name)
        raise click.UsageError(f"Use one of available subcommands: {', '.join(names)}")


@command.command("sync", cls=VendirCommand)
@click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="Configuration, repeatable; - is stdin.")
@click.option("--lock-file", default="vendir.lock.yml", show_default=True, metavar="FILE", help="The lock.")
@click.option(
    "-d", "--directory", "directories", multiple=True, metavar="DIR/SUB[=LOCAL]", help="Sync only this; from LOCAL."
)
@click.option("-l", "--locked", type=bool, default=False, help="Take exactly what the lock says.")
@click.option("--lazy", type=bool, default=True, help="--lazy=false: fetch lazy contents as well.")
@click.option("--chdir", default="", metavar="DIR", help="Change to this directory first.")
@click.option(
    "--dangerous-allow-all-symlink-destinations",
    "allows_all_symlinks",
    type=bool,
    default=False,
    help="Let links lead out of their managed directory.",
)
@ui_options
@click.pass_context
def sync(
    ctx: click.Context,
    files: tuple[str, ...],
    lock_file: str,
    directories: tuple[str, ...],
    locked: bool,
    lazy: bool,
    chdir: str,
    allows_all_symlinks: bool,
) -> None:
    """Make the managed directories equal to vendir.yml, and write vendir.lock.yml. All of it happens, or nothing.

    \b
    Example:
      provender vendir sync
      provender vendir sync -f vendir.yml -f secrets.yml --locked
    """
    from provender.dialects.vendir.config import Configuration, refuse_unsupported
    from provender.dialects.vendir.lock_file import read_lock
    from provender.dialects.vendir.overrides import Override, overridden
    from provender.dialects.vendir.pinned import pinned
    from provender.dialects.vendir.sync import SyncOptions
    from provender.project.state import Inputs

    console, output = console_of(ctx), output_of(ctx)
    if chdir:
        _change_directory(chdir)
    names = split_values(files) or ["vendir.yml"]
    inputs = Inputs.record(Path.cwd(), [*names, lock_file])
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        console.warning(text)

    asked = Configuration.load(names, stdin=sys.stdin.buffer.read, warn=warn)
    home = os.path.expanduser("~")
    overrides = [Override.parse(text, home=home) for text in split_values(directories)]
    asked = overridden(asked, overrides)
    if overrides:
        _print_config(output, "Config with overrides", asked)
    refuse_unsupported(asked)
    lock = read_lock(lock_file, is_required=locked)
    meant = asked
    if locked and lock is not None:
        meant = asked.replaced(pinned(asked.config, lock, where=lock_file))
        _print_config(output, "Config with locks", meant)
    _flush(output)
    options = SyncOptions(is_lazy=lazy, is_partial=bool(overrides), allows_all_symlinks=allows_all_symlinks)
    is_kept = any(override.local is not None for override in overrides)
    concluding = _concluding(output, lock_file, is_kept=is_kept, is_partial=bool(overrides))
    found = _carry_out(console, output, asked, meant, lock, options, concluding)
    output.line("Succeeded")
    sys.stdout.write(output.finish())
    if found.standing is not None and not (chdir or overrides or warnings):
        from provender.cli.vendir_quick import INDEX_FILE, note_start

        note = note_start(given_arguments(ctx)) + output.said.encode("utf-8", "surrogateescape")
        found.standing.write(INDEX_FILE, inputs, [*names, lock_file], note)


@command.command("version", cls=VendirCommand)
@ui_options
@click.pass_context
def version(ctx: click.Context) -> None:
    """Print the version of vendir that this stands for, and provender's own.

    \b
    Example:
      provender vendir version
    """
    from provender import __version__
    from provender.dialects.vendir.config import EMULATED_VERSION

    output = output_of(ctx)
    output.block(f"vendir version {EMULATED_VERSION} (provender {__version__})\n")
    output.line("Succeeded")
    sys.stdout.write(output.finish())


@command.command("help", cls=VendirCommand)
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@ui_options
@click.pass_context
def help_(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show what a command does and its options; without one, of `vendir` itself.

    \b
    Example:
      provender vendir help sync
    """
    found: click.Command = command
    parent = ctx.parent or ctx
    for name in names:
        inner = found.get_command(parent, name) if isinstance(found, click.Group) else None
        if inner is None:
            break  # as in vendir: the help of what there is
        found, parent = inner, click.Context(inner, info_name=name, parent=parent)
    sys.stdout.write(f"{found.get_help(parent)}\n")


@command.command("completion", cls=VendirCommand)
@click.argument("shell", required=False, type=click.Choice(["bash", "fish", "powershell", "zsh"]))
@ui_options
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print a completion script for provender-vendir and SHELL.

    \b
    Example:
      eval "$(provender vendir completion bash)"
    """
    from provender.cli.commands.completion import completion_script

    sys.stdout.write(f"{completion_script(command, 'provender-vendir', shell) if shell else ctx.get_help()}\n")


@command.group("tools", cls=VendirGroup, invoke_without_command=True)
@ui_options
@click.pass_context
def tools(ctx: click.Context) -> None:
    """Tools.

    \b
    Example:
      provender vendir tools sort-semver -v "1.0.0 v2.0.0" -c ">1.0.0"
    """
    if ctx.invoked_subcommand is None:
        raise click.UsageError("Use one of available subcommands: sort-semver")


command.add_command(tools, "t")


@tools.command("sort-semver", cls=VendirCommand)
@click.option("-c", "--constraint", "constraints", multiple=True, metavar="RANGE", help="For example '>=1.0.0 <2.0.0'.")
@click.option("-v", "--version", "versions", multiple=True, metavar="LIST", help="Versions, separated by spaces.")
@click.option("--prerelease", type=bool, default=False, help="Let prereleases take part.")
@click.option("--prerelease-identifier", "identifiers", multiple=True, metavar="NAME", help="Only such prereleases.")
@ui_options
@click.pass_context
def sort_semver(
    ctx: click.Context,
    constraints: tuple[str, ...],
    versions: tuple[str, ...],
    prerelease: bool,
    identifiers: tuple[str, ...],
) -> None:
    """Sort versions, lowest first, and name the highest one.

    \b
    Example:
      provender vendir tools sort-semver -v "v0.9.0 v1.2.0 v1.10.0"
    """
    from provender.dialects.vendir.selection import Prereleases
    from provender.dialects.vendir.semver import sorted_matching
    from provender.errors import InvalidProject

    output = output_of(ctx)
    texts = [text for value in split_values(versions) for text in value.split()]
    names = split_values(identifiers)
    wanted = Prereleases(tuple(names)) if prerelease or names else None
    try:
        found = sorted_matching(texts, ", ".join(split_values(constraints)), wanted)
    except InvalidProject as error:
        error.exit_status = 2  # the range is an argument, and of no project
        raise
    output.table("Versions", "Version", found)
    if found:
        output.line(f"Highest version: {found[-1]}")
    output.line("Succeeded")
    sys.stdout.write(output.finish())


def _carry_out(
    console: Console,
    output: VendirOutput,
    asked: Configuration,
    meant: Configuration,
    lock: LockConfig | None,
    options: SyncOptions,
    concluding: Callable[[LockConfig, OnRollBack], None],
) -> Synced:
    from provender.cli.vendir_fetchers import fetchers
    from provender.dialects.vendir.sync import Synchroniser

    progress = console.progress()

    def say(text: str) -> None:
        output.line(text)
        _flush(output)

    try:
        with fetchers(console, asked.references, meant.config, jobs=options.jobs) as found:
            synchroniser = Synchroniser(
                Path.cwd(),
                found,
                progress=progress,
                say=say,
                on_wait=lambda: console.note("waiting for another provender that works in this directory"),
            )
            return synchroniser.run(asked, meant, lock, options, conclude=concluding)
    finally:
        console.stop_progress()


def _concluding(
    output: VendirOutput, lock_file: str, *, is_kept: bool, is_partial: bool
) -> Callable[[LockConfig, OnRollBack], None]:
    """What is done once everything is in place: print the lock, and write it unless local directories stand in it."""
    from provender.dialects.vendir.lock_file import read_lock, write_lock

    def conclude(new: LockConfig, on_roll_back: OnRollBack) -> None:
        if is_partial and os.path.exists(lock_file):
            old = read_lock(lock_file, is_required=True)
            new = old.merged(new) if old is not None else new
        output.line("Lock config")
        content = new.dump()
        output.block(content.decode())
        if is_kept:
            output.line(f"Lock config is not saved to '{lock_file}' due to command line overrides")
            return
        write_lock(lock_file, content, on_roll_back)

    return conclude


def _change_directory(path: str) -> None:
    from provender.errors import NotFound

    try:
        os.chdir(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"Running chdir: chdir {path}: {(error.strerror or '').lower()}",
            code="no-such-directory",
            where="--chdir",
            hint="name a directory that is there",
        ) from error


def _print_config(output: VendirOutput, title: str, configuration: Configuration) -> None:
    output.line(title)
    output.block(configuration.dump())


def _flush(output: VendirOutput) -> None:
    sys.stdout.write(output.take())


@command.command("import", cls=VendirCommand)
@click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="Configuration, repeatable; - is stdin.")
@click.option("-o", "--output", "target", default="provender.yaml", metavar="FILE", help="Or - for stdout.")
@ui_options
@click.pass_context
def import_(ctx: click.Context, files: tuple[str, ...], target: str) -> None:
    """Write a provender.yaml that asks for the same as vendir.yml. What has no counterpart is told.

    \b
    Example:
      provender vendir import && provender sync
    """
    import yaml

    from provender.dialects.vendir.config import Configuration
    from provender.dialects.vendir.translation import translated
    from provender.errors import Conflict
    from provender.project.manifest import Manifest

    console = console_of(ctx)
    names = split_values(files) or ["vendir.yml"]
    configuration = Configuration.load(names, stdin=sys.stdin.buffer.read, warn=console.warning)
    found = translated(configuration)
    body = {"version": 1, "dependencies": found.dependencies}
    text = yaml.dump(body, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=100)
    Manifest.parse(text, where=target)
    for note in found.notes:
        console.warning(note)
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        with open(target, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise Conflict(
            "there is a file already",
            code="manifest-exists",
            where=target,
            hint="name another one with -o, or - for stdout",
        ) from error
    console.note(f"wrote {target} with {len(found.dependencies)} dependencies; next: provender sync")
