"""`provender relocate`: many artifacts with everything that belongs to them, by a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from provender.cli.console import Console
from provender.cli.options import checked_range, console_of, jobs_option, output_options, registry_options
from provender.cli.relocate_view import show_plan, show_report, show_verified
from provender.cli.sides import side_options, sides_of, two_sides

if TYPE_CHECKING:
    from provender.relocate.apply import ApplyChoices, Shard
    from provender.relocate.mapping import Mapping
    from provender.relocate.plan import PlanChoices, RelocationPlan
    from provender.relocate.report import RelocationReport
    from provender.relocate.wish import Wish
    from provender.storage.open import Storages

_F = TypeVar("_F", bound=Callable[..., object])
_FILE = click.Path(dir_okay=False, path_type=Path)


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a plan, as they were written."""

    sources: tuple[str, ...]
    files: tuple[Path, ...]
    versions: str | None
    base: str | None
    rules: tuple[str, ...]
    related: str
    include_foreign: bool
    no_digest_tags: bool
    recheck: bool
    thorough: bool

    def wishes(self) -> list[Wish]:
        """What is to be moved, of the command line and of the files."""
        from provender.cli.relocate_input import wishes_in
        from provender.relocate.wish import Wish

        wishes = [Wish.parse(text, versions=self.versions) for text in self.sources]
        for path in self.files:
            wishes += wishes_in(path)
        if not wishes:
            raise click.UsageError("nothing to relocate: name artifacts, or a file that lists them with --file")
        return wishes

    def mapping(self, wishes: Sequence[Wish]) -> Mapping:
        """Where it goes; without any, where the wishes say themselves."""
        from provender.cli.archiving import check_name
        from provender.relocate.mapping import Mapping, Rule, archive_in

        if self.base is None and not self.rules and any(wish.destination is None for wish in wishes):
            raise click.UsageError("not said where to: give --to PLACE, or --map PREFIX=PLACE")
        made = Mapping(base=self.base, rules=tuple(Rule.parse(text) for text in self.rules))
        for place in (*([made.base] if made.base else []), *(rule.place for rule in made.rules)):
            if (file := archive_in(place)) is not None:
                check_name(Path(file))
        return made

    def choices(self, jobs: int) -> PlanChoices:
        """How to plan."""
        from provender.relocate.plan import PlanChoices
        from provender.transfer.discover import DiscoverOptions
        from provender.transfer.related import Related

        looking = DiscoverOptions(
            related=Related.parse(self.related),
            foreign=self.include_foreign,
            digest_tags=not self.no_digest_tags,
            jobs=jobs,
        )
        return PlanChoices(discover=looking, recheck=self.recheck, is_thorough=self.thorough, jobs=jobs)


class _Doing(msgspec.Struct, frozen=True, kw_only=True):
    """The options of an apply, as they were written."""

    required: str | None
    policy: Path | None
    referrers_tags: bool
    force: bool
    no_require_listing: bool
    since: str | None
    split: str | None
    report_file: Path | None
    attach_report: bool

    def choices(self, shard: Shard, jobs: int) -> ApplyChoices:
        """How to apply."""
        from provender.relocate.apply import ApplyChoices
        from provender.relocate.evidence import Requirement
        from provender.relocate.gates import verifier_for

        return ApplyChoices(
            shard=shard,
            requirement=None if self.required is None else Requirement.parse(self.required),
            verifier=None if self.policy is None else verifier_for(self.policy),
            is_forced=self.force,
            is_listing_required=not self.no_require_listing,
            tags_referrers=self.referrers_tags,
            jobs=jobs,
        )

    def keep(self, report: RelocationReport) -> None:
        """Write the report where it is wanted."""
        from provender.storage.files import write_atomically

        if self.report_file is not None:
            write_atomically(self.report_file, report.dump())


@click.group("relocate")
def command() -> None:
    """Move many artifacts with their signatures, SBOMs and attestations: plan, apply, verify.

    \b
    Example:
      provender relocate plan "ghcr.io/acme/app:1.*" --to registry.example/mirror -o plan.json
      provender relocate apply plan.json
      provender relocate verify plan.json
    """


def _plan_options(function: _F) -> _F:
    for option in reversed(
        (
            click.argument("sources", nargs=-1, metavar="[REPOSITORY:TAG|:PATTERN|@DIGEST]..."),
            click.option(
                "-f",
                "--file",
                "files",
                type=_FILE,
                multiple=True,
                help="A provender.lock, vendir.yml or its lock, ImagesLock, BundleLock, or a list (repeatable).",
            ),
            click.option(
                "--version",
                "versions",
                metavar="RANGE",
                callback=checked_range,
                help="Only tags in this range of versions.",
            ),
            click.option("--to", "base", metavar="PLACE", help="Where repositories go; they keep their path."),
            click.option(
                "--map", "rules", multiple=True, metavar="PREFIX=PLACE", help="Where these go instead (repeatable)."
            ),
            click.option(
                "--related",
                default="all",
                show_default=True,
                metavar="all|none|KIND,...",
                help="What comes along: signature, attestation, sbom, or artifact types.",
            ),
            click.option("--include-foreign", is_flag=True, help="Also layers that are not to be distributed."),
            click.option("--no-digest-tags", is_flag=True, help="Do not look for tags such as sha256-….sig."),
            click.option("--recheck", is_flag=True, help="Look for new related content of tags that are equal, too."),
            click.option("--thorough", is_flag=True, help="Look below what is there, and repair what is incomplete."),
        )
    ):
        function = option(function)
    return function


def _apply_options(function: _F) -> _F:
    for option in reversed(
        (
            click.option(
                "--require",
                "required",
                metavar="KIND,...[:per-platform]",
                help="Move nothing unless each artifact has signature, attestation, sbom.",
            ),
            click.option(
                "--require-verified",
                "policy",
                type=_FILE,
                metavar="POLICY",
                help="Move nothing unless it verifies by this policy (needs a verifier; none is part of this version).",
            ),
            click.option("--force", is_flag=True, help="Move tags that were moved since the plan was made."),
            click.option(
                "--no-require-listing", is_flag=True, help="Move tags even if the destination does not list referrers."
            ),
            click.option("--since", metavar="REFERENCE|FILE", help="Into an archive: leave out blobs that are there."),
            click.option("--split", metavar="SIZE", help="Into an archive: in parts of this size, such as 4GiB."),
            click.option(
                "--referrers-tags", is_flag=True, help="In layouts list referrers under tags, too, as regctl does."
            ),
            click.option("--report", "report_file", type=_FILE, help="Write the report to this file."),
            click.option("--attach-report", is_flag=True, help="Attach the report to what was moved."),
        )
    ):
        function = option(function)
    return function


@command.command("plan")
@_plan_options
@click.option("-o", "--output", type=_FILE, help="Write the plan to this file.")
@click.option("--exit-code", is_flag=True, help="End with 1 if there is anything to do.")
@side_options
@jobs_option
@registry_options
@output_options
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    output: Path | None,
    exit_code: bool,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
    **options: object,
) -> None:
    """Find out everything that a relocation would write, and show it; nothing is written but the plan.

    Tags that name the same digest on both sides are left out, at two requests each; --recheck looks for related
    content that came later. Give "REPOSITORY:*" for all tags of a repository.

    --to layout:FILE.tar (or .tar.zst) is one archive of all repositories under their full names; layout:FILE.tar as
    what is to be moved is all of them, each to its own place.

    \b
    Example:
      provender relocate plan "ghcr.io/acme/app:1.*" --to registry.example/mirror -o plan.json
      provender relocate plan -f provender.lock --map ghcr.io/acme=registry.example/acme -o plan.json
      provender relocate plan -f images.txt --to layout:./all.tar.zst -o plan.json
      provender relocate plan layout:./all.tar.zst --to registry.example/mirror -o plan.json
    """
    from provender.relocate.plan import make_plan
    from provender.storage.files import check_output

    console = console_of(ctx)
    asked = msgspec.convert({name: options[name] for name in _Asked.__struct_fields__}, _Asked)
    wishes, choices = asked.wishes(), asked.choices(jobs)
    mapping = asked.mapping(wishes)
    if output is not None:
        check_output(output)
    from_side, to_side = sides_of(options)
    places = ((from_side, wishes[0].source), (to_side, wishes[0].destination or mapping.example()))
    with two_sides(console, places, registries=registries, plain_http=plain_http, jobs=jobs) as sides:
        made = make_plan(wishes, mapping, *sides, choices=choices)
    if output is not None:
        made.write(output)
    show_plan(console, made, output)
    if exit_code and not made.is_empty:
        ctx.exit(1)


@command.command("apply")
@click.argument("plan_file", metavar="PLAN", type=_FILE)
@click.option("--journal", "journal_file", type=_FILE, help="Where to note what is done.  [default: PLAN.journal]")
@click.option("--shard", metavar="NUMBER/COUNT", help="Only this part of the plan.")
@_apply_options
@side_options
@jobs_option
@registry_options
@output_options
@click.pass_context
def apply_(
    ctx: click.Context,
    /,
    plan_file: Path,
    journal_file: Path | None,
    shard: str | None,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
    **options: object,
) -> None:
    """Do exactly what PLAN says. Tags move last, after everything that they need is there and is listed.

    What is done is noted in the journal: after a kill the same command goes on. With --shard several machines share
    one plan; give each a journal of its own.

    \b
    Example:
      provender relocate apply plan.json --require signature,sbom --report report.json
      provender relocate apply plan.json --shard 2/8
    """
    from provender.oci import Reference
    from provender.relocate.apply import Shard
    from provender.relocate.plan import RelocationPlan
    from provender.relocate.report import report_of
    from provender.storage.files import check_output

    console = console_of(ctx)
    console.subject = str(plan_file)
    part = Shard() if shard is None else Shard.parse(shard)
    doing = msgspec.convert({name: options[name] for name in _Doing.__struct_fields__}, _Doing)
    choices = doing.choices(part, jobs)
    loaded = RelocationPlan.load(plan_file)
    if doing.report_file is not None:
        check_output(doing.report_file)
    if not loaded.legs:
        report = report_of(loaded, ())
        doing.keep(report)
        show_report(console, report)
        return
    name = plan_file.name if part.count == 1 else f"{plan_file.name}.{part.number}-{part.count}"
    journal = journal_file or plan_file.with_name(f"{name}.journal")
    from_side, to_side = sides_of(options)
    registries += _unbound(console, loaded, registries)
    first = loaded.legs[0]
    places = ((from_side, Reference.parse(first.source)), (to_side, Reference.parse(first.destination)))
    with two_sides(console, places, registries=registries, plain_http=plain_http, jobs=jobs) as sides:
        report = _carry_out(console, loaded, sides, journal, choices=choices, doing=doing)
    console.stop_progress()
    show_report(console, report)


@command.command("verify")
@click.argument("plan_file", metavar="PLAN", type=_FILE)
@click.option("--deep", is_flag=True, help="Read and hash every blob.")
@jobs_option
@registry_options
@output_options
@click.pass_context
def verify_(
    ctx: click.Context,
    plan_file: Path,
    deep: bool,
    jobs: int,
    registries: tuple[str, ...],
    plain_http: bool | None,
) -> None:
    """Compare the destination with PLAN: tags, manifests, blobs, and what the destination itself lists as related.

    Exit status 66 if anything is missing, 65 if bytes are wrong, 84 if all is there but not listed.

    \b
    Example:
      provender relocate verify plan.json --deep
    """
    from provender.cli.services import Services
    from provender.relocate.plan import RelocationPlan
    from provender.relocate.verify import refuse_faults, verify

    console = console_of(ctx)
    console.subject = str(plan_file)
    loaded = RelocationPlan.load(plan_file)
    registries += _unbound(console, loaded, registries)
    services = Services(console, registries=registries, plain_http=plain_http, jobs=jobs)
    with services.storages(services.nearby_locations()) as storages:
        found = verify(loaded, storages, is_deep=deep, jobs=jobs, progress=console.progress())
    console.stop_progress()
    show_verified(console, found)
    refuse_faults(found)


def _unbound(console: Console, loaded: RelocationPlan, registries: tuple[str, ...]) -> tuple[str, ...]:
    """The logical registries that the plan has to say the place of, as `--registry` would."""
    from provender.cli.services import Services
    from provender.relocate.bindings import flags_for

    return flags_for(loaded, Services(console, registries=registries).nearby_locations())


def _carry_out(
    console: Console,
    loaded: RelocationPlan,
    sides: tuple[Storages, Storages],
    journal_file: Path,
    *,
    choices: ApplyChoices,
    doing: _Doing,
) -> RelocationReport:
    from provender.cli.archiving import part_size
    from provender.cli.relocate_archive import write_relocated
    from provender.relocate.apply import apply
    from provender.relocate.journal import Journal
    from provender.relocate.report import attach, report_of
    from provender.relocate.to_archive import archive_of

    path = archive_of(loaded)
    if path is not None:
        if doing.attach_report:
            raise click.UsageError("a report is attached where it can be added: write it with --report")
        split = None if doing.split is None else part_size(doing.split)
        applied = write_relocated(console, loaded, path, sides, choices=choices, since=doing.since, split=split)
    elif doing.since is not None or doing.split is not None:
        raise click.UsageError("--since and --split are for plans that go to an archive")
    else:
        with Journal(journal_file, loaded.digest) as journal:
            if journal.was_ended:
                console.note(f"{journal_file.name} says that it was done before: looking whether it still is")
            elif journal.known:
                console.note(f"going on where {journal_file.name} ends: {journal.known} done before")
            applied = apply(loaded, *sides, journal, choices=choices, progress=console.progress())
    report = report_of(loaded, applied)
    doing.keep(report)
    if doing.attach_report:
        attach(loaded, applied, sides[1])
    return report
