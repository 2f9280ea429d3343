"""The manifest: what is read, and that everything wrong is told with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provender.errors import InvalidProject, NotFound
from provender.oci import Digest, Reference
from provender.project.dependency import Dependency, Paths, find_overlap
from provender.project.manifest import Manifest, find_manifest
from provender.project.origin import OciOrigin, Requested

DIGEST = Digest.of(b"x")

EXAMPLE = f"""\
# a comment
version: 1
x-owner: team
registries:
  acme: {{}}
  flux: {{location: ghcr.io/fluxcd}}
  store: {{location: "layout:./store"}}
  bare:
dependencies:
  schemas:
    oci: acme/k8s/schemas
    version: ">=1.0, <2"
    to: ./vendor/k8s/
    artifactType: application/vnd.cncf.flux.config.v1+json
    platform: linux/x86_64
    layers: {{mediaTypes: ["application/vnd.cncf.flux.content.*"], mode: extract, x-why: because}}
    include: ["**/*.json"]
    exclude: ["**/test/**"]
    root: schemas/
    keep: [".local/**"]
    x-note: free
  greetings: acme/greetings:1.2.0
  pinned: ghcr.io/acme/tools:v1@{DIGEST}
  plain: {{oci: "localhost:5000/a"}}
"""


def refused(body: str) -> InvalidProject:
    with pytest.raises(InvalidProject) as caught:
        Manifest.parse(f"version: 1\n{body}", where="provender.yaml")
    return caught.value


def one(body: str) -> OciOrigin:
    (found,) = Manifest.parse(f"version: 1\ndependencies:\n  a: {body}\n").dependencies
    return found.origin_as(OciOrigin)


def test_long_form_is_read_in_full() -> None:
    manifest = Manifest.parse(EXAMPLE)
    assert manifest.get("schemas") == Dependency(
        name="schemas",
        origin=OciOrigin(
            reference=Reference(kind="logical", registry="acme", repository="k8s/schemas"),
            requested=Requested(version=">=1.0, <2"),
            artifact_type="application/vnd.cncf.flux.config.v1+json",
            platform="linux/amd64",
            media_types=("application/vnd.cncf.flux.content.*",),
            mode="extract",
        ),
        to="vendor/k8s",
        paths=Paths(include=("**/*.json",), exclude=("**/test/**",), root="schemas"),
        keep=(".local/**",),
    )


def test_short_form_splits_repository_and_target() -> None:
    manifest = Manifest.parse(EXAMPLE)
    greetings, pinned = manifest.get("greetings"), manifest.get("pinned")
    assert greetings is not None
    assert pinned is not None
    one, other = greetings.origin_as(OciOrigin), pinned.origin_as(OciOrigin)
    assert (str(one.reference), one.requested) == ("acme/greetings", Requested(tag="1.2.0"))
    assert greetings.to == "vendor/greetings"
    assert (str(other.reference), other.requested) == ("ghcr.io/acme/tools", Requested(tag="v1", digest=DIGEST))


def test_dependencies_are_sorted_and_have_places() -> None:
    manifest = Manifest.parse(EXAMPLE, where="p.yaml")
    assert [each.name for each in manifest.dependencies] == ["greetings", "pinned", "plain", "schemas"]
    assert manifest.places["greetings"] == "p.yaml:22:3"


def test_registries_keep_default_locations() -> None:
    assert Manifest.parse(EXAMPLE).registries == {
        "acme": None,
        "bare": None,
        "flux": "ghcr.io/fluxcd",
        "store": "layout:./store",
    }


def test_nothing_requested_means_latest_and_says_so() -> None:
    found = one("{oci: acme/x}")
    assert (found.requested, found.is_tag_implied) == (Requested(tag="latest"), True)
    assert one("{oci: acme/x, tag: latest}").is_tag_implied is False


def test_labels_stay_beside_a_digest() -> None:
    assert one(f"{{oci: acme/x, tag: v1, digest: {DIGEST}}}").requested == Requested(tag="v1", digest=DIGEST)
    found = one(f"{{oci: acme/x, version: ^1, digest: {DIGEST}}}")
    assert found.requested == Requested(version="^1", digest=DIGEST)


@pytest.mark.parametrize("body", ["", "dependencies:\n", "dependencies: {}\nregistries: {}\n", "dependencies: null\n"])
def test_a_project_may_have_no_dependencies(body: str) -> None:
    assert Manifest.parse(f"version: 1\n{body}").dependencies == ()


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "invalid-value", 1),
        ("- a\n", "invalid-value", 1),
        ("dependencies: {}\n", "missing-key", 1),
        ("version: '1'\n", "invalid-value", 1),
        ("version: 0\n", "invalid-value", 1),
        ("version: true\n", "invalid-value", 1),
        ("\nversion: 2\nnew: {}\n", "manifest-too-new", 2),
    ],
)
def test_version_is_required_and_known(text: str, code: str, line: int) -> None:
    with pytest.raises(InvalidProject) as caught:
        Manifest.parse(text, where="p")
    assert caught.value.code == code
    assert caught.value.where is not None
    assert caught.value.where.startswith(f"p:{line}:")
    assert caught.value.hint or "must be 1" in caught.value.message


_LONG = "dependencies:\n  a:\n    oci: acme/a\n"


@pytest.mark.parametrize(
    ("body", "code", "place"),
    [
        ("dependencis: {}\n", "unknown-key", "2:1"),
        (_LONG + "    tags: v1\n", "unknown-key", "5:5"),
        (_LONG + "    layers: {mode: auto, types: [a]}\n", "unknown-key", "5:26"),
        (_LONG + "    layers: {mode: extrac}\n", "invalid-value", "5:20"),
        (_LONG + "    version: 1.2\n", "invalid-value", "5:14"),
        (_LONG + "    version:\n", "empty-value", "5:5"),
        (_LONG + "    layers: {mediaTypes: }\n", "empty-value", "5:14"),
        (_LONG + "    version: one\n", "invalid-range", "5:14"),
        (_LONG + "    version: ^1\n    tag: v1\n", "version-and-tag", "6:5"),
        (_LONG + "    tag: a+b\n", "invalid-tag", "5:10"),
        (_LONG + "    digest: sha256:12\n", "invalid-digest", "5:13"),
        (_LONG + "    platform: linux\n", "invalid-platform", "5:15"),
        (_LONG + "    artifactType: flux\n", "invalid-media-type", "5:19"),
        (_LONG + "    include: [ok, '/etc/*']\n", "invalid-pattern", "5:19"),
        (_LONG + "    include: []\n", "empty-choice", "5:14"),
        (_LONG + "    exclude: ['../*']\n", "invalid-pattern", "5:15"),
        (_LONG + "    exclude: ['[a']\n", "invalid-pattern", "5:15"),
        (_LONG + "    keep: ['!x']\n", "invalid-pattern", "5:12"),
        (_LONG + "    keep: ['']\n", "invalid-pattern", "5:12"),
        (_LONG + "    layers: {mediaTypes: ['a b']}\n", "invalid-pattern", "5:27"),
        (_LONG + "    layers: {mediaTypes: []}\n", "empty-choice", "5:26"),
        (_LONG + "    root: ../x\n", "invalid-path", "5:11"),
        (_LONG + "    root: .\n", "invalid-path", "5:11"),
        (_LONG + "    verify: {}\n", "unsupported-verify", "5:5"),
        ("dependencies:\n  a: {oci: 'acme/a:1'}\n", "target-in-oci", "3:12"),
        (f"dependencies:\n  a: {{oci: 'acme/a@{DIGEST}'}}\n", "target-in-oci", "3:12"),
        ("dependencies:\n  a: {tag: v1}\n", "no-source", "3:3"),
        ("dependencies:\n  a: {gti: x}\n", "no-source", "3:7"),
        ("dependencies:\n  a: 5\n", "invalid-value", "3:6"),
        ("dependencies:\n  a:\n", "invalid-value", "3:5"),
        ("dependencies:\n  a: acme/a\n", "missing-tag", "3:6"),
        ("dependencies:\n  a: nginx:1\n", "short-name", "3:6"),
        ("dependencies:\n  a: {oci: nginx}\n", "short-name", "3:12"),
        ("dependencies:\n  a: 'acme/Upper:1'\n", "invalid-repository", "3:6"),
        ("dependencies:\n  a/b: acme/a:1\n", "invalid-name", "3:3"),
        ("dependencies:\n  -a: acme/a:1\n", "invalid-name", "3:3"),
        ("dependencies:\n  con: acme/a:1\n", "invalid-path", "3:3"),
        ("dependencies:\n  a: layout:../x:1\n", "outside-project", "3:6"),
        ("dependencies:\n  a: layout:/abs:1\n", "outside-project", "3:6"),
        ("dependencies:\n  a: {oci: acme/x, inline: {}}\n", "several-sources", "3:20"),
        ("dependencies:\n  a: acme/a:1\n  a: acme/b:1\n", "duplicate-key", "4:3"),
        ("registries: {acme: {url: x}}\n", "unknown-key", "2:21"),
        ("registries: {ACME: {}}\n", "invalid-alias", "2:14"),
        ("registries: {ghcr.io: {}}\n", "invalid-alias", "2:14"),
        ("registries: {localhost: {}}\n", "invalid-alias", "2:14"),
        ("registries: {acme: {location: 'https://ghcr.io'}}\n", "invalid-location", "2:31"),
        ("registries: {acme: {location: other}}\n", "invalid-location", "2:31"),
        ("registries: {acme: {location: 'layout:'}}\n", "invalid-location", "2:31"),
        ("registries: {acme: {location: 'ghcr.io/x:1'}}\n", "invalid-location", "2:31"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(body: str, code: str, place: str) -> None:
    error = refused(body)
    assert (error.code, error.where) == (code, f"provender.yaml:{place}")
    assert error.hint or code == "invalid-value"


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("dependencis: {}\n", "did you mean dependencies?"),
        (_LONG + "    artefactType: a/b\n", "did you mean artifactType?"),
        ("dependencies:\n  a: nginx:1\n", "docker.io/library/nginx"),
        ("dependencies:\n  a: {gti: x}\n", "did you mean git?"),
        ("dependencies:\n  a: {url: x}\n", "did you mean http?"),
        ("dependencies:\n  a: {tag: x}\n", "add one of oci, image, git"),
        (_LONG + "    tag: 1.2+x\n", "1.2_x"),
        (_LONG + "    version: 1.2\n", '"1.2"'),
    ],
)
def test_hints_say_how_to_fix(body: str, hint: str) -> None:
    assert hint in (refused(body).hint or "")


@pytest.mark.parametrize(
    "to",
    [
        "/abs",
        "../out",
        "a/../../b",
        ".",
        "./",
        "a\\b",
        "C:/x",
        ".provender",
        ".provender/x",
        ".PROVENDER/x",
        "provender.yaml",
        "Provender.Lock",
        ".git/hooks",
        "sub/.git",
        "sub/.GIT/hooks",
        "git~1/x",
        "a//b",
        "nul",
        "a/con.txt",
        '"a\\u0001"',
    ],
)
def test_destinations_that_may_not_be_written_are_refused(to: str) -> None:
    error = refused(f"{_LONG}    to: {to}\n")
    assert error.code in ("invalid-path", "reserved-destination")
    assert error.where == "provender.yaml:5:9"


@pytest.mark.parametrize(
    ("one_to", "other_to"),
    [("x", "x"), ("x", "x/y"), ("x/y/z", "x"), ("vendor/A", "vendor/a"), ("A/b", "a"), ("caf\u00e9", "cafe\u0301/x")],
)
def test_overlapping_destinations_name_both_with_places(one_to: str, other_to: str) -> None:
    error = refused(
        f"dependencies:\n  one: {{oci: acme/a, to: {one_to}}}\n  two:\n    oci: acme/b\n    to: {other_to}\n"
    )
    assert error.code == "overlapping-destinations"
    assert "'one'" in error.message
    assert "'two'" in error.message
    places = f"{error.where} {error.hint}"
    assert "provender.yaml:3:" in places
    assert "provender.yaml:6:9" in places or "provender.yaml:4:3" in places


def test_neighbours_with_a_common_prefix_do_not_overlap() -> None:
    assert find_overlap({"a": "vendor/x", "b": "vendor/x-y", "c": "vendor/xy/z", "d": "w"}) is None


def test_load_reads_a_link_but_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("version: 1\n")
    (tmp_path / "provender.yaml").symlink_to("real.yaml")
    assert Manifest.load(tmp_path / "provender.yaml").directory == tmp_path
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidProject, match="not a file"):
        Manifest.load(tmp_path / "pipe")


def test_load_caps_the_size(tmp_path: Path) -> None:
    path = tmp_path / "provender.yaml"
    path.write_text("version: 1\n" + "#" * (1 << 20))
    with pytest.raises(InvalidProject) as caught:
        Manifest.load(path)
    assert caught.value.code == "settings-too-large"


def test_load_without_a_file_hints_at_init(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        Manifest.load(tmp_path / "provender.yaml")
    assert "provender init" in (caught.value.hint or "")


def test_find_walks_up_to_the_nearest(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "provender.yaml").write_text("version: 1\n")
    assert find_manifest(deep) == tmp_path / "provender.yaml"
    (tmp_path / "a" / "provender.yaml").write_text("version: 1\n")
    assert find_manifest(deep) == tmp_path / "a" / "provender.yaml"


def test_find_stops_at_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "provender.yaml").write_text("version: 1\n")
    work = tmp_path / "home" / "work"
    work.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(NotFound) as caught:
        find_manifest(work)
    assert caught.value.code == "no-manifest"
    assert "provender init" in (caught.value.hint or "")
