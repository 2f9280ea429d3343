"""relocate: many artifacts by a plan, between registries and layouts, and what it says about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provender.storage.layout import LayoutStorage
from provender.storage.registry import RegistryRepository
from support.graphs import SBOM, SIGNATURE, family, push, relations, walk
from support.registry import TestRegistry
from support.registry_client import Connector
from support.workspace import InProcess, refused

Repositories = Callable[[str], RegistryRepository]


@pytest.fixture
def project(registry: TestRegistry, tmp_path: Path) -> InProcess:
    """A project beside a registry, with a layout `source` of a family of artifacts; commands run in this process."""
    directory = tmp_path / "project"
    directory.mkdir()
    workspace = InProcess(directory, registry, tmp_path / "cache")
    family(LayoutStorage(directory / "source", create=True))
    return workspace


@pytest.fixture(params=["api", "no-api"])
def either(request: pytest.FixtureRequest, project: InProcess) -> InProcess:
    """The project, its registry with and without the referrers API."""
    project.registry.content.referrers = request.param == "api"
    return project


@pytest.fixture
def stored(project: InProcess) -> Iterator[Repositories]:
    """A repository of the registry, by its name."""
    connect = Connector()
    yield lambda name: connect(project.registry).repository(name)
    connect.transport.close()


def test_plan_apply_verify_and_again(either: InProcess, stored: Repositories) -> None:
    source = LayoutStorage(either.directory / "source")
    planned = either.succeed("relocate", "plan", "layout:source:1.0", "--to", "acme/mirror", "-o", "plan.json")
    assert "layout:source -> acme/mirror/source\n" in planned.stdout
    assert "the plan is in plan.json" in planned.stderr
    applied = either.succeed("relocate", "apply", "plan.json", "--require", "signature", "--report", "report.json")
    digest = source.resolve("1.0").digest
    assert applied.stdout.splitlines()[-1] == f"acme/mirror/source:1.0 -> {digest}"
    assert relations(walk(stored("acme/mirror/source"), "1.0")) == relations(walk(source, "1.0"))
    verified = either.succeed("relocate", "verify", "plan.json", "--deep")
    assert verified.stderr.endswith("all is there\n")
    report = json.loads((either.directory / "report.json").read_text())
    assert {node["action"] for node in report["nodes"]} == {"copied"}
    again = either.succeed("relocate", "plan", "layout:source:*", "--to", "acme/mirror", "--exit-code")
    assert "nothing to do" in again.stderr


def test_a_plan_that_is_applied_again_restores_what_was_lost_and_puts_nothing_else(
    either: InProcess, stored: Repositories
) -> None:
    either.prepare("relocate", "plan", "layout:source:1.0", "--to", "acme/mirror", "-o", "plan.json")
    either.prepare("relocate", "apply", "plan.json")
    for options in ((), ("--force",)):
        before = len(either.registry.requests)
        again = either.succeed("relocate", "apply", "plan.json", *options)
        assert {each.method for each in either.registry.requests[before:]} <= {"GET", "HEAD"}
        assert again.stdout == ""
        assert again.stderr.splitlines()[-1].startswith("nothing to do; ")
        assert "done before: looking whether it still is" in again.stderr
    assert either.json("relocate", "apply", "plan.json").json.get("tags", []) == []
    target = stored("acme/mirror/source")
    root = target.resolve("1.0")
    target.delete(root.descriptor)  # with its tag, and with what a registry without the API lists under another one
    before = len(either.registry.requests)
    restored = either.succeed("relocate", "apply", "plan.json")
    put = [each.target for each in either.registry.requests[before:] if each.method == "PUT"]
    assert [target.rpartition("/")[2] for target in put] == [root.digest, "1.0"]
    assert restored.stderr.splitlines()[-1].endswith("; 1 tag moved")
    assert stored("acme/mirror/source").digest_of("1.0") == root.digest


def test_a_repeat_asks_two_questions_a_tag_at_most(project: InProcess, stored: Repositories) -> None:
    source = stored("acme/many")
    for number in range(20):
        root = push(source, f"root {number}", f"1.{number}")
        sbom = push(source, f"sbom {number}", subject=root.descriptor, artifact_type=SBOM)
        push(source, f"signature {number}", subject=sbom.descriptor, artifact_type=SIGNATURE)
    project.prepare("relocate", "plan", "acme/many:*", "--to", "acme/mirror", "-o", "plan.json")
    project.prepare("relocate", "apply", "plan.json")
    before = len(project.registry.requests)
    project.succeed("relocate", "plan", "acme/many:*", "--to", "acme/mirror")
    listing = 2
    assert len(project.registry.requests) - before <= 2 * 20 + listing


def test_a_new_repository_is_asked_for_nothing_but_its_tags_and_its_list_of_referrers(
    project: InProcess, stored: Repositories
) -> None:
    project.registry.content.referrers = True
    source = stored("acme/many")
    for number in range(12):
        root = push(source, f"root {number}", f"1.{number}")
        push(source, f"sbom {number}", subject=root.descriptor, artifact_type=SBOM)
    before = len(project.registry.requests)
    project.prepare("relocate", "plan", "acme/many:*", "--to", "acme/mirror", "-o", "plan.json")
    project.prepare("relocate", "apply", "plan.json", "--concurrency", "1")
    asked = [each for each in project.registry.requests[before:] if "/acme/mirror/many/" in each.target]
    assert not [each for each in asked if each.method == "HEAD"]
    lists = [each for each in asked if each.method == "GET" and "/referrers/" in each.target]
    # The registry's word for it was found true after the first.
    assert len(lists) == 1
    assert len([each for each in asked if each.method == "GET"]) <= len(lists) + 3
    assert relations(walk(stored("acme/mirror/many"), "1.0")) == relations(walk(source, "1.0"))


def test_blobs_are_mounted_within_a_registry(project: InProcess) -> None:
    project.prepare("copy", "layout:source:1.0", "acme/app")
    project.prepare("relocate", "plan", "acme/app:1.0", "--map", "acme/app=acme/again", "-o", "plan.json")
    result = project.json("relocate", "apply", "plan.json")
    assert result.status == 0, result.stderr
    blobs = [node for node in result.json["nodes"] if node["role"] in ("config", "layer")]
    assert {node["action"] for node in blobs} == {"mounted"}
    assert sum(node.get("sentBytes", 0) for node in blobs) == 0


def test_a_lock_is_relocated_by_its_digests(project: InProcess) -> None:
    project.prepare("copy", "layout:source:1.0", "acme/app")
    (project.directory / "files").mkdir()
    (project.directory / "files" / "a.txt").write_text("a")
    project.prepare("push", "acme/files:1", "files/a.txt")
    project.depend(files="acme/files:1", notes={"inline": {"a.txt": "b"}})
    project.prepare("lock")
    planned = project.json("relocate", "plan", "-f", "provender.lock", "--to", "layout:store", "-o", "plan.json")
    assert planned.status == 0, planned.stderr
    (leg,) = planned.json["legs"]
    assert (leg["source"], leg["destination"]) == ("acme/files", "layout:store/files")
    project.prepare("relocate", "apply", "plan.json")
    assert LayoutStorage(project.directory / "store" / "files").digest_of("1") == project.lock["files"]["digest"]


def test_a_list_says_which_tags_go_where_and_moves_none_unless_told(project: InProcess, stored: Repositories) -> None:
    source = stored("acme/app")
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        push(source, version, version)
    push(source, "sbom", subject=source.resolve("1.1.0").descriptor, artifact_type=SBOM)
    push(stored("acme/there"), "another", "1.1.0")
    text = """\
artifacts:
- source: acme/app
  destination: acme/there
  selector: {semver: 1.x, limit: 1}
  includeReferrers: false
"""
    (project.directory / "list.yaml").write_text(text)
    taken = project.json("relocate", "plan", "-f", "list.yaml")
    assert taken.error["code"] == "tag-taken"
    (project.directory / "list.yaml").write_text(f"{text}  overwrite: true\n")
    project.prepare("relocate", "plan", "-f", "list.yaml", "-o", "plan.json")
    project.prepare("relocate", "apply", "plan.json")
    there = walk(stored("acme/there"), "1.1.0")
    assert set(there.by_digest) == {source.resolve("1.1.0").digest}
    assert list(stored("acme/there").tags()) == ["1.1.0"]


def test_charts_of_a_registry_are_relocated_by_the_lock(project: InProcess, stored: Repositories) -> None:
    pushed = push(stored("acme/charts/podinfo"), "chart", "6.1.0_x")
    project.depend(notes={"inline": {"a.txt": "b"}})
    project.prepare("lock")
    lock = json.loads((project.directory / "provender.lock").read_text())
    entry = {
        "source": "helmChart",
        "chart": "podinfo",
        "version": "6.1.0+x",
        "digest": pushed.digest,
        "size": 7,
        "tree": pushed.digest,
        "to": "podinfo",
    }
    lock["dependencies"] = {
        "of-a-registry": {**entry, "repository": "acme/charts"},
        "of-a-server": {
            **entry,
            "to": "other",
            "repository": "https://example.com",
            "url": "https://example.com/p.tgz",
        },
    }
    (project.directory / "provender.lock").write_text(json.dumps(lock))
    planned = project.json("relocate", "plan", "-f", "provender.lock", "--to", "layout:store", "-o", "plan.json")
    assert planned.status == 0, planned.stderr
    (leg,) = planned.json["legs"]
    assert leg["source"] == "acme/charts/podinfo"
    project.prepare("relocate", "apply", "plan.json")
    assert LayoutStorage(project.directory / "store" / "charts" / "podinfo").digest_of("6.1.0_x") == pushed.digest


def test_missing_evidence_ends_with_83_and_leaves_the_destination_alone(project: InProcess) -> None:
    project.prepare("relocate", "plan", "layout:source:1.0", "--to", "layout:to", "-o", "plan.json")
    error = refused(
        project.json("relocate", "apply", "plan.json", "--require", "sbom:per-platform"), 83, "evidence-missing"
    )
    assert error["where"] == "layout:source"
    assert not (project.directory / "to").exists()


@pytest.mark.parametrize("place", ["acme/mirror", "layout:all.tar"])
def test_a_policy_is_refused_while_there_is_no_verifier_and_nothing_moves(project: InProcess, place: str) -> None:
    project.prepare("relocate", "plan", "layout:source:1.0", "--to", place, "-o", "plan.json")
    (project.directory / "policy.yaml").write_text("{}")
    before = len(project.registry.requests)
    result = project.json("relocate", "apply", "plan.json", "--require-verified", "policy.yaml")
    assert (result.status, result.error["code"]) == (69, "no-verifier")
    assert "no verifier is installed" in result.error["message"]
    assert len(project.registry.requests) == before
    assert not (project.directory / "all.tar").exists()


def test_what_the_destination_lost_ends_verify_with_66(project: InProcess) -> None:
    project.prepare("relocate", "plan", "layout:source:1.0", "--to", "layout:to", "-o", "plan.json")
    project.prepare("relocate", "apply", "plan.json")
    layout = LayoutStorage(project.directory / "to" / "source")
    layout.untag("1.0")
    result = project.run("relocate", "verify", "plan.json")
    assert result.status == 66
    assert result.stdout.startswith("tag: layout:to/source: the tag 1.0 names nothing")
    assert "error" in result.stderr
    for tag in list(layout.tags()):
        layout.untag(tag)
    result = project.run("relocate", "verify", "plan.json")
    assert len(result.stdout.splitlines()) >= 4
    assert "names nothing" in result.stderr
    assert result.stderr.count("names nothing") <= 2, "what is listed above is not said again"
    assert " more\n" in result.stderr


def test_a_report_that_cannot_be_written_ends_apply_before_anything_moves(project: InProcess) -> None:
    project.prepare("relocate", "plan", "layout:source:1.0", "--to", "layout:to", "-o", "plan.json")
    error = project.json("relocate", "apply", "plan.json", "--report", "no/report.json").error
    assert (error["exit"], error["where"]) == (74, "no/report.json")
    assert not (project.directory / "to").exists()


def test_a_plan_says_where_its_registries_are(project: InProcess, stored: Repositories) -> None:
    """They were bound by options for the plan alone; elsewhere the same name may be another place."""
    here = f"{project.registry.host}/there"
    project.prepare(
        "relocate", "plan", "layout:source:1.0", "--to", "far/mirror", "--registry", f"far={here}", "-o", "plan.json"
    )
    refused(project.json("relocate", "apply", "plan.json", "--registry", "far=layout:elsewhere"), 1, "place-changed")
    assert not (project.directory / "elsewhere").exists()
    project.prepare("relocate", "apply", "plan.json")
    assert stored("there/mirror/source").digest_of("1.0") is not None
    assert project.succeed("relocate", "verify", "plan.json").stderr.endswith("all is there\n")
    refused(project.json("relocate", "verify", "plan.json", "--registry", "far=layout:elsewhere"), 1, "place-changed")


def test_a_report_is_written_of_a_plan_that_does_nothing(project: InProcess) -> None:
    plan = ("relocate", "plan", "layout:source:1.0", "--to", "layout:to", "-o", "plan.json")
    for name in ("first.json", "second.json"):
        project.prepare(*plan)
        project.prepare("relocate", "apply", "plan.json", "--report", name, "--journal", f"{name}.journal")
    report = json.loads((project.directory / "second.json").read_text())
    assert (report["nodes"], [each["tag"] for each in report["unchanged"]]) == ([], ["1.0"])


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("plan",), 2, "nothing to relocate"),
        (("plan", "layout:source:1.0"), 2, "not said where to"),
        (("plan", "layout:source", "--to", "acme/x"), 2, "layout:source:*"),
        (("plan", "layout:source:nope", "--to", "layout:to"), 66, "nope"),
        (("plan", "layout:source:9*", "--to", "layout:to"), 66, "none of the"),
        (("plan", "-f", "none.txt", "--to", "layout:to"), 66, "none.txt"),
        (("plan", "layout:source:1.0", "--to", "layout:all.tgz"), 2, "FILE.tar.zst"),
        (("plan", "layout:source:1.0", "--to", "layout:to", "--map", "x=layout:all.tar.gz/x"), 2, "FILE.tar.zst"),
        (("plan", "layout:source:1.0", "--to", "layout:to", "-o", "no/plan.json"), 74, "at no/plan.json"),
        (("apply", "none.json"), 66, "there is no plan"),
        (("apply", "source/index.json"), 65, "not a relocation plan"),
        (("apply", "source/index.json", "--shard", "3/2"), 2, "not a shard"),
        (("apply", "source/index.json", "--require", "love"), 2, "not a kind of evidence"),
    ],
)
def test_wrong_input_says_what_is_wrong(
    project: InProcess, arguments: tuple[str, ...], status: int, words: str
) -> None:
    result = project.run("relocate", *arguments)
    assert (result.status, words in result.stderr) == (status, True), result.stderr
    assert len(result.stderr.strip().splitlines()) <= 4
