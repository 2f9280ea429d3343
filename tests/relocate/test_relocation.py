"""Plan, apply, verify: from store to store, interrupted and gone on with, in shards, behind gates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from provender.errors import (
    Conflict,
    InvalidDocument,
    NotFound,
    ProvenderError,
    Unavailable,
    Unsupported,
    VerificationFailed,
)
from provender.locations import Locations
from provender.oci import Digest, Reference
from provender.relocate.apply import ApplyChoices, Shard, apply
from provender.relocate.evidence import Requirement
from provender.relocate.gates import verifier_for
from provender.relocate.journal import Entry, Journal
from provender.relocate.mapping import Mapping
from provender.relocate.plan import PlanChoices, RelocationPlan, make_plan
from provender.relocate.report import MEDIA_TYPE, attach, report_of
from provender.relocate.verify import refuse_faults, verify
from provender.relocate.wish import Wish
from provender.storage.abilities import UploadNote
from provender.storage.layout import LayoutStorage
from provender.storage.open import Storages
from provender.storage.roots import StoreRoot
from provender.transfer.copy import CopySource
from provender.transfer.graph import Graph
from support.graphs import Family, family, push, relations, walk

FROM, TO = "layout:from/acme/app", "layout:to/acme/app"
MAPPING = Mapping(base="layout:to/acme")


class Yard:
    """Two stores below one directory."""

    def __init__(self, root: Path, storages: Storages) -> None:
        self.root = root
        self.storages = storages
        self.source = StoreRoot(root / "from").repository("acme/app", create=True)
        self.family: Family = family(self.source)

    @property
    def destination(self) -> LayoutStorage:
        return LayoutStorage(self.root / "to" / "acme" / "app")

    def plan(self, *texts: str, **choices: object) -> RelocationPlan:
        wishes = [Wish.parse(text) for text in texts or (f"{FROM}:1.0",)]
        chosen = msgspec.convert(choices, PlanChoices)
        return make_plan(wishes, MAPPING, self.storages, self.storages, choices=chosen)

    def journal(self, plan: RelocationPlan, name: str = "journal") -> Journal:
        return Journal(self.root / name, plan.digest)

    def apply(self, plan: RelocationPlan, choices: ApplyChoices | None = None) -> None:
        with self.journal(plan) as journal:
            apply(plan, self.storages, self.storages, journal, choices=choices)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    locations = Locations.gather(environ={}, cwd=tmp_path)
    with Storages(locations, environ={}) as storages:
        yield Yard(tmp_path, storages)


def test_a_plan_writes_nothing_and_its_file_is_the_plan(yard: Yard) -> None:
    plan = yard.plan()
    assert not (yard.root / "to").exists()
    plan.write(yard.root / "plan.json")
    loaded = RelocationPlan.load(yard.root / "plan.json")
    assert loaded.dump() == plan.dump() == yard.plan().dump()
    assert not loaded.is_empty
    (leg,) = loaded.legs
    assert set(leg.documents) == set(yard.family.digests.values())


def test_what_was_applied_is_all_there_and_verifies(yard: Yard) -> None:
    yard.plan().write(yard.root / "plan.json")
    plan = RelocationPlan.load(yard.root / "plan.json")
    yard.apply(plan)
    assert relations(walk(yard.destination, "1.0")) == relations(walk(yard.source, "1.0"))
    found = verify(plan, yard.storages, is_deep=True)
    assert found.faults == ()
    assert (found.documents, found.relations) == (10, 6)
    refuse_faults(found)


def test_a_repeat_finds_equal_tags_and_does_nothing(yard: Yard) -> None:
    yard.apply(yard.plan())
    again = yard.plan()
    assert again.is_empty
    assert not again.legs
    assert [(each.tag, each.digest) for each in again.unchanged] == [("1.0", yard.family.root.digest)]


def test_what_came_later_to_an_equal_tag_is_found_by_a_recheck(yard: Yard) -> None:
    yard.apply(yard.plan())
    late = push(yard.source, "late", subject=yard.family.root.descriptor)
    assert yard.plan().is_empty
    plan = yard.plan(recheck=True)
    assert plan.legs[0].documents == (late.digest,)
    with yard.journal(plan, "second") as journal:
        apply(plan, yard.storages, yard.storages, journal)
    assert late.digest in walk(yard.destination, "1.0").by_digest


def test_a_thorough_plan_repairs_a_destination_that_lost_content(yard: Yard) -> None:
    plan = yard.plan()
    yard.apply(plan)
    lost = yard.family.named["amd64"].manifest().layers[0]
    yard.destination.delete(msgspec.structs.replace(lost, media_type="application/octet-stream"))
    with pytest.raises(NotFound) as caught:
        refuse_faults(verify(plan, yard.storages))
    assert caught.value.code == "incomplete-destination"
    assert lost.digest in caught.value.message
    repair = yard.plan(is_thorough=True)
    assert repair.legs[0].blobs == (lost.digest,)
    with yard.journal(repair, "repair") as journal:
        apply(repair, yard.storages, yard.storages, journal)
    assert verify(plan, yard.storages).faults == ()


def test_a_tag_that_went_elsewhere_is_a_fault(yard: Yard) -> None:
    plan = yard.plan()
    yard.apply(plan)
    other = push(yard.destination, "other", "1.0")
    (fault,) = verify(plan, yard.storages).faults
    assert (fault.kind, fault.digest) == ("tag", yard.family.root.digest)
    assert other.digest in fault.detail


def test_a_tag_that_was_moved_after_the_plan_is_left_alone(yard: Yard) -> None:
    plan = yard.plan()
    target = StoreRoot(yard.root / "to").repository("acme/app", create=True)
    other = push(target, "other", "1.0")
    with pytest.raises(Conflict) as caught:
        yard.apply(plan)
    assert caught.value.code == "tag-moved"
    assert target.digest_of("1.0") == other.digest
    yard.apply(plan, ApplyChoices(is_forced=True))
    assert yard.destination.digest_of("1.0") == yard.family.root.digest


def test_patterns_take_every_tag_that_matches_and_one_that_matches_none_is_an_error(yard: Yard) -> None:
    push(yard.source, "two", "1.1", "other")
    assert {root.asked for root in yard.plan(f"{FROM}:1.*").legs[0].graph.roots} == {"1.0", "1.1"}
    with pytest.raises(NotFound) as caught:
        yard.plan(f"{FROM}:9.*")
    assert caught.value.code == "nothing-matched"


def test_two_artifacts_for_one_tag_are_refused(yard: Yard) -> None:
    other = StoreRoot(yard.root / "other").repository("app", create=True)
    push(other, "another", "1.0")
    with pytest.raises(Conflict) as caught:
        yard.plan(f"{FROM}:1.0", "layout:other/app:1.0")
    assert caught.value.code == "tag-clash"


def test_the_gate_stands_before_everything(yard: Yard) -> None:
    plan = yard.plan()
    for text in ("signature:per-platform", "signature,attestation,sbom", "sbom"):
        choices = ApplyChoices(requirement=Requirement.parse(text))
        with pytest.raises(VerificationFailed) as caught:
            yard.apply(plan, choices)
        assert (caught.value.code, caught.value.exit_status) == ("evidence-missing", 83)
        assert not (yard.root / "to").exists()
    yard.apply(plan, ApplyChoices(requirement=Requirement.parse("signature")))


@pytest.mark.parametrize("text", ["", "signed", "signature;sbom", "sbom:per-machine"])
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(ProvenderError) as caught:
        Requirement.parse(text)
    assert caught.value.code == "invalid-requirement"


class _Verifier:
    """A policy that wants to see one root, and refuses every other one."""

    def __init__(self, trusted: Digest) -> None:
        self.trusted = trusted
        self.read: list[Digest] = []

    def verify(self, graph: Graph, source: CopySource, *, where: str) -> None:
        for root in graph.roots:
            self.read.append(source.resolve(root.digest).digest)
            if root.digest != self.trusted:
                raise VerificationFailed(f"{root.digest} is not trusted", where=where)


def test_a_verifier_stands_before_everything_and_reads_the_source(yard: Yard) -> None:
    plan = yard.plan()
    wrong = _Verifier(yard.family.named["sbom"].digest)
    with pytest.raises(VerificationFailed) as caught:
        yard.apply(plan, ApplyChoices(verifier=wrong))
    assert caught.value.exit_status == 82
    assert not (yard.root / "to").exists()
    right = _Verifier(yard.family.root.digest)
    yard.apply(plan, ApplyChoices(verifier=right))
    assert right.read == [yard.family.root.digest]
    assert yard.destination.digest_of("1.0") == yard.family.root.digest


def test_a_policy_without_a_verifier_is_refused_and_with_one_is_handed_over(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    with pytest.raises(NotFound) as absent:
        verifier_for(policy)
    assert absent.value.code == "no-policy"
    policy.write_text("sha256:1")
    with pytest.raises(Unsupported) as caught:
        verifier_for(policy)
    assert caught.value.code == "no-verifier"
    made: list[tuple[bytes, str]] = []

    def load(raw: bytes, where: str) -> _Verifier:
        made.append((raw, where))
        return _Verifier(Digest.of(raw))

    assert verifier_for(policy, load=load).trusted == Digest.of(b"sha256:1")  # type: ignore[attr-defined]
    assert made == [(b"sha256:1", str(policy))]


def test_shards_share_a_plan_and_together_do_all_of_it(yard: Yard) -> None:
    for number in range(12):
        root = push(yard.source, f"many {number}", f"2.{number}")
        push(yard.source, f"signature {number}", subject=root.descriptor)
    plan = yard.plan(f"{FROM}:*")
    seen: list[Digest] = []
    for number in (1, 2, 3):
        shard = Shard.parse(f"{number}/3")
        with yard.journal(plan, f"journal-{number}") as journal:
            applied = apply(plan, yard.storages, yard.storages, journal, choices=ApplyChoices(shard=shard))
        seen += [root.digest for each in applied for root in each.leg.graph.roots]
    assert sorted(seen) == sorted(root.digest for root in plan.legs[0].graph.roots)
    assert verify(plan, yard.storages).faults == ()


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "a/b", "1/99999", "-1/3", "1/3/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ProvenderError) as caught:
        Shard.parse(text)
    assert caught.value.code == "invalid-shard"


def test_the_report_is_the_same_for_the_same_relocation_and_is_attached_on_request(yard: Yard) -> None:
    plan = yard.plan()
    with yard.journal(plan) as journal:
        applied = apply(plan, yard.storages, yard.storages, journal)
    report = report_of(plan, applied)
    assert report.dump() == report_of(plan, applied).dump()
    assert report.count("copied") == len(report.nodes)
    assert {row.role for row in report.nodes} == {
        "root", "child", "attestation-in-index", "referrer", "digest-tag", "config", "layer",
    }  # fmt: skip
    assert [row.tag for row in report.tags][-1] == "1.0"
    (attached,) = attach(plan, applied, yard.storages)
    (found,) = yard.destination.referrers(yard.family.root.digest, MEDIA_TYPE)
    assert found.digest == attached.digest
    layer = attached.manifest().layers[0]
    with yard.destination.fetch(layer) as reader:
        assert reader.read(1 << 20) == report.dump()


class _Stopped(Exception):
    """What a test stops a relocation with."""


class _Stopping(Journal):
    """A journal that stops its run after so many lines, the last of which is not noted any more."""

    lines_left = 0

    def add(self, entry: Entry) -> None:
        if self.lines_left == 0:
            raise _Stopped
        self.lines_left -= 1
        super().add(entry)


def test_a_run_that_is_stopped_again_and_again_gets_there_and_sends_nothing_twice(yard: Yard) -> None:
    plan = yard.plan()
    total = len(plan.legs[0].graph.nodes)
    for runs in range(total):
        journal = _Stopping(yard.root / "journal", plan.digest)
        journal.lines_left = 1
        with pytest.raises(_Stopped), journal:
            apply(plan, yard.storages, yard.storages, journal, choices=ApplyChoices(jobs=1))
        assert journal.known == runs + 1
        assert yard.destination.digest_of("1.0") is None
        if runs == total - 2:
            break
    with yard.journal(plan) as journal:
        (applied,) = apply(plan, yard.storages, yard.storages, journal)
        # All but the one that the last stop came too early to note: it was there, and was not sent again.
        assert applied.report.sent_bytes <= max(node.descriptor.size for node in plan.legs[0].graph.nodes)
        noted = [(entry.digest, entry.is_document) for entry in journal.entries()]
    assert len(noted) == len(set(noted)) == total
    assert verify(plan, yard.storages, is_deep=True).faults == ()


def test_what_a_destination_lost_since_an_earlier_run_is_sent_again(yard: Yard) -> None:
    """A registry collects what no tag names, such as all that a killed run sent the day before."""
    plan = yard.plan()
    yard.apply(plan)
    blob = yard.family.named["amd64"].manifest().layers[0]
    yard.destination.delete(msgspec.structs.replace(blob, media_type="application/octet-stream"))
    yard.destination.delete(yard.family.named["arm64"].descriptor)
    yard.destination.delete(yard.family.root.descriptor)
    with yard.journal(plan) as journal:
        (applied,) = apply(plan, yard.storages, yard.storages, journal)
    sent = {outcome.digest for outcome in applied.report.outcomes if outcome.action == "copied"}
    assert sent == {blob.digest, yard.family.named["arm64"].digest, yard.family.root.digest}
    assert verify(plan, yard.storages, is_deep=True).faults == ()


def test_a_journal_is_of_one_plan_and_of_one_run_at_a_time(yard: Yard) -> None:
    plan = yard.plan()
    with yard.journal(plan), pytest.raises(Unavailable) as busy, yard.journal(plan):
        pass
    assert busy.value.code == "locked"
    push(yard.source, "two", "2.0")
    with pytest.raises(Conflict) as caught, yard.journal(yard.plan(f"{FROM}:2.0")):
        pass
    assert caught.value.code == "other-plan"


def test_the_journal_of_a_plan_that_was_carried_out_gives_way_to_the_next(yard: Yard) -> None:
    first = yard.plan()
    yard.apply(first)
    push(yard.source, "two", "2.0")
    second = yard.plan(f"{FROM}:2.0")
    with yard.journal(second) as journal:
        assert journal.known == 0
        journal.add(Entry(destination=TO, digest=yard.family.root.digest))
    with pytest.raises(Conflict), yard.journal(first):
        pass
    yard.apply(second)
    with yard.journal(second) as journal:
        assert journal.known > 1
    yard.apply(second)
    with yard.journal(first) as journal:
        assert journal.known == 0


def test_a_torn_line_at_the_end_of_a_journal_is_cut_away_and_one_inside_is_refused(yard: Yard) -> None:
    plan, path = yard.plan(), yard.root / "journal"
    entry = Entry(destination=TO, digest=yard.family.root.digest)
    with yard.journal(plan) as journal:
        journal.add(entry)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"to":"lay')
    with yard.journal(plan) as journal:
        assert journal.entries() == (entry,)
    assert path.read_bytes() == whole
    path.write_bytes(whole + b"nonsense\n")
    with pytest.raises(InvalidDocument) as caught, yard.journal(plan):
        pass
    assert (caught.value.code, caught.value.where) == ("invalid-journal", f"{path}:3")
    assert path.read_bytes() == whole + b"nonsense\n"


@pytest.mark.parametrize("content", [b"no newline", b"\x89PNG" + bytes(70_000), b"{}\n", b'{"plan": "me"'])
def test_a_file_that_is_no_journal_is_left_as_it_is(yard: Yard, content: bytes) -> None:
    path = yard.root / "journal"
    path.write_bytes(content)
    with pytest.raises(ProvenderError) as caught, yard.journal(yard.plan()):
        pass
    assert caught.value.code == "invalid-journal"
    assert "delete" not in (caught.value.hint or "")
    assert path.read_bytes() == content


def test_a_header_that_a_kill_tore_off_is_written_again(yard: Yard) -> None:
    plan, path = yard.plan(), yard.root / "journal"
    with yard.journal(plan):
        pass
    whole = path.read_bytes()
    path.write_bytes(whole[:30])
    with yard.journal(plan) as journal:
        assert journal.known == 0
    assert path.read_bytes() == whole


def test_a_line_of_a_journal_may_name_a_deep_directory(yard: Yard) -> None:
    plan = yard.plan()
    entry = Entry(destination="layout:" + "deep/" * 800 + "app", digest=yard.family.root.digest)
    other = Entry(destination=TO, digest=yard.family.root.digest)
    with yard.journal(plan) as journal:
        journal.add(entry)
        journal.add(other)
    with yard.journal(plan) as journal:
        assert journal.entries() == (entry, other)


def test_uploads_that_are_not_done_are_known_to_the_next_run(yard: Yard) -> None:
    plan = yard.plan()
    one, two, three = (Digest.of(name) for name in (b"1", b"2", b"3"))
    with yard.journal(plan) as journal:
        notes = journal.uploads("r.example/a")
        notes.opened(one, "http://r.example/1", 0)
        notes.opened(one, "http://r.example/1?more", 70)
        notes.opened(two, "http://r.example/2", 80)
        notes.closed(two)
        notes.opened(three, "http://r.example/" + "3" * 5000, 90)  # no line of a journal is that long
        journal.add(Entry(destination="r.example/a", digest=two))
    assert (yard.root / "journal").stat().st_mode & 0o077 == 0  # who has the URL of an upload may write to it
    with yard.journal(plan) as journal:
        notes = journal.uploads("r.example/a")
        assert notes.known(one) == UploadNote("http://r.example/1?more", 70)
        assert (notes.known(two), notes.known(three)) == (None, None)
        assert journal.uploads("r.example/b").known(one) is None
        assert journal.known == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda raw: raw[:100], "invalid-plan"),
        (lambda raw: b"[]", "invalid-plan"),
        (lambda raw: raw.replace(b'"version": 1', b'"version": 2', 1), "newer-plan"),
        (lambda raw: raw.replace(b'"destination": "layout:to', b'"destination": ":::', 1), "invalid-reference"),
    ],
)
def test_a_plan_that_is_none_is_refused(yard: Yard, change: object, code: str) -> None:
    path = yard.root / "plan.json"
    path.write_bytes(change(yard.plan().dump()))  # type: ignore[operator]
    with pytest.raises(ProvenderError) as caught:
        RelocationPlan.load(path)
    assert caught.value.code == code


def test_a_plan_whose_bytes_were_changed_is_refused(yard: Yard) -> None:
    plan, path = yard.plan(), yard.root / "plan.json"
    (leg,) = plan.legs
    documents = dict(leg.graph.documents)
    one, other = yard.family.named["amd64"], yard.family.named["arm64"]
    documents[one.digest] = other
    graph = msgspec.structs.replace(leg.graph, documents=documents)
    msgspec.structs.replace(plan, legs=(msgspec.structs.replace(leg, graph=graph),)).write(path)
    with pytest.raises(InvalidDocument) as caught:
        RelocationPlan.load(path)
    assert caught.value.code == "invalid-plan"


def test_a_plan_with_blobs_that_nothing_names_is_refused(yard: Yard) -> None:
    plan, path = yard.plan(), yard.root / "plan.json"
    (leg,) = plan.legs
    graph = msgspec.structs.replace(leg.graph, edges=())
    msgspec.structs.replace(plan, legs=(msgspec.structs.replace(leg, graph=graph),)).write(path)
    with pytest.raises(InvalidDocument) as caught:
        RelocationPlan.load(path)
    assert caught.value.code == "invalid-plan"


def test_a_source_that_lost_content_after_the_plan_stops_before_the_tags(yard: Yard) -> None:
    plan = yard.plan()
    lost = yard.family.named["arm64"].manifest().layers[0]
    yard.source.delete(msgspec.structs.replace(lost, media_type="application/octet-stream"))
    with pytest.raises(NotFound) as caught:
        yard.apply(plan)
    assert caught.value.code == "blob-missing"
    assert yard.destination.digest_of("1.0") is None


def test_repositories_of_layouts_are_named_by_their_directory() -> None:
    assert MAPPING.destination(Reference.parse(FROM)).name == TO
