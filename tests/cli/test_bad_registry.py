"""Registries that lack, refuse or garble: `sync` and `pull` say what, where and how to fix it, and change nothing."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.archives import archive, file, symlink
from support.registry import Action, Corrupt, SetHeader, Status, TestRegistry, Truncate, digest_of
from support.workspace import ARCHIVE, OCTETS, Workspace, everything, layer, packed, publish, refused

INDEX = "application/vnd.oci.image.index.v1+json"
CONTENT = b"content of the bad one\n" * 100
BAD = "acme/bad"


def bad_one(registry: TestRegistry) -> str:
    """An artifact with one layer, whose digest is returned."""
    publish(registry, BAD, "1.0.0", {"bad.txt": CONTENT})
    return digest_of(CONTENT)


def refuse_both(synced: Workspace, status: int, code: str, *, pull: str = "acme/bad:1.0.0") -> str:
    """What the errors of a sync and of a pull say; both leave everything as it was, the cache included."""
    out = synced.directory / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    before = synced.look()
    said = []
    for arguments in (["sync"], ["pull", pull, "-o", "out"]):
        error = refused(synced.json(*arguments), status, code)
        said.append(f"{error['message']}\n{error['where']}\n{error['hint']}")
        assert synced.look() == before
    assert f"{synced.directory / 'provender.yaml'}:" in said[0]
    synced.check_cache()
    synced.check_no_leftovers()
    return "\n".join(said)


# --- what is not there


def test_no_tag_in_range_lists_the_nearest(synced: Workspace) -> None:
    for tag in ("0.9.0", "1.2.0", "1.10.0", "2.0.0-rc.1", "latest", "7.0.0"):
        publish(synced.registry, BAD, tag, {"a": b"a"})
    synced.depend(good="acme/good:1.0.0", bad={"oci": "acme/bad", "version": ">=2, <3"})
    before = synced.look()
    error = refused(synced.json("sync"), 66, "no-version-matched")
    assert error["message"] == "no tag of acme/bad is in the range '>=2, <3'"
    assert error["hint"].startswith("nearest of its 6 tags: ")
    assert "1.10.0" in error["hint"]
    assert error["where"].startswith(f"{synced.directory / 'provender.yaml'}:")
    assert synced.look() == before


def test_a_repository_without_tags_says_so(synced: Workspace) -> None:
    publish(synced.registry, BAD, None, {"a": b"a"})
    synced.depend(bad={"oci": "acme/bad", "version": "1"})
    error = refused(synced.json("sync"), 66, "no-version-matched")
    assert "its 0 tags: none" in error["hint"]


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("acme/good:9.9.9", "manifest-not-found"),
        (f"acme/good@{digest_of(b'nothing')}", "manifest-not-found"),
        ("acme/nothing:1.0.0", "repository-not-found"),
    ],
)
def test_an_artifact_that_is_missing(synced: Workspace, reference: str, code: str) -> None:
    synced.depend(good="acme/good:1.0.0", bad=reference)
    said = refuse_both(synced, 66, code, pull=reference)
    assert synced.registry.host in said
    assert "check repository, tag and digest" in said
    assert "provender login" in said


def test_a_blob_that_is_missing(synced: Workspace) -> None:
    digest = bad_one(synced.registry)
    del synced.registry.content.repository(BAD).blobs[digest]
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    assert digest in refuse_both(synced, 66, "blob-not-found")


# --- who may not


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_401_without_credentials_says_how_to_log_in(synced: Workspace, auth: str) -> None:
    bad_one(synced.registry)
    synced.registry.auth = "basic" if auth == "basic" else "token"
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    said = refuse_both(synced, 77, "no-credentials")
    assert f"provender login {synced.registry.host}" in said


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_401_with_credentials_says_which_ones_were_refused(synced: Workspace, home: Path, auth: str) -> None:
    bad_one(synced.registry)
    config = home / ".docker/config.json"
    config.parent.mkdir()
    wrong = {"auths": {synced.registry.host: {"username": "tester", "password": "wr0ng-pass"}}}
    config.write_text(json.dumps(wrong))
    synced.registry.auth = "basic" if auth == "basic" else "token"
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    said = refuse_both(synced, 77, "credentials-refused")
    assert str(config) in said
    assert "wr0ng-pass" not in said


def test_403_is_no_question_of_logging_in_again(synced: Workspace) -> None:
    bad_one(synced.registry)
    body = b'{"errors": [{"code": "DENIED", "message": "requested access is denied"}]}'
    synced.registry.fault(("GET", "/v2/acme/bad/"), action=Status(403, body=body), times=9)
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    assert "requested access is denied" in refuse_both(synced, 77, "denied")


def test_a_long_rate_limit_is_told_at_once(synced: Workspace) -> None:
    bad_one(synced.registry)
    limited = Status(429, headers={"Retry-After": "86400"})
    synced.registry.fault(("GET", "/v2/acme/bad/"), action=limited, times=2)
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    assert "86400 s" in refuse_both(synced, 75, "rate-limited")
    assert synced.registry.count("GET", "/v2/acme/bad/") == 2


# --- what is not what it should be


@pytest.mark.parametrize(
    ("action", "status", "code"),
    [
        # The verdict on bytes is final: each is asked for once per run.
        (Corrupt(7), 65, "digest-mismatch"),
        (SetHeader("Content-Length", str(len(CONTENT) - 1)), 65, "size-mismatch"),
        (Status(200, headers={"Content-Length": "5"}, body=CONTENT[:5]), 65, "size-mismatch"),
        (Status(200, headers={"Content-Type": "text/html"}, body=b"<html>in</html>"), 69, "not-a-registry-response"),
    ],
    ids=["wrong bytes", "shorter", "cut in the registry", "web page"],
)
def test_a_blob_that_is_garbled(synced: Workspace, action: Action, status: int, code: str) -> None:
    digest = bad_one(synced.registry)
    synced.registry.fault(("GET", f"/blobs/{digest}"), action=action, times=2)
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    said = refuse_both(synced, status, code)
    assert BAD in said
    assert synced.registry.count("GET", f"/blobs/{digest}") == 2
    # The registry is well again, and so is everything here.
    synced.prepare("sync")
    assert (synced.directory / "vendor/bad/bad.txt").read_bytes() == CONTENT


def test_a_blob_that_breaks_off_and_cannot_be_resumed_is_refused(synced: Workspace) -> None:
    digest = bad_one(synced.registry)
    for _ in range(2):
        synced.registry.fault(("GET", f"/blobs/{digest}"), action=Truncate(1000))
        synced.registry.fault(("GET", f"/blobs/{digest}"), action=Status(404))
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    said = refuse_both(synced, 75, "content-vanished")
    assert digest in said
    synced.prepare("sync")
    assert (synced.directory / "vendor/bad/bad.txt").read_bytes() == CONTENT


def test_a_blob_that_breaks_off_is_resumed_where_it_stopped(synced: Workspace) -> None:
    digest = bad_one(synced.registry)
    synced.registry.fault(("GET", f"/blobs/{digest}"), action=Truncate(1000))
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    synced.prepare("sync")
    assert (synced.directory / "vendor/bad/bad.txt").read_bytes() == CONTENT
    first, second = synced.registry.asked("GET", f"/blobs/{digest}")
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=1000-"


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_manifest_that_lies_about_a_size(synced: Workspace, difference: int) -> None:
    entry = layer(synced.registry, BAD, CONTENT, title="bad.txt")
    publish(synced.registry, BAD, "1.0.0", layers=[{**entry, "size": len(CONTENT) + difference}])
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    said = refuse_both(synced, 65, "size-mismatch")
    assert f"{len(CONTENT)} bytes" in said
    assert f"{len(CONTENT) + difference} bytes" in said


def test_a_manifest_with_other_bytes_than_its_digest(synced: Workspace) -> None:
    digest = publish(synced.registry, BAD, "1.0.0", {"bad.txt": CONTENT})
    other = publish(synced.registry, BAD, None, {"other.txt": CONTENT})
    stored = synced.registry.content.repository(BAD).manifests
    stored[digest] = stored[other]
    reference = f"acme/bad@{digest}"
    synced.depend(good="acme/good:1.0.0", bad=reference)
    assert digest in refuse_both(synced, 65, "digest-mismatch", pull=reference)


def test_a_digest_header_that_is_wrong_is_told_and_not_believed(synced: Workspace) -> None:
    digest = publish(synced.registry, BAD, "1.0.0", {"bad.txt": CONTENT})
    lie = SetHeader("Docker-Content-Digest", digest_of(b"another"))
    synced.registry.fault(("GET", "/manifests/1.0.0"), action=lie)
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    result = synced.succeed("sync")
    assert result.stderr.count("warning: ") == 1
    assert synced.registry.host in result.stderr
    assert synced.lock["bad"]["digest"] == digest


@pytest.mark.parametrize(
    "raw",
    [b"[]", b"{", b'{"schemaVersion": 2, "layers": "x"}', b'{"schemaVersion":2,"layers":[{"digest":"sha256:x"}]}'],
)
def test_a_manifest_that_is_none(synced: Workspace, raw: bytes) -> None:
    synced.registry.push_manifest(BAD, raw, tag="1.0.0")
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    is_json = raw[:1] == b"{" and len(raw) > 1
    refuse_both(synced, 65, "invalid-document" if is_json else "invalid-json")


def test_a_captive_portal_is_no_registry(synced: Workspace) -> None:
    bad_one(synced.registry)
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    synced.registry.html = True
    said = refuse_both(synced, 69, "not-a-registry-response")
    assert "Please sign in" in said
    assert "\x1b" not in said


def test_a_registry_in_trouble_is_asked_again_and_then_given_up(synced: Workspace) -> None:
    bad_one(synced.registry)
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    for _ in range(2):
        synced.registry.fault(("GET", "/manifests/"), action=Status(503, headers={"Retry-After": "0"}))
        synced.registry.fault(("GET", "/manifests/"), action=Status(503, headers={"Retry-After": "86400"}))
    said = refuse_both(synced, 75, "registry-unavailable")
    assert "503" in said
    assert synced.registry.count("GET", "/manifests/") == 4
    synced.prepare("sync")


def test_a_registry_that_is_gone(project: Workspace, tmp_path: Path) -> None:
    with TestRegistry() as gone:
        host = gone.host
    project.depend(bad=f"{host}/acme/bad:1.0.0")
    before = project.look()
    error = refused(project.json("sync"), 75, "connection-connect")
    assert error["retryable"] is True
    assert host in error["message"]
    assert project.look() == before


# --- platforms


def index_of(registry: TestRegistry, platforms: list[tuple[str, str]]) -> None:
    children = []
    for system, architecture in platforms:
        digest = publish(registry, BAD, None, {"which.txt": f"{system}/{architecture}".encode()})
        raw = registry.manifest(BAD, digest)
        assert raw is not None
        entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": len(raw)}
        children.append({**entry, "platform": {"os": system, "architecture": architecture}})
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode()
    registry.push_manifest(BAD, body, INDEX, tag="1.0.0")


def test_an_index_without_the_platform_lists_those_it_has(synced: Workspace) -> None:
    index_of(synced.registry, [("linux", "s390x"), ("plan9", "mips")])
    synced.depend(good="acme/good:1.0.0", bad={"oci": "acme/bad", "tag": "1.0.0", "platform": "linux/riscv64"})
    before = synced.look()
    for arguments in (["sync"], ["pull", "acme/bad:1.0.0", "--platform", "linux/riscv64"], ["pull", "acme/bad:1.0.0"]):
        error = refused(synced.json(*arguments), 66, "no-matching-platform")
        assert "linux/s390x" in error["hint"]
        assert "plan9/mips" in error["hint"]
        assert synced.look() == before


def test_a_lock_is_not_for_this_machine_alone_so_a_platform_has_to_be_named(synced: Workspace) -> None:
    index_of(synced.registry, [("linux", "amd64"), ("linux", "arm64")])
    synced.depend(bad="acme/bad:1.0.0")
    refused(synced.json("sync"), 66, "no-matching-platform")
    synced.depend(bad={"oci": "acme/bad", "tag": "1.0.0", "platform": "linux/arm64"})
    synced.prepare("sync")
    assert (synced.directory / "vendor/bad/which.txt").read_text() == "linux/arm64"


# --- hostile archives


def climbing() -> bytes:
    return archive(file("ok.txt", b"ok"), file("../../../evil.txt", b"evil"))


def absolute() -> bytes:
    return archive(file("/tmp/provender-evil.txt", b"evil"))


def linked() -> bytes:
    return archive(symlink("door", "../.."), file("door/evil.txt", b"evil"))


def device() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        info = tarfile.TarInfo("null")
        info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(info)
    return held.getvalue()


@pytest.mark.parametrize("make", [climbing, absolute, linked, device])
def test_a_hostile_archive_lays_nothing_anywhere(synced: Workspace, tmp_path: Path, make: Callable[[], bytes]) -> None:
    publish(synced.registry, BAD, "1.0.0", layers=[layer(synced.registry, BAD, make(), media_type=ARCHIVE)])
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    before = everything(tmp_path, without=("cache",))
    for arguments in (["sync"], ["pull", "acme/bad:1.0.0", "-o", "out"]):
        result = synced.json(*arguments)
        error = result.error
        assert result.status == 65, error
        assert error["where"]
        assert error["hint"], error
        after = everything(tmp_path, without=("cache",))
        assert {name for name in after if "evil" in name} == set()
        assert {name: seen for name, seen in after.items() if ".provender" not in name} == {
            name: seen for name, seen in before.items() if ".provender" not in name
        }
    assert not Path("/tmp/provender-evil.txt").exists()
    synced.check_no_leftovers()


def test_a_gzip_that_breaks_off_is_refused_though_its_digest_is_right(synced: Workspace) -> None:
    whole = packed({"a.txt": b"a" * 100_000})
    broken = layer(synced.registry, BAD, whole[:-20], media_type=ARCHIVE)
    publish(synced.registry, BAD, "1.0.0", layers=[broken])
    synced.depend(good="acme/good:1.0.0", bad="acme/bad:1.0.0")
    result = synced.json("sync")
    assert result.status == 65
    assert not (synced.directory / "vendor/bad").exists()
    synced.check_no_leftovers()


def test_the_wrong_type_names_both(synced: Workspace) -> None:
    publish(synced.registry, BAD, "1.0.0", {"a": b"a"}, artifact_type="application/vnd.test.other")
    wish = {"oci": "acme/bad", "tag": "1.0.0", "artifactType": "application/vnd.test.wanted"}
    synced.depend(good="acme/good:1.0.0", bad=wish)
    before = synced.look()
    error = refused(synced.json("sync"), 78, "wrong-artifact-type")
    assert "application/vnd.test.other" in error["message"]
    assert "application/vnd.test.wanted" in error["message"]
    assert synced.look() == before


def test_a_pattern_that_takes_nothing_is_an_error(synced: Workspace) -> None:
    bad_one(synced.registry)
    for key, value, status in (
        ("include", ["*.nothing"], None),
        ("root", "nowhere", None),
        ("layers", {"mediaTypes": ["text/*"]}, 66),
    ):
        synced.depend(bad={"oci": "acme/bad", "tag": "1.0.0", key: value})
        before = synced.look()
        result = synced.json("sync")
        assert result.status in ((status,) if status else (65, 66, 78)), (key, result.stderr)
        assert result.error["message"]
        assert result.error["where"]
        assert result.error["hint"], (key, result.error)
        assert synced.look() == before


def test_octets_without_a_name_are_refused_or_named_but_never_lost(synced: Workspace) -> None:
    publish(synced.registry, BAD, "1.0.0", layers=[layer(synced.registry, BAD, b"raw", media_type=OCTETS)])
    synced.depend(bad="acme/bad:1.0.0")
    synced.prepare("sync")
    assert [path.read_bytes() for path in (synced.directory / "vendor/bad").iterdir()] == [b"raw"]
