"""Bundles beside imgpkg: what it writes we read, copy, describe and pull alike; what we write for it, it does."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from interop.conftest import asked, unique
from interop.programs import Program
from interop.registries import Registries
from interop.test_signed import signer_in
from support.bundles import images_lock, write_bundle
from support.command import provender_here
from support.workspace import everything

pytestmark = pytest.mark.interop


class Scene:
    """Images `app` (signed in both ways) and `base`, an inner bundle with `base`, an outer one with both."""

    def __init__(self, host: str, name: str, work: Path, imgpkg: Program, crane: Program, oras: Program) -> None:
        self.imgpkg, self.crane = imgpkg, crane
        self.work = work
        self.root = f"{host}/{name}"
        self.digests: dict[str, str] = {}
        for image in ("app", "base"):
            (work / image).mkdir()
            (work / image / "f").write_text(image)
            imgpkg.run("push", "-i", f"{self.root}/{image}:1", "-f", work / image)
            self.digests[image] = crane.run("digest", f"{self.root}/{image}:1")
        app = f"{self.root}/app@{self.digests['app']}"
        (work / "signature").write_text("signed")
        oras.run(
            "attach",
            "--plain-http",
            "--artifact-type",
            "application/vnd.dev.cosign.artifact.sig.v1+json",
            app,
            "signature",
            cwd=work,
        )
        tag = self.digests["app"].replace(":", "-") + ".sig"
        # An image by its config: imgpkg copies nothing else, and cosign's signatures are such.
        imgpkg.run("push", "-i", f"{self.root}/app:{tag}", "-f", work / "signature")

    def write(self) -> None:
        """The directories of the bundles, for which `inner` has to be pushed in between."""
        annotations = {"kbld.carvel.dev/id": "some/app", "number": "'1.0'"}
        images = [f"{self.root}/app@{self.digests['app']}", f"{self.root}/inner@{self.digests['inner']}"]
        write_bundle(self.work / "outer", images, annotations=annotations, files={"deep/er/x": "x" * 70_000})
        (self.work / "outer/.git").mkdir()
        (self.work / "outer/.git/config").write_text("not in the bundle")
        (self.work / "outer/private").write_text("p")
        (self.work / "outer/private").chmod(0o600)

    def push_by_imgpkg(self) -> None:
        write_bundle(self.work / "inner", [f"{self.root}/base@{self.digests['base']}"])
        self.imgpkg.run("push", "-b", f"{self.root}/inner:v1", "-f", self.work / "inner")
        self.digests["inner"] = self.crane.run("digest", f"{self.root}/inner:v1")
        self.write()
        self.imgpkg.run(
            "push", "-b", f"{self.root}/outer:v1", "-f", self.work / "outer", "--lock-output", self.work / "lock.yml"
        )
        self.digests["outer"] = self.crane.run("digest", f"{self.root}/outer:v1")

    def push_by_us(self) -> None:
        write_bundle(self.work / "inner", [f"{self.root}/base@{self.digests['base']}"])
        inner = ours("push", "-b", f"{self.root}/inner:v1", "-f", self.work / "inner", "--imgpkg")
        self.digests["inner"] = inner["digest"]
        self.write()
        outer = ours(
            "push",
            "-b",
            f"{self.root}/outer:v1",
            "-f",
            self.work / "outer",
            "--imgpkg",
            "--lock-output",
            self.work / "lock.yml",
        )
        self.digests["outer"] = outer["digest"]

    def described(self, reference: str) -> tuple[object, ...]:
        """What imgpkg says of a bundle."""
        text = self.imgpkg.run("describe", "-b", reference, "-o", "yaml", "--tty=false")
        return _of_imgpkg(yaml.safe_load(text))

    def pulled(self, reference: str, name: str, *arguments: str) -> dict[str, tuple[str, int, bytes]]:
        """What imgpkg pulls."""
        self.imgpkg.run("pull", "-b", reference, "-o", self.work / name, "-r", *arguments)
        return everything(self.work / name, without=())


def ours(*arguments: str | Path) -> dict[str, Any]:
    """The JSON of `provender bundle` with these arguments, which has to succeed."""
    result = provender_here("bundle", *arguments, "--format", "json")
    assert result.status == 0, (arguments, result.stderr)
    return dict(result.json) if result.stdout else {}


def our_description(reference: str) -> tuple[object, ...]:
    return _of_ours(ours("describe", "-b", reference)["images"])


def our_pull(reference: str, out: Path) -> dict[str, tuple[str, int, bytes]]:
    ours("pull", "-b", reference, "-o", out, "-r")
    return everything(out, without=())


def _of_imgpkg(described: dict[str, Any]) -> tuple[object, ...]:
    """Bundles and images, nested: digest, place, origin, annotations. Records and signatures are not in our tree."""
    content = described["content"]
    found: list[object] = []
    for digest, inner in (content.get("bundles") or {}).items():
        noted = tuple(sorted((inner.get("annotations") or {}).items()))
        found.append((digest, True, inner["image"], inner["origin"], noted, _of_imgpkg(inner)))
    for digest, image in (content.get("images") or {}).items():
        if image["imageType"] == "Image":
            noted = tuple(sorted((image.get("annotations") or {}).items()))
            found.append((digest, False, image["image"], image["origin"], noted, ()))
    return tuple(sorted(found, key=str))


def _of_ours(images: list[dict[str, Any]]) -> tuple[object, ...]:
    found = [
        (
            each["digest"],
            each["isBundle"],
            each["image"],
            each["origin"],
            tuple(sorted(each["annotations"].items())),
            _of_ours(each.get("images", [])),
        )
        for each in images
    ]
    return tuple(sorted(found, key=str))


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, registry: Any, tmp_path: Path, imgpkg: Program, crane: Program, oras: Program
) -> Scene:
    """On each registry in turn."""
    return Scene(registry.host, unique(request), tmp_path, imgpkg, crane, oras)


@pytest.fixture
def one(
    request: pytest.FixtureRequest,
    registries: Registries,
    tmp_path: Path,
    imgpkg: Program,
    crane: Program,
    oras: Program,
) -> Scene:
    """On one registry."""
    return Scene(registries.get("distribution").host, unique(request), tmp_path, imgpkg, crane, oras)


@pytest.mark.parametrize("writer", ["imgpkg", "ours"])
def test_both_say_the_same_before_and_after_either_copies(scene: Scene, writer: str) -> None:
    scene.push_by_imgpkg() if writer == "imgpkg" else scene.push_by_us()
    source = f"{scene.root}/outer:v1"
    described = our_description(source)
    assert described == scene.described(source)
    assert len(described) == 2
    assert our_pull(source, scene.work / "a") == scene.pulled(source, "b")
    # Copied by either, the other finds everything at the destination.
    scene.imgpkg.run("copy", "-b", source, "--to-repo", f"{scene.root}/theirs", "--cosign-signatures")
    ours("copy", "-b", source, "--to-repo", f"{scene.root}/ours")
    for name in ("theirs", "ours"):
        place = f"{scene.root}/{name}:v1"
        moved = our_description(place)
        assert moved == scene.described(place)
        laid = scene.pulled(place, f"{name}-b")
        assert our_pull(place, scene.work / f"{name}-a") == laid
        lock = laid[".imgpkg/images.yml"][2].decode()
        assert lock.count(f"{scene.root}/{name}@sha256:") == 2
        assert our_pull(place, scene.work / f"{name}-a") == laid  # once more, over what is there
    tags = [set(scene.crane.run("ls", f"{scene.root}/{name}").split()) for name in ("theirs", "ours")]
    kept = [{tag for tag in each if tag.count(".") == 1 or tag == "v1"} for each in tags]
    # imgpkg keeps signatures and its records by tags of their own as well.
    assert {"v1"} | {f"{digest.replace(':', '-')}.imgpkg" for digest in scene.digests.values()} <= kept[0] & kept[1]
    assert f"{scene.digests['app'].replace(':', '-')}.sig" in kept[0] & kept[1]
    signed = ours("describe", "-b", f"{scene.root}/ours:v1")["images"][0]["related"]
    assert {each["tag"] is None for each in signed} == {True, False}, signed


def test_copying_again_by_the_other_changes_no_tag(one: Scene) -> None:
    one.push_by_imgpkg()
    source, place = f"{one.root}/outer:v1", f"{one.root}/moved"
    one.imgpkg.run("copy", "-b", source, "--to-repo", place)
    before = {tag: one.crane.run("digest", f"{place}:{tag}") for tag in one.crane.run("ls", place).split()}
    assert ours("copy", "-b", source, "--to-repo", place, "--related", "none")["sentBytes"] == 0
    after = {tag: one.crane.run("digest", f"{place}:{tag}") for tag in one.crane.run("ls", place).split()}
    assert after == before
    # And imgpkg takes it on from a place that we wrote, our own referrers and records beside it.
    ours("copy", "-b", source, "--to-repo", f"{one.root}/ours")
    one.imgpkg.run("copy", "-b", f"{one.root}/ours:v1", "--to-repo", f"{one.root}/third")
    third = f"{one.root}/third:v1"
    assert our_description(third) == one.described(third)
    assert {each[0] for each in one.described(third)} == {each[0] for each in one.described(source)}  # type: ignore[index]


def test_the_locks_of_either_are_taken_by_the_other(one: Scene) -> None:
    one.push_by_imgpkg()
    lock, work = one.work / "lock.yml", one.work
    ours("copy", "--lock", lock, "--to-repo", f"{one.root}/ours", "--lock-output", work / "ours.yml")
    one.imgpkg.run("copy", "--lock", lock, "--to-repo", f"{one.root}/theirs", "--lock-output", work / "theirs.yml")
    assert (work / "ours.yml").read_text() == (work / "theirs.yml").read_text().replace("/theirs@", "/ours@")
    one.imgpkg.run("pull", "--lock", work / "ours.yml", "-o", work / "a")
    ours("pull", "--lock", work / "theirs.yml", "-o", work / "b")
    found = [everything(work / name, without=()) for name in ("a", "b")]
    assert found[0].keys() == found[1].keys()
    # Images alone: the same lock comes out of both.
    images = [f"{one.root}/{name}@{one.digests[name]}" for name in ("app", "base")]
    (work / "images.yml").write_text(images_lock(images, {"note": "kept"}))
    ours("copy", "--lock", work / "images.yml", "--to-repo", f"{one.root}/i-ours", "--lock-output", work / "io.yml")
    one.imgpkg.run(
        "copy", "--lock", work / "images.yml", "--to-repo", f"{one.root}/i-theirs", "--lock-output", work / "it.yml"
    )
    assert (work / "io.yml").read_text() == (work / "it.yml").read_text().replace("/i-theirs@", "/i-ours@")


def test_a_hybrid_has_the_layer_of_imgpkg_before_compression(one: Scene) -> None:
    one.push_by_imgpkg()
    pushed = json.loads(one.crane.run("config", f"{one.root}/outer:v1"))
    ours("push", "-b", f"{one.root}/again:v1", "-f", one.work / "outer", "--imgpkg")
    assert json.loads(one.crane.run("config", f"{one.root}/again:v1")) == pushed
    # The record of locations, too.
    one.imgpkg.run("copy", "-b", f"{one.root}/outer:v1", "--to-repo", f"{one.root}/theirs")
    ours("copy", "-b", f"{one.root}/outer:v1", "--to-repo", f"{one.root}/ours")
    record = f"{one.digests['outer'].replace(':', '-')}.image-locations.imgpkg"
    configs = [json.loads(one.crane.run("config", f"{one.root}/{name}:{record}")) for name in ("theirs", "ours")]
    assert configs[0] == configs[1]


def test_through_our_archive_imgpkg_finds_everything(one: Scene) -> None:
    one.push_by_imgpkg()
    source, archive = f"{one.root}/outer:v1", one.work / "bundle.tar"
    ours("copy", "-b", source, "--to-tar", archive)
    with tarfile.open(archive) as found:
        assert found.next().name == "oci-layout"  # type: ignore[union-attr]
    ours("copy", "--tar", archive, "--to-repo", f"{one.root}/carried")
    place = f"{one.root}/carried:v1"
    assert our_description(place) == one.described(place)
    one.imgpkg.run("copy", "-b", source, "--to-repo", f"{one.root}/theirs")
    theirs = one.pulled(f"{one.root}/theirs:v1", "b")
    carried = one.pulled(place, "a")
    assert {path: each[2].replace(b"/theirs@", b"/carried@") for path, each in theirs.items()} == {
        path: each[2] for path, each in carried.items()
    }


@pytest.mark.parametrize("named", ["tag", "digest"])
def test_an_archive_of_imgpkg_is_copied_as_imgpkg_does(one: Scene, named: str) -> None:
    one.push_by_imgpkg()
    source = f"{one.root}/outer:v1" if named == "tag" else f"{one.root}/outer@{one.digests['outer']}"
    archive, work = one.work / "theirs.tar", one.work
    one.imgpkg.run("copy", "-b", source, "--to-tar", archive, "--cosign-signatures")
    ours("copy", "--tar", archive, "--to-repo", f"{one.root}/ours", "--lock-output", work / "ours.yml")
    one.imgpkg.run("copy", "--tar", archive, "--to-repo", f"{one.root}/theirs", "--lock-output", work / "theirs.yml")
    assert (work / "ours.yml").read_text() == (work / "theirs.yml").read_text().replace("/theirs@", "/ours@")
    place = f"{one.root}/ours@{one.digests['outer']}"
    assert our_description(place) == one.described(place)
    listed = [set(one.crane.run("ls", f"{one.root}/{name}").split()) for name in ("ours", "theirs")]
    signature = f"{one.digests['app'].replace(':', '-')}.sig"
    assert ("v1" in listed[0], signature in listed[0]) == ("v1" in listed[1], True)
    assert our_description(f"layout:{archive}@{one.digests['outer']}")
    laid = one.pulled(place, "pulled")
    assert laid[".imgpkg/images.yml"][2].decode().count(f"{one.root}/ours@sha256:") == 2


def test_what_cosign_signed_it_verifies_after_a_bundle_was_carried(
    one: Scene, request: pytest.FixtureRequest, registries: Registries
) -> None:
    """The bundle by a referrer, an image of the bundle inside by a tag; into a registry without the referrers API."""
    signer = signer_in(asked(request, "cosign"), one.work / "keys")
    one.push_by_us()
    signed = {"bundle": ("outer", one.digests["outer"]), "tag": ("base", one.digests["base"])}
    for form, (name, digest) in signed.items():
        signer.sign(form, f"{one.root}/{name}@{digest}")
    ours("copy", "-b", f"{one.root}/outer:v1", "--to-tar", one.work / "x.tar")
    place = f"{registries.get('docker-registry').host}/{unique(request)}"
    ours("copy", "--tar", one.work / "x.tar", "--to-repo", place)
    for form, (_, digest) in signed.items():
        assert signer.accepts(form, f"{place}@{digest}"), form
        assert not signer.accepts(form, f"{place}@{digest}", key="others"), form
    assert not signer.accepts("bundle", f"{place}@{one.digests['inner']}")


def test_vendir_reads_what_we_push_and_copy(one: Scene, request: pytest.FixtureRequest) -> None:
    """The dialect and the real vendir lay the same files from what we pushed and from what we copied."""
    vendir = asked(request, "vendir")
    one.push_by_us()
    ours("copy", "-b", f"{one.root}/outer:v1", "--to-repo", f"{one.root}/moved")
    work = one.work / "vendored"
    work.mkdir()
    contents = "".join(
        f"  - path: {name}\n    imgpkgBundle: {{image: '{one.root}/{name}:v1', recursive: true}}\n"
        for name in ("outer", "moved")
    )
    (work / "vendir.yml").write_text(
        f"apiVersion: vendir.k14s.io/v1alpha1\nkind: Config\ndirectories:\n- path: v\n  contents:\n{contents}"
    )
    vendir.run("sync", cwd=work)
    theirs, lock = everything(work / "v", without=()), (work / "vendir.lock.yml").read_bytes()
    result = provender_here("vendir", "sync", cwd=work)
    assert result.status == 0, result.stderr
    assert everything(work / "v", without=()) == theirs
    assert (work / "vendir.lock.yml").read_bytes() == lock
    assert f"{one.root}/moved@".encode() in theirs["moved/.imgpkg/images.yml"][2]


def test_oras_lays_out_our_own_kind(one: Scene, oras: Program) -> None:
    bundle = write_bundle(one.work / "own", [f"{one.root}/app@{one.digests['app']}"])
    ours("push", "-b", f"{one.root}/own:v1", "-f", bundle)
    oras.run("pull", "--plain-http", f"{one.root}/own:v1", "-o", one.work / "laid")
    assert everything(one.work / "laid", without=()).keys() == everything(bundle, without=()).keys()
    assert (one.work / "laid/.imgpkg/images.yml").read_bytes() == (bundle / ".imgpkg/images.yml").read_bytes()
    # It is no image, and imgpkg says so.
    refused = one.imgpkg.attempt("describe", "-b", f"{one.root}/own:v1")
    assert refused.returncode != 0
