"""The source `http`: files and archives from a web server, locked by their sha256."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provender.errors import (
    Denied,
    IntegrityError,
    InvalidProject,
    NotFound,
    ProvenderError,
    Unauthorized,
    Unavailable,
)
from provender.project.lock import LOCK_NAME, Lock
from provender.project.manifest import MANIFEST_NAME, Manifest
from provender.project.outlook import Outlook, look_out
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


def zipped(files: dict[str, bytes], *, modes: dict[str, int] | None = None) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            made.writestr(info, content)
    return raw.getvalue()


TAR = archive(file("top/a.txt", b"a"), file("top/bin/run", b"#!", mode=0o755))


def zstd(content: bytes) -> bytes:
    import sys

    if sys.version_info >= (3, 14):
        from compression import zstd as module
    else:
        from backports import zstd as module
    return bytes(module.compress(content))


@pytest.mark.parametrize("form", ["tar", "tar.gz", "tar.zst", "zip"])
def test_archives_of_every_form_make_the_same_tree(project: LocalProject, server: FilesServer, form: str) -> None:
    files = {"top/a.txt": b"a", "top/bin/run": b"#!"}
    server.files["/x"] = {
        "tar": lambda: TAR,
        "tar.gz": lambda: gzip.compress(TAR),
        "tar.zst": lambda: zstd(TAR),
        "zip": lambda: zipped(files, modes={"top/bin/run": stat.S_IFREG | 0o755}),
    }[form]()
    project.depend(x={"http": f"{server.url}/x", "root": "top"})
    assert project.actions() == {"vendor/x": "installed"}
    assert project.files("vendor/x") == {"a.txt": "a", "bin/run": "#!"}
    assert (project.path("vendor/x") / "bin/run").stat().st_mode & 0o777 == 0o755
    entry = project.lock["x"]
    assert list(entry) == ["source", "url", "selection", "sha256", "size", "tree", "to"]
    assert entry["sha256"] == hashlib.sha256(server.files["/x"]).hexdigest()
    assert entry["size"] == len(server.files["/x"])
    assert project.actions() == {"vendor/x": "unchanged"}
    assert server.paths == ["/x"]


def test_a_file_is_laid_under_its_name(project: LocalProject, server: FilesServer) -> None:
    server.files["/files/a%20b.yaml?v=1"] = b"content"
    server.files["/"] = b"root"
    project.depend(a={"http": f"{server.url}/files/a%20b.yaml?v=1"}, b={"http": f"{server.url}/"})
    project.sync()
    assert project.files("vendor/a") == {"a b.yaml": "content"}
    assert project.files("vendor/b") == {"content": "root"}


def test_copy_leaves_an_archive_as_it_is_and_extract_wants_one(project: LocalProject, server: FilesServer) -> None:
    server.files["/x.tar"] = TAR
    server.files["/x.txt"] = b"text"
    project.depend(x={"http": f"{server.url}/x.tar", "mode": "copy"})
    project.sync()
    assert (project.path("vendor/x") / "x.tar").read_bytes() == TAR
    project.depend(x={"http": f"{server.url}/x.tar", "mode": "extract"})
    assert project.actions() == {"vendor/x": "updated"}
    assert set(project.files("vendor/x")) == {"top/a.txt", "top/bin/run"}
    project.depend(x={"http": f"{server.url}/x.txt", "mode": "extract"})
    refused(project, IntegrityError, "no-archive")


def test_what_is_locked_comes_from_the_cache_and_never_with_other_content(
    project: LocalProject, server: FilesServer, tmp_path: Path
) -> None:
    server.files["/x"] = b"one"
    project.depend(x={"http": f"{server.url}/x"})
    project.sync()
    server.files["/x"] = b"two"
    (project.path("vendor/x") / "x").unlink()
    assert project.actions() == {"vendor/x": "repaired"}
    project.is_offline = True
    (project.path("vendor/x") / "x").unlink()
    assert project.actions(locked=True) == {"vendor/x": "repaired"}
    project.is_offline = False
    assert server.paths == ["/x"]
    for blob in (tmp_path / "cache/blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    (project.path("vendor/x") / "x").unlink()
    refused(project, IntegrityError, "digest-mismatch")
    assert project.actions(updating=True) == {"vendor/x": "updated"}


def test_the_sha256_of_the_manifest_is_enforced(project: LocalProject, server: FilesServer) -> None:
    server.files["/x"] = b"one"
    right = hashlib.sha256(b"one").hexdigest()
    project.depend(x={"http": f"{server.url}/x", "sha256": "0" * 64})
    assert right in refused(project, IntegrityError, "digest-mismatch").message
    project.depend(x={"http": f"{server.url}/x", "sha256": right})
    project.sync()
    project.depend(x={"http": f"{server.url}/x", "sha256": "0" * 64})
    refused(project, InvalidProject, "lock-stale", locked=True)


def test_a_login_is_taken_from_netrc_and_stays_with_its_host(
    project: LocalProject, server: FilesServer, tmp_path: Path
) -> None:
    server.login = "Basic " + base64.b64encode(b"me:secret").decode()
    server.files["/x"] = b"one"
    project.depend(x={"http": f"{server.url}/x"})
    refused(project, Unauthorized, "unauthorized")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\ndefault login a password b\n")
    (tmp_path / ".netrc").chmod(0o600)
    project.sync()
    with FilesServer() as other:
        other.files["/y"] = b"two"
        server.redirects["/y"] = other.url.replace("127.0.0.1", "localhost") + "/y"
        project.depend(x={"http": f"{server.url}/y"})
        project.sync()
        assert "authorization" not in other.asked[0][1]
    (tmp_path / ".netrc").write_text("machine\n")
    project.depend(x={"http": f"{server.url}/z"})
    refused(project, InvalidProject, "invalid-netrc")


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(404, NotFound, "not-found"), (403, Denied, "denied"), (418, Unavailable, "unusable-answer")],
)
def test_answers_that_are_no_file_are_told(
    project: LocalProject, server: FilesServer, status: int, kind: type[ProvenderError], code: str
) -> None:
    server.statuses["/x"] = status
    project.publish("a", "1.0.0", {"a": "a"})
    project.depend(a="acme/a:1.0.0", x={"http": f"{server.url}/x"})
    assert f"{server.url}/x" in (refused(project, kind, code).where or "")


def test_offline_asks_nobody(project: LocalProject, server: FilesServer) -> None:
    project.is_offline = True
    project.depend(x={"http": f"{server.url}/x"})
    refused(project, Unavailable, "offline")
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../x", "bad-name"),
        ("/etc/x", "bad-name"),
        ("a\\b", "bad-name"),
        ("nul", "bad-name"),
        ("a/../../b", "bad-name"),
        ("x" * 300, "bad-name"),
    ],
)
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_hostile_names_in_archives_are_refused(
    project: LocalProject, server: FilesServer, form: str, name: str, code: str
) -> None:
    server.files["/x"] = zipped({"ok": b"", name: b"evil"}) if form == "zip" else archive(file(name, b"evil"))
    project.depend(x={"http": f"{server.url}/x"})
    refused(project, IntegrityError, code)


def test_hostile_zips_are_refused(project: LocalProject, server: FilesServer) -> None:
    project.depend(x={"http": f"{server.url}/x"})
    server.files["/x"] = zipped({"a": b"../../etc"}, modes={"a": stat.S_IFLNK | 0o777})
    refused(project, IntegrityError, "bad-link")
    server.files["/x"] = zipped({"a": b""}, modes={"a": stat.S_IFIFO | 0o644})
    refused(project, IntegrityError, "special-file")
    server.files["/x"] = zipped({"A": b"", "a": b""})
    refused(project, IntegrityError, "case-collision")
    server.files["/x"] = zipped({"a": bytes(40 << 20)})
    refused(project, IntegrityError, "decompression-bomb")
    server.files["/x"] = zipped({"a": b"x"})[:-30]
    refused(project, IntegrityError, "bad-archive")


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"http": "ftp://example.com/x"}, "invalid-url"),
        ({"http": "example.com/x"}, "invalid-url"),
        ({"http": "https://"}, "invalid-url"),
        ({"http": "https://exa mple.com/x"}, "invalid-url"),
        ({"http": "https://example.com/x#frag"}, "invalid-url"),
        ({"http": "https://me:secret@example.com/x"}, "secret-in-url"),
        ({"http": "https://example.com/x", "sha256": "abc"}, "invalid-sha256"),
        ({"http": "https://example.com/x", "sha256": "sha256:" + "A" * 64}, "invalid-sha256"),
        ({"http": "https://example.com/x", "mode": "unpack"}, "invalid-value"),
        ({"http": "https://example.com/x", "sha": "x"}, "unknown-key"),
        ({"http": "https://example.com/..%2fx"}, "invalid-asset"),
        ({"http": "https://example.com/nul"}, "invalid-asset"),
    ],
)
def test_what_is_wrong_in_the_manifest_is_told_with_its_place(
    project: LocalProject, keys: dict[str, str], code: str
) -> None:
    project.depend(x=keys)
    before = project.look()
    with pytest.raises(InvalidProject) as caught:
        project.sync()
    assert caught.value.code == code
    assert "provender.yaml:" in (caught.value.where or "")
    assert "secret" not in str(caught.value)
    assert project.look() == before


def _outlook(project: LocalProject) -> tuple[Outlook, ...]:
    manifest = Manifest.load(project.directory / MANIFEST_NAME)
    lock = Lock.load(project.directory / LOCK_NAME) or Lock()
    return look_out(manifest, lock, project.sources())


def test_what_the_server_still_has_is_not_sent_again(project: LocalProject, server: FilesServer) -> None:
    server.files["/a.txt"], server.has_etags = b"alpha" * 1000, True
    project.depend(a={"http": f"{server.url}/a.txt"})
    project.sync()
    server.sent_bytes = 0
    assert [each.is_current for each in _outlook(project)] == [True]
    assert (server.sent_bytes, len(server.asked)) == (0, 2)
    server.files["/a.txt"] = b"beta" * 1000
    assert [each.is_update for each in _outlook(project)] == [True]
    assert server.sent_bytes == 4000


def test_what_the_cache_has_lost_is_sent_again(project: LocalProject, server: FilesServer) -> None:
    server.files["/a.txt"], server.has_etags = b"alpha" * 1000, True
    project.depend(a={"http": f"{server.url}/a.txt"})
    project.sync()
    shutil.rmtree(project.cache.root / "blobs")
    assert [each.is_current for each in _outlook(project)] == [True]
    assert server.sent_bytes == 10000
