"""relocate into one archive of several repositories, and from such an archive to where each of them goes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provender.storage.archive import ArchiveStorage
from provender.storage.layout import LayoutStorage
from provender.storage.registry import RegistryRepository
from support.foreign_archives import entry, layout_files, tar
from support.graphs import SIGNATURE, family, push, relations, walk
from support.registry import TestRegistry, digest_of
from support.registry_client import Connector
from support.workspace import InProcess, refused

Repositories = Callable[[str], RegistryRepository]
SHARED = os.urandom(80_000)


@pytest.fixture
def project(registry: TestRegistry, tmp_path: Path) -> InProcess:
    """An empty directory beside the registry; commands run in this process."""
    directory = tmp_path / "project"
    directory.mkdir()
    return InProcess(directory, registry, tmp_path / "cache")


@pytest.fixture
def stored(project: InProcess) -> Iterator[Repositories]:
    """A repository of the registry, by its name."""
    connect = Connector()
    yield lambda name: connect(project.registry).repository(name)
    connect.transport.close()


@pytest.fixture
def filled(project: InProcess, stored: Repositories) -> InProcess:
    """The registry has a family in acme/app, and an image with the tag of the family in acme/tools/other."""
    family(stored("acme/app"))
    other = push(stored("acme/tools/other"), "other", "1.0", layers=[SHARED])
    push(stored("acme/tools/other"), "signature of other", subject=other.descriptor, artifact_type=SIGNATURE)
    return project


def pack(project: InProcess, *options: str, file: str = "all.tar") -> None:
    project.prepare("relocate", "plan", "acme/app:*", "acme/tools/other:*", "--to", f"layout:{file}", "-o", "plan.json")
    project.prepare("relocate", "apply", "plan.json", *options)


@pytest.mark.parametrize("file", ["all.tar", "all.tar.zst"])
def test_several_repositories_go_into_one_archive_and_out_again(
    filled: InProcess, stored: Repositories, file: str
) -> None:
    pack(filled, "--report", "report.json", file=file)
    archive = ArchiveStorage(filled.directory / file)
    assert list(archive.repositories()) == ["acme/app", "acme/tools/other"]
    for name in archive.repositories():
        assert relations(walk(archive.repository(name), "1.0")) == relations(walk(stored(name), "1.0"))
    report = json.loads((filled.directory / "report.json").read_text())
    assert {node["destination"] for node in report["nodes"]} == {
        f"layout:{file}/acme/app",
        f"layout:{file}/acme/tools/other",
    }
    filled.succeed("relocate", "verify", "plan.json", "--deep")
    filled.prepare(
        "relocate", "plan", f"layout:{file}", "--map", "acme/tools=acme/t", "--to", "acme/mirror", "-o", "back.json"
    )
    filled.prepare("relocate", "apply", "back.json")
    for name, place in (("acme/app", "acme/mirror/acme/app"), ("acme/tools/other", "acme/t/other")):
        assert relations(walk(stored(place), "1.0")) == relations(walk(stored(name), "1.0"))
    again = filled.succeed("relocate", "plan", f"layout:{file}:*", "--to", "acme/mirror", "--map", "acme/tools=acme/t")
    assert "nothing to do" in again.stderr


def test_the_same_plan_gives_the_same_archive_and_replaces_none(filled: InProcess) -> None:
    pack(filled)
    first = (filled.directory / "all.tar").read_bytes()
    refused(filled.json("relocate", "apply", "plan.json"), 1, "archive-exists")
    filled.prepare("relocate", "apply", "plan.json", "--force")
    assert (filled.directory / "all.tar").read_bytes() == first


def test_a_repository_in_an_archive_has_a_reference(filled: InProcess, stored: Repositories) -> None:
    pack(filled)
    digest = stored("acme/tools/other").resolve("1.0").digest
    assert filled.json("show", "layout:all.tar/acme/tools/other:1.0").json["digest"] == digest
    assert filled.succeed("tags", "layout:all.tar/acme/tools/other").stdout == "1.0\n"
    assert filled.json("tags", "layout:all.tar").json["repositories"] == ["acme/app", "acme/tools/other"]
    error = refused(filled.json("copy", "layout:all.tar:1.0", "layout:x"), 1, "ambiguous-tag")
    assert "all.tar/acme/app:1.0" in error["hint"]
    error = refused(filled.json("show", "layout:all.tar/acme/nothing:1.0"), 66, "repository-not-found")
    assert "acme/app" in error["hint"]


def test_full_names_of_other_tools_are_repositories(project: InProcess, stored: Repositories) -> None:
    made = LayoutStorage(project.directory / "made", create=True)
    documents = [push(made, name, name, layers=[b"layer"]) for name in ("one", "two", "three")]
    names = ["ghcr.io/acme/one:1.0", "localhost:5000/two:2", f"quay.io/three@{documents[2].digest}"]
    entries = [
        entry(document, {"org.opencontainers.image.ref.name": name})
        for document, name in zip(documents, names, strict=True)
    ]
    blobs = [path.read_bytes() for path in (project.directory / "made/blobs/sha256").iterdir()]
    (project.directory / "all.tar").write_bytes(tar(layout_files(entries, blobs)))
    project.prepare("relocate", "plan", "layout:all.tar", "--to", "acme/mirror", "-o", "plan.json")
    project.prepare("relocate", "apply", "plan.json")
    assert stored("acme/mirror/acme/one").resolve("1.0") == documents[0]
    assert stored("acme/mirror/two").resolve("2") == documents[1]
    assert stored("acme/mirror/three").resolve(documents[2].digest) == documents[2]


def test_every_byte_is_verified_before_the_first_is_sent(filled: InProcess) -> None:
    pack(filled)
    filled.prepare("relocate", "plan", "layout:all.tar", "--to", "acme/mirror", "-o", "back.json")
    path = filled.directory / "all.tar"
    status = path.stat()
    raw = bytearray(path.read_bytes())
    raw[raw.index(SHARED) + 5] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = filled.registry.count("(PUT|POST|PATCH)")
    refused(filled.json("relocate", "apply", "back.json"), 65, "digest-mismatch")
    assert filled.registry.count("(PUT|POST|PATCH)") == before


def test_a_delta_in_parts_needs_what_it_builds_on(filled: InProcess, stored: Repositories) -> None:
    pack(filled)
    push(stored("acme/tools/other"), "newer", "2.0", layers=[SHARED, os.urandom(1_200_000)])
    filled.prepare("relocate", "plan", "acme/tools/other:2.0", "--to", "layout:new.tar", "-o", "new.json")
    filled.prepare("relocate", "apply", "new.json", "--since", "layout:all.tar", "--split", "1MiB")
    assert (filled.directory / "new.tar.002").exists()
    verified = filled.json("relocate", "verify", "new.json", "--deep")
    assert (verified.status, verified.json["leftOut"], verified.json["faults"]) == (0, 1, [])
    filled.prepare("relocate", "plan", "layout:new.tar", "--to", "acme/far", "-o", "back.json")
    error = refused(filled.json("relocate", "apply", "back.json"), 66, "delta-incomplete")
    assert digest_of(SHARED) in error["message"]
    filled.prepare("copy", "layout:all.tar/acme/tools/other:1.0", "acme/far/acme/tools/other")
    filled.prepare("relocate", "apply", "back.json")
    assert stored("acme/far/acme/tools/other").resolve("2.0") == stored("acme/tools/other").resolve("2.0")


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--shard", "1/2"), "--shard"), (("--attach-report",), "--report"), (("--split", "5"), "1MiB")],
)
def test_what_makes_no_sense_for_an_archive_is_refused(filled: InProcess, options: tuple[str, ...], said: str) -> None:
    filled.prepare("relocate", "plan", "acme/app:*", "--to", "layout:all.tar", "-o", "plan.json")
    result = filled.json("relocate", "apply", "plan.json", *options)
    assert (result.status, said in result.stderr) == (2, True)
    assert not (filled.directory / "all.tar").exists()


def test_an_archive_and_other_places_are_two_plans(filled: InProcess) -> None:
    filled.prepare(
        "relocate", "plan", "acme/app:*", "acme/tools/other:*", "--to", "layout:all.tar", "--map",
        "acme/tools=acme/t", "-o", "plan.json",
    )  # fmt: skip
    refused(filled.json("relocate", "apply", "plan.json"), 1, "several-destinations")
