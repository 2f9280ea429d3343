"""The sources `githubRelease` and `helmChart`, against a web server and a registry of this machine."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import IntegrityError, InvalidProject, NotFound, ProvenderError, Unavailable
from provender.oci import Descriptor, Document, Manifest
from provender.oci.media_types import MANIFEST
from provender.storage.roots import StoreRoot
from provender.storage.verify import BytesReader
from support.archives import archive, file
from support.files_server import FilesServer
from support.local_project import LocalProject


@pytest.fixture
def project(tmp_path: Path) -> Iterator[LocalProject]:
    made = LocalProject(tmp_path)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[FilesServer]:
    with FilesServer() as made:
        yield made


def refused(project: LocalProject, kind: type[ProvenderError], code: str, **options: bool) -> ProvenderError:
    """The error of a sync, which changes nothing."""
    before = project.look()
    with pytest.raises(kind) as caught:
        project.sync(**options)
    assert caught.value.code == code, caught.value
    assert caught.value.where
    assert caught.value.hint
    assert project.look() == before
    assert project.leftovers() == []
    return caught.value


# --- releases


def release(server: FilesServer, tag: str, assets: dict[str, bytes], *, digests: bool = True) -> dict[str, object]:
    """Publish a release; what the API says of it."""
    listed = []
    for name, content in assets.items():
        path = f"/assets/{tag}/{name}"
        server.files[path] = content
        each: dict[str, object] = {"name": name, "url": f"{server.url}{path}", "size": len(content)}
        if digests:
            each["digest"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        listed.append(each)
    made: dict[str, object] = {
        "tag_name": tag,
        "url": f"{server.url}/repos/acme/tool/releases/{abs(hash(tag)) % 1000}",
        "assets": listed,
        "body": "ignored",
    }
    server.files[f"/repos/acme/tool/releases/tags/{tag}"] = json.dumps(made).encode()
    return made


def tool(server: FilesServer, **keys: object) -> dict[str, object]:
    return {"githubRelease": "acme/tool", "api": server.url, **keys}


def test_assets_are_chosen_locked_and_laid(project: LocalProject, server: FilesServer) -> None:
    tar = gzip.compress(archive(file("bin/tool", b"#!", mode=0o755)))
    release(server, "v1.2.0", {"tool_linux.tar.gz": tar, "tool_mac.tar.gz": b"mac", "sums.txt": b"sums"})
    project.depend(tool=tool(server, tag="v1.2.0", assets=["*_linux.tar.gz", "sums.txt"]))
    assert project.actions() == {"vendor/tool": "installed"}
    assert project.files("vendor/tool") == {"bin/tool": "#!", "sums.txt": "sums"}
    entry = project.lock["tool"]
    assert [each["name"] for each in entry["assets"]] == ["sums.txt", "tool_linux.tar.gz"]
    assert entry["tag"] == "v1.2.0"
    asked = len(server.asked)
    assert project.actions() == {"vendor/tool": "unchanged"}
    assert len(server.asked) == asked
    project.depend(tool=tool(server, tag="v1.2.0", assets=["*_linux.tar.gz"], mode="copy"))
    project.sync()
    assert [path.name for path in project.path("vendor/tool").iterdir()] == ["tool_linux.tar.gz"]


def test_the_latest_release_and_ranges_are_found(project: LocalProject, server: FilesServer) -> None:
    made = [release(server, tag, {"a": tag.encode()}) for tag in ("v1.0.0", "v1.10.0", "v2.0.0-rc.1", "v1.9.0")]
    server.files["/repos/acme/tool/releases/latest"] = json.dumps(made[3]).encode()
    draft = {**made[0], "tag_name": "v1.99.0", "draft": True}
    server.files["/repos/acme/tool/releases?per_page=100&page=1"] = json.dumps([draft, *made]).encode()
    project.depend(a=tool(server), b=tool(server, version="^1"))
    project.sync()
    assert {name: entry["tag"] for name, entry in project.lock.items()} == {"a": "v1.9.0", "b": "v1.10.0"}
    project.depend(b=tool(server, version=">=3"))
    assert "v1.10.0" in (refused(project, NotFound, "no-version-matched").hint or "")


def test_an_asset_that_was_replaced_is_never_laid(project: LocalProject, server: FilesServer, tmp_path: Path) -> None:
    release(server, "v1", {"a": b"one"}, digests=False)
    project.depend(tool=tool(server, tag="v1"))
    project.sync()
    server.files["/assets/v1/a"] = b"two"
    for blob in (tmp_path / "cache/blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    (project.path("vendor/tool") / "a").unlink()
    refused(project, IntegrityError, "digest-mismatch")


def test_checksums_of_the_manifest_and_of_the_api_are_enforced(project: LocalProject, server: FilesServer) -> None:
    release(server, "v1", {"a": b"one"})
    right = hashlib.sha256(b"one").hexdigest()
    project.depend(tool=tool(server, tag="v1", checksums={"a": "0" * 64}))
    refused(project, IntegrityError, "digest-mismatch")
    project.depend(tool=tool(server, tag="v1", checksums={"a": right}))
    project.sync()
    project.depend(tool=tool(server, tag="v1", checksums={"a": "0" * 64}))
    refused(project, InvalidProject, "lock-stale", locked=True)
    project.depend(tool=tool(server, tag="v1", checksums={"b": right}))
    refused(project, NotFound, "no-such-asset", updating=True)


@pytest.mark.parametrize(
    ("keys", "kind", "code", "hint"),
    [
        ({"tag": "v9"}, NotFound, "not-found", "no such tag"),
        ({}, NotFound, "not-found", "name a tag"),
        ({"tag": "v1", "assets": ["*.zip"]}, NotFound, "no-such-asset", "it has a, nul.txt"),
        ({"tag": "v1", "assets": ["a", "*.zip"]}, NotFound, "no-such-asset", "it has a"),
        ({"tag": "v1"}, Unavailable, "unusable-answer", "assets"),
        ({"tag": "bad"}, Unavailable, "unusable-answer", "api"),
    ],
)
def test_what_a_release_lacks_is_told(
    project: LocalProject,
    server: FilesServer,
    keys: dict[str, object],
    kind: type[ProvenderError],
    code: str,
    hint: str,
) -> None:
    release(server, "v1", {"a": b"one", "nul.txt": b""})
    server.files["/repos/acme/tool/releases/tags/bad"] = b"[]"
    project.depend(tool=tool(server, **keys))
    assert hint in (refused(project, kind, code).hint or "")


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"githubRelease": "acme"}, "invalid-slug"),
        ({"githubRelease": "https://github.com/acme/tool"}, "invalid-slug"),
        ({"githubRelease": "acme/.."}, "invalid-slug"),
        ({"githubRelease": "acme/tool", "tag": "v1", "version": "^1"}, "version-and-tag"),
        ({"githubRelease": "acme/tool", "version": "one"}, "invalid-range"),
        ({"githubRelease": "acme/tool", "tag": "a b"}, "invalid-ref"),
        ({"githubRelease": "acme/tool", "assets": []}, "empty-choice"),
        ({"githubRelease": "acme/tool", "assets": ["/x"]}, "invalid-pattern"),
        ({"githubRelease": "acme/tool", "checksums": {"a": "x"}}, "invalid-sha256"),
        ({"githubRelease": "acme/tool", "checksums": {"../a": "0" * 64}}, "invalid-asset"),
        ({"githubRelease": "acme/tool", "api": "github.example.com"}, "invalid-url"),
        ({"githubRelease": "acme/tool", "asset": ["a"]}, "unknown-key"),
        ({"helmChart": "a/b", "repository": "https://example.com"}, "invalid-chart"),
        ({"helmChart": "podinfo"}, "missing-key"),
        ({"helmChart": "podinfo", "repository": "example.com"}, "invalid-url"),
        ({"helmChart": "podinfo", "repository": "oci://ghcr.io/x:1"}, "invalid-url"),
        ({"helmChart": "podinfo", "repository": "ghcr.io/x"}, "invalid-url"),
        ({"helmChart": "podinfo", "repository": "layout:x"}, "invalid-url"),
        ({"helmChart": "podinfo", "repository": "ftp://x/y"}, "invalid-url"),
        ({"helmChart": "podinfo", "repository": "https://u:secret@example.com"}, "secret-in-url"),
        ({"helmChart": "podinfo", "repository": "https://example.com", "version": "new"}, "invalid-range"),
        ({"helmChart": "podinfo", "repository": "https://example.com", "tag": "1"}, "unknown-key"),
    ],
)
def test_what_is_wrong_in_the_manifest_is_told_with_its_place(
    project: LocalProject, keys: dict[str, object], code: str
) -> None:
    project.depend(x=keys)
    error = refused(project, InvalidProject, code)
    assert "provender.yaml:" in (error.where or "")
    assert "secret" not in str(error)


# --- charts


def chart(name: str, version: str, **files: str) -> bytes:
    made = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n", **files}
    return gzip.compress(archive(*(file(f"{name}/{path}", text.encode()) for path, text in made.items())), mtime=0)


def index(server: FilesServer, charts: dict[str, bytes], *, name: str = "podinfo", digests: bool = True) -> None:
    """Publish versions of a chart in `/charts`."""
    lines = ["apiVersion: v1", "entries:", f"  {name}:"]
    for version, content in charts.items():
        path = f"{name}-{version}.tgz"
        server.files[f"/charts/{path}"] = content
        lines += [f"  - name: {name}", f"    version: '{version}'", f"    urls: [{path}]"]
        if digests:
            lines.append(f"    digest: {hashlib.sha256(content).hexdigest()}")
    server.files["/charts/index.yaml"] = "\n".join(lines).encode()


def test_a_chart_of_a_classic_repository_is_found_by_range(project: LocalProject, server: FilesServer) -> None:
    charts = {
        version: chart("podinfo", version, **{"values.yaml": version}) for version in ("6.0.0", "6.10.1", "7.0.0")
    }
    index(server, {**charts, "8.0.0-beta.1": chart("podinfo", "8.0.0-beta.1")})
    project.depend(
        newest={"helmChart": "podinfo", "repository": f"{server.url}/charts"},
        six={"helmChart": "podinfo", "repository": f"{server.url}/charts/", "version": "6.x"},
    )
    project.sync()
    assert {name: entry["version"] for name, entry in project.lock.items()} == {"newest": "7.0.0", "six": "6.10.1"}
    assert project.files("vendor/six")["values.yaml"] == "6.10.1"
    assert "Chart.yaml" in project.files("vendor/six")
    entry = project.lock["six"]
    assert list(entry) == [
        "source", "chart", "repository", "requested", "version", "url", "digest", "size", "tree", "to",
    ]  # fmt: skip
    asked = len(server.asked)
    assert set(project.actions().values()) == {"unchanged"}
    assert len(server.asked) == asked


def test_charts_with_other_content_than_the_index_says_are_refused(project: LocalProject, server: FilesServer) -> None:
    index(server, {"1.0.0": chart("podinfo", "1.0.0")})
    server.files["/charts/podinfo-1.0.0.tgz"] = chart("podinfo", "1.0.0", evil="x")
    project.depend(c={"helmChart": "podinfo", "repository": f"{server.url}/charts"})
    refused(project, IntegrityError, "digest-mismatch")


@pytest.mark.parametrize(
    ("raw", "kind", "code"),
    [
        (b"entries: {other: []}", NotFound, "no-such-chart"),
        (b"entries: {podinfo: []}", NotFound, "no-version-matched"),
        (b"entries: {podinfo: {}}", NotFound, "no-version-matched"),
        (b"entries: {podinfo: [{version: 1.0.0}]}", Unavailable, "unusable-index"),
        (b"entries: {podinfo: [{version: 1.0.0, urls: ['ftp://x/y']}]}", Unavailable, "unusable-index"),
        (b"entries: {podinfo: [{version: 1.0.0, urls: [x], digest: zz}]}", Unavailable, "unusable-index"),
        (b"entries: [", Unavailable, "unusable-index"),
        (b"[]", Unavailable, "unusable-index"),
        (b"<html>", Unavailable, "unusable-index"),
    ],
)
def test_indexes_that_cannot_be_used_are_told(
    project: LocalProject, server: FilesServer, raw: bytes, kind: type[ProvenderError], code: str
) -> None:
    server.files["/charts/index.yaml"] = raw
    project.depend(c={"helmChart": "podinfo", "repository": f"{server.url}/charts"})
    refused(project, kind, code)


def test_an_archive_that_is_no_chart_is_refused(project: LocalProject, server: FilesServer) -> None:
    project.depend(c={"helmChart": "podinfo", "repository": f"{server.url}/charts"})
    index(server, {"1.0.0": gzip.compress(archive(file("podinfo/values.yaml", b"")))})
    refused(project, IntegrityError, "no-chart")
    index(server, {"1.0.0": gzip.compress(archive(file("podinfo/Chart.yaml", b""), file("other/x", b"")))})
    refused(project, IntegrityError, "outside-prefix")
    index(server, {"1.0.0": b"no archive"})
    refused(project, IntegrityError, "no-archive")


def push_chart(project: LocalProject, version: str, content: bytes) -> Document:
    """Put a chart into the store, as helm does."""
    storage = StoreRoot(project.store).repository("charts/podinfo", create=True)
    config = Descriptor.of(b'{"name": "podinfo"}', "application/vnd.cncf.helm.config.v1+json")
    layer = Descriptor.of(content, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    provenance = Descriptor.of(b"signed", "application/vnd.cncf.helm.chart.provenance.v1.prov")
    for descriptor, blob in ((config, b'{"name": "podinfo"}'), (layer, content), (provenance, b"signed")):
        storage.push(descriptor, BytesReader(blob))
    document = Document.author(
        Manifest(schema_version=2, media_type=MANIFEST, config=config, layers=(provenance, layer))
    )
    storage.push_document(document, (version.replace("+", "_"),))
    return document


def test_a_chart_of_a_registry_is_found_by_range_and_by_version(project: LocalProject) -> None:
    documents = {
        version: push_chart(project, version, chart("podinfo", version))
        for version in ("6.0.0", "6.10.1+build.5", "7.0.0-rc.1")
    }
    project.depend(
        exact={"helmChart": "podinfo", "repository": "acme/charts", "version": "6.10.1+build.5"},
        newest={"helmChart": "podinfo", "repository": "acme/charts"},
        old={"helmChart": "podinfo", "repository": "acme/charts", "version": "<6.1"},
    )
    project.sync()
    assert {name: entry["version"] for name, entry in project.lock.items()} == {
        "exact": "6.10.1+build.5",
        "newest": "6.10.1+build.5",
        "old": "6.0.0",
    }
    assert project.lock["old"]["digest"] == str(documents["6.0.0"].digest)
    assert set(project.files("vendor/old")) == {"Chart.yaml"}
    project.depend(old={"helmChart": "podinfo", "repository": "acme/charts", "version": ">=9"})
    refused(project, NotFound, "no-version-matched")
    project.publish("charts/podinfo", "9.0.0", {"a": "b"})
    refused(project, IntegrityError, "no-chart")
