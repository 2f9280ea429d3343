"""provender bundle: pushed, listed, described, copied with all that belongs to it, and pulled."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.bundle.locks import read_images_lock, read_lock
from provender.bundle.reading import BUNDLE_TYPE
from provender.oci import Descriptor, Digest
from provender.oci.media_types import MANIFEST
from support.bundles import images_lock, write_bundle
from support.faults import Status
from support.graphs import SBOM, SIGNATURE, family, push
from support.registry import TestRegistry, digest_of
from support.registry_client import Repositories
from support.workspace import InProcess, refused


@pytest.fixture
def project(registry: TestRegistry, tmp_path: Path) -> InProcess:
    """An empty directory beside the registry; commands run in this process."""
    directory = tmp_path / "project"
    directory.mkdir()
    return InProcess(directory, registry, tmp_path / "cache")


@pytest.fixture
def stored() -> Iterator[Repositories]:
    """Gives repositories of the registry; their connections are closed at the end."""
    repositories = Repositories()
    yield repositories
    repositories.close()


@pytest.fixture(params=["own", "hybrid"])
def stack(request: pytest.FixtureRequest, project: InProcess, stored: Repositories) -> list[str]:
    """`acme/stack:1.0`: an image (an index with everything that may belong to one), and a bundle with a signed image.

    The digests of the image, of the inner bundle and its image, and of the outer bundle.
    """
    flags = ["--imgpkg"] if request.param == "hybrid" else []
    host = project.registry.host
    app = family(stored(project.registry, "lib/app")).root.digest
    base = push(stored(project.registry, "lib/base"), "base", "1")
    push(stored(project.registry, "lib/base"), "signed", subject=base.descriptor, artifact_type=SIGNATURE)
    inner = write_bundle(project.directory / "inner", [f"{host}/lib/base@{base.digest}"])
    pushed = project.json("bundle", "push", "-b", "acme/inner:1.0", "-f", inner, *flags).json["digest"]
    images = [f"{host}/lib/app@{app}", f"{host}/acme/inner@{pushed}"]
    outer = write_bundle(project.directory / "outer", images, annotations={"kbld.carvel.dev/id": "app"})
    root = project.json("bundle", "push", "-b", "acme/stack:1.0", "-f", outer, *flags).json["digest"]
    sbom = push(stored(project.registry, "acme/stack"), "sbom", subject=_described(project, root), artifact_type=SBOM)
    assert sbom.digest
    return [app, pushed, base.digest, root]


def _described(project: InProcess, digest: str) -> Descriptor:
    raw = project.registry.manifest("acme/stack", digest)
    assert raw is not None
    return Descriptor(media_type=MANIFEST, digest=Digest(digest), size=len(raw))


def test_a_bundle_is_copied_with_all_in_it_and_all_that_belongs_to_it(project: InProcess, stack: list[str]) -> None:
    app, inner, base, root = stack
    said = project.json("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved", "--lock-output", "b.yml")
    assert said.status == 0, said.stderr
    assert (said.json["digest"], said.json["bundles"], said.json["images"]) == (root, 2, 2)
    tags = project.registry.tags("acme/moved")
    assert tags["1.0"] == root
    for digest in stack:
        assert tags[f"{digest.replace(':', '-')}.imgpkg"] == digest
    for digest in (inner, root):
        assert f"{digest.replace(':', '-')}.image-locations.imgpkg" in tags
    shown = project.json("bundle", "describe", "-b", "acme/moved:1.0").json
    outer_image, inner_bundle = shown["images"]
    assert [each["kinds"] for each in shown["related"]] == [["sbom"]]
    assert ["signature"] in [each["kinds"] for each in outer_image["related"]]
    assert (outer_image["image"], outer_image["isBundle"]) == (f"acme/moved@{app}", False)
    assert outer_image["origin"] == f"{project.registry.host}/lib/app@{app}"
    assert outer_image["annotations"] == {"kbld.carvel.dev/id": "app"}
    assert (inner_bundle["digest"], inner_bundle["isBundle"]) == (inner, True)
    assert [(each["digest"], each["related"][0]["kinds"]) for each in inner_bundle["images"]] == [(base, ["signature"])]
    lock = read_lock((project.directory / "b.yml").read_bytes(), where="b.yml")
    assert str(lock.reference) == f"{project.registry.host}/acme/moved:1.0@{root}"  # type: ignore[union-attr]
    again = project.json("bundle", "copy", "--lock", "b.yml", "--to-repo", "acme/moved").json
    assert again["sentBytes"] == 0
    assert project.registry.tags("acme/moved") == tags


def test_who_moves_a_bundle_without_its_images_is_told_so(project: InProcess, stack: list[str]) -> None:
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved", "--lock-output", "b.yml")
    for arguments in (
        ("copy", "acme/moved:1.0", "acme/other"),
        ("relocate", "plan", "-f", "b.yml", "--to", "acme/far"),
        ("relocate", "plan", "acme/moved:*", "--to", "acme/far"),
    ):
        assert "'provender bundle copy'" in project.succeed(*arguments).stderr
    refused(project.json("bundle", "copy", "--lock", "no-lock.yml", "--to-repo", "acme/x"), 66, "no-such-file")


def test_the_tree_shows_what_belongs_to_each(project: InProcess, stack: list[str]) -> None:
    app, inner, base, root = stack
    host = project.registry.host
    shown = project.succeed("bundle", "describe", "-b", "acme/stack:1.0")
    lines = [line for line in shown.stdout.splitlines() if "child " not in line]
    assert lines[0].startswith(f"acme/stack@{root} (")
    assert lines[1].startswith(f"├── {SBOM} sha256:")
    assert lines[2:4] == [f"├── {host}/lib/app@{app}", "│   kbld.carvel.dev/id: app"]
    assert any(line.startswith(f"│   ├── {SIGNATURE} sha256:") for line in lines)
    at = lines.index(f"└── bundle {host}/acme/inner@{inner}")
    assert lines[at + 1 : at + 3] == ["    kbld.carvel.dev/id: app", f"    └── {host}/lib/base@{base}"]
    assert lines[at + 3].startswith(f"        └── {SIGNATURE} sha256:")
    assert "2 images, 2 of them signed; 1 bundle inside; the bundle itself is not signed" in shown.stderr
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved")
    moved = project.succeed("bundle", "describe", "-b", "acme/moved:1.0").stdout
    assert f"    origin: {host}/acme/inner@{inner}" in moved.splitlines()
    assert ".imgpkg)" not in moved


def test_within_a_registry_no_blob_is_sent(project: InProcess, stack: list[str]) -> None:
    assert stack
    said = project.json("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved").json
    sent = [
        node
        for node in said["nodes"]
        if node["action"] == "copied" and node["role"] in ("layer", "config") and node["sentBytes"]
    ]
    # The records of locations are made here: two configs and layers at most, the config of both being one.
    assert len(sent) <= 4, sent


def test_a_pull_lays_the_files_with_the_lock_pointing_to_where_the_images_are(
    project: InProcess, stack: list[str]
) -> None:
    app, inner, base, root = stack
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved")
    said = project.json("bundle", "pull", "-b", "acme/moved:1.0", "-o", "out", "--recursive")
    assert said.status == 0, said.stderr
    assert (said.json["digest"], said.json["isRelocated"]) == (root, True)
    out = project.directory / "out"
    moved = f"{project.registry.host}/acme/moved"
    nested = out / ".imgpkg/bundles" / inner.replace(":", "-")
    for place, images in ((out, [app, inner]), (nested, [base])):
        lock = read_images_lock((place / ".imgpkg/images.yml").read_bytes(), where="images.yml")
        assert [each.image for each in lock.images] == [f"{moved}@{digest}" for digest in images]
        assert (place / "config/a.yml").read_text() == "a: 1\n"
        assert (place / "run.sh").stat().st_mode & 0o777 == 0o755
    assert project.json("bundle", "pull", "-b", "acme/moved:1.0", "-o", "out", "-r").json["changed"] == []
    (out / "config/a.yml").write_text("mine\n")
    refused(project.json("bundle", "pull", "-b", "acme/moved:1.0", "-o", "out"), 1, "files-differ")
    assert (out / "config/a.yml").read_text() == "mine\n"
    project.prepare("bundle", "pull", "-b", "acme/moved:1.0", "-o", "out", "--force")
    assert (out / "config/a.yml").read_text() == "a: 1\n"
    project.check_no_leftovers()


def test_before_a_copy_the_lock_stays_as_it_was_published(project: InProcess, stack: list[str]) -> None:
    assert stack
    said = project.json("bundle", "pull", "-b", "acme/stack:1.0", "-o", "out")
    assert (said.status, said.json["isRelocated"]) == (0, False)
    published, laid = (project.directory / name / ".imgpkg/images.yml" for name in ("outer", "out"))
    assert laid.read_bytes() == published.read_bytes()


def test_a_record_of_locations_without_the_images_is_not_believed(project: InProcess, stack: list[str]) -> None:
    assert stack
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved")
    assert "bundle copy" in project.succeed("copy", "acme/moved:1.0", "acme/alone:1.0").stderr
    assert any("image-locations" in tag for tag in project.registry.tags("acme/alone"))
    said = project.json("bundle", "pull", "-b", "acme/alone:1.0", "-o", "out")
    assert (said.status, said.json["isRelocated"]) == (0, False)


def test_through_an_archive_everything_arrives_without_the_source(project: InProcess, stack: list[str]) -> None:
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-tar", "a.tar")
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-tar", "b.tar")
    assert (project.directory / "a.tar").read_bytes() == (project.directory / "b.tar").read_bytes()
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/direct")
    direct = project.registry.tags("acme/direct")
    listed = project.json("bundle", "list", "layout:a.tar").json["bundles"]
    assert [(each["digest"], each["tags"]) for each in listed] == [(stack[3], ["1.0"])]
    # An archive of a digest has no tag: its bundle is the one that is in no other.
    project.prepare("bundle", "copy", "-b", f"acme/stack@{stack[3]}", "--to-tar", "c.tar")
    assert project.json("bundle", "copy", "--tar", "c.tar", "--to-repo", "layout:l:2.0").json["digest"] == stack[3]
    before = len(project.registry.asked())
    project.prepare("bundle", "copy", "--tar", "a.tar", "--to-repo", "acme/carried")
    asked = project.registry.asked()[before:]
    assert {request.path.split("/")[3] for request in asked if request.path.startswith("/v2/acme/")} == {"carried"}
    assert not [request for request in asked if "/lib/" in request.path]
    assert project.registry.tags("acme/carried") == direct


def test_an_images_lock_is_copied_into_one_repository(project: InProcess, stored: Repositories) -> None:
    host = project.registry.host
    found = [push(stored(project.registry, f"lib/{name}"), name, "1") for name in ("one", "two")]
    images = [f"{host}/lib/{name}@{document.digest}" for name, document in zip(("one", "two"), found, strict=True)]
    (project.directory / "images.yml").write_text(images_lock(images, {"note": "kept"}))
    project.prepare("bundle", "copy", "--lock", "images.yml", "--to-repo", "acme/all", "--lock-output", "new.yml")
    lock = read_images_lock((project.directory / "new.yml").read_bytes(), where="new.yml")
    assert [each.image for each in lock.images] == [f"{host}/acme/all@{document.digest}" for document in found]
    assert [each.annotations for each in lock.images] == [{"note": "kept"}] * 2
    assert set(project.registry.tags("acme/all").values()) == {document.digest for document in found}


def test_a_wrong_record_of_locations_at_the_source_is_not_taken_over(
    project: InProcess, stored: Repositories, stack: list[str]
) -> None:
    tag = f"{stack[3].replace(':', '-')}.image-locations.imgpkg"
    wrong = push(stored(project.registry, "acme/stack"), "wrong", tag)
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved")
    assert project.registry.tags("acme/moved")[tag] != wrong.digest
    assert project.registry.manifest("acme/moved", wrong.digest) is None
    assert project.json("bundle", "pull", "-b", "acme/moved:1.0", "-o", "out").json["isRelocated"]


def test_list_shows_bundles_alone_with_all_their_tags(
    project: InProcess, stored: Repositories, stack: list[str]
) -> None:
    push(stored(project.registry, "acme/stack"), "other", "2.0")
    project.prepare("tag", "acme/stack:1.0", "latest")
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved")
    shown = project.json("bundle", "list", "acme/stack").json["bundles"]
    assert [(each["digest"], each["tags"]) for each in shown] == [(stack[3], ["1.0", "latest"])]
    everywhere = project.json("bundle", "list", "acme").json["bundles"]
    assert [(each["repository"], each["tags"]) for each in everywhere] == [
        ("acme/inner", ["1.0"]),
        ("acme/moved", ["1.0"]),
        ("acme/stack", ["1.0", "latest"]),
    ]
    text = project.succeed("bundle", "describe", "-b", "acme/stack:1.0").stdout
    assert f"bundle {project.registry.host}/acme/inner@{stack[1]}" in text.replace("acme/acme", "acme")


def test_our_own_bundle_is_an_artifact_that_a_plain_pull_lays_out(project: InProcess) -> None:
    bundle = write_bundle(project.directory / "bundle")
    first = project.json("bundle", "push", "-b", "acme/own:1.0", "-f", bundle, "-a", "a.b=c").json["digest"]
    again = project.json("bundle", "push", "-b", "acme/own:1.0", "-f", bundle, "-a", "a.b=c").json["digest"]
    assert first == again
    raw = project.registry.manifest("acme/own", first)
    assert raw is not None
    assert json.loads(raw)["artifactType"] == BUNDLE_TYPE
    project.prepare("pull", "acme/own:1.0", "-o", "plain")
    project.prepare("bundle", "pull", "-b", "acme/own:1.0", "-o", "out")
    assert (project.directory / "plain/.imgpkg/images.yml").read_bytes() == (bundle / ".imgpkg/images.yml").read_bytes()
    assert (project.directory / "plain/config/a.yml").read_bytes() == b"a: 1\n"


def test_bundles_deeper_than_the_limit_are_refused(project: InProcess) -> None:
    images: list[str] = []
    for level in range(17):
        bundle = write_bundle(project.directory / "bundle", images, files={"level": str(level)})
        digest = project.json("bundle", "push", "-b", f"acme/deep:{level}", "-f", bundle).json["digest"]
        images = [f"{project.registry.host}/acme/deep@{digest}"]
    refused(project.json("bundle", "copy", "-b", "acme/deep:16", "--to-repo", "acme/moved"), 65, "bundle-too-deep")
    assert project.registry.tags("acme/moved") == {}
    assert project.json("bundle", "describe", "-b", "acme/deep:15").status == 0


def test_an_image_that_is_nowhere_ends_the_copy_before_anything_is_written(project: InProcess) -> None:
    gone = f"{project.registry.host}/lib/gone@{digest_of(b'gone')}"
    bundle = write_bundle(project.directory / "bundle", [gone])
    project.prepare("bundle", "push", "-b", "acme/stack:1.0", "-f", bundle)
    error = refused(
        project.json("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved"), 66, "image-missing"
    )
    assert error["where"] == gone
    assert project.registry.tags("acme/moved") == {}


@pytest.mark.parametrize(
    ("make", "status", "code"),
    [
        ("no lock", 66, "no-lock"),
        ("tag only", 78, "no-digest"),
        ("other version", 78, "unknown-list"),
        ("two locks", 2, "several-locks"),
        ("link", 66, "special-file"),
        ("twice", 2, "duplicate-path"),
        ("gone", 66, "no-such-file"),
    ],
)
def test_what_is_no_bundle_is_not_pushed(project: InProcess, make: str, status: int, code: str) -> None:
    bundle = write_bundle(project.directory / "bundle")
    inputs = [bundle]
    lock = bundle / ".imgpkg/images.yml"
    match make:
        case "no lock":
            lock.unlink()
        case "tag only":
            lock.write_text(images_lock(["ghcr.io/acme/app:1.0"]))
        case "other version":
            lock.write_text(lock.read_text().replace("v1alpha1", "v2"))
        case "two locks":
            write_bundle(bundle / "inside")
        case "link":
            (bundle / "link").symlink_to("run.sh")
        case "twice":
            inputs.append(bundle / "run.sh")
        case _:
            inputs.append(project.directory / "gone")
    files = [argument for path in inputs for argument in ("-f", path)]
    refused(project.json("bundle", "push", "-b", "acme/x:1", *files), status, code)
    assert project.registry.tags("acme/x") == {}


def test_an_image_is_no_bundle(project: InProcess, stored: Repositories) -> None:
    push(stored(project.registry, "acme/app"), "app", "1")
    for arguments in (("pull", "-o", "out"), ("describe",), ("copy", "--to-repo", "acme/moved")):
        refused(project.json("bundle", *arguments, "-b", "acme/app:1"), 65, "no-bundle")
    assert not (project.directory / "out").exists()


def test_locks_that_do_not_fit_are_refused(project: InProcess, stack: list[str]) -> None:
    host = project.registry.host
    (project.directory / "images.yml").write_text(images_lock([f"{host}/acme/inner@{stack[1]}"]))
    refused(project.json("bundle", "pull", "--lock", "images.yml", "-o", "out"), 78, "unknown-list")
    refused(project.json("bundle", "copy", "--lock", "images.yml", "--to-repo", "acme/all"), 78, "bundle-in-lock")
    assert project.json("bundle", "copy", "-b", "acme/stack", "--to-tar", "x.tar", "--lock-output", "l").status == 2
    assert project.json("bundle", "copy", "-b", "acme/stack:1.0").status == 2
    assert project.json("bundle", "pull", "-o", "out").status == 2


def test_an_archive_with_several_bundles_wants_a_name(project: InProcess) -> None:
    for name in ("one", "two"):
        bundle = write_bundle(project.directory / name, files={"name": name})
        project.prepare("bundle", "push", "-b", f"layout:store:{name}", "-f", bundle)
    with tarfile.open(project.directory / "store.tar", "w") as archive:
        archive.add(project.directory / "store", ".")
    error = refused(project.json("bundle", "copy", "--tar", "store.tar", "--to-repo", "acme/moved"), 65, "which-bundle")
    assert "layout:store.tar:TAG" in error["hint"]
    assert project.json("bundle", "copy", "-b", "layout:store.tar:two", "--to-repo", "acme/moved").json["tags"] == [
        "two"
    ]


def test_a_question_that_is_not_answered_ends_the_copy_and_moves_no_tag(project: InProcess, stack: list[str]) -> None:
    path = f"/v2/acme/stack/manifests/{stack[0]}"
    project.registry.fault(("GET", path), action=Status(403), times=5)
    refused(project.json("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved"), 77, "denied")
    assert project.registry.tags("acme/moved") == {}


def test_a_copy_that_breaks_off_leaves_the_bundle_without_its_tag(project: InProcess, stack: list[str]) -> None:
    tag = f"{stack[2].replace(':', '-')}.imgpkg"
    project.registry.fault(("PUT", f"/v2/acme/moved/manifests/{tag}"), action=Status(403), times=5)
    refused(project.json("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved"), 77, "denied")
    assert "1.0" not in project.registry.tags("acme/moved")
    project.registry.forget_faults()
    project.prepare("bundle", "copy", "-b", "acme/stack:1.0", "--to-repo", "acme/moved")
    assert project.registry.tags("acme/moved")["1.0"] == stack[3]


def test_a_lock_that_cannot_be_written_ends_a_push_and_a_copy_before_anything_is_sent(
    project: InProcess, stack: list[str]
) -> None:
    bundle = write_bundle(project.directory / "late", files={"name": "late"})
    for arguments in (
        ("push", "-b", "acme/late:1.0", "-f", bundle),
        ("copy", "-b", "acme/stack:1.0", "--to-repo", "acme/late"),
    ):
        error = refused(project.json("bundle", *arguments, "--lock-output", "no/lock.yml"), 74, "local-io")
        assert error["where"] == "no/lock.yml"
    assert project.registry.tags("acme/late") == {}


def test_the_list_of_a_repository_that_is_not_there_is_an_error(project: InProcess) -> None:
    refused(project.json("bundle", "list", "acme/nothing"), 66, "repository-not-found")


def test_an_archive_without_a_bundle_is_told_from_one_with_several(project: InProcess, stored: Repositories) -> None:
    push(stored(project.registry, "acme/app"), "app", "1")
    project.prepare("copy", "acme/app:1", "layout:app.tar")
    refused(project.json("bundle", "copy", "--tar", "app.tar", "--to-repo", "acme/moved"), 65, "no-bundle")
