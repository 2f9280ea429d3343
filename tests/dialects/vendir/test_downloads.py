"""Contents from HTTP, GitHub releases and chart repositories. Against vendir itself: tests/interop."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.releases import publish_release
from support.site import Site
from support.vendir import VendirProject


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "www") as running:
        yield running


def _contents(*lines: str) -> str:
    return "directories:\n- path: vendor\n  contents:\n  - path: app\n" + "".join(f"    {line}\n" for line in lines)


def _tgz(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def test_an_archive_is_unpacked_and_a_file_kept(project: VendirProject, site: Site) -> None:
    url = site.write("a.tgz", _tgz({"x/a.txt": "alpha"}))
    project.write(_contents(f"http: {{url: '{url}'}}"))
    project.sync()
    assert project.tree("vendor") == {"app/x/a.txt": "alpha"}
    plain = site.write("b.txt", b"beta")
    project.write(_contents(f"http: {{url: '{plain}'}}"))
    project.sync()
    assert project.tree("vendor") == {"app/b.txt": "beta"}


def test_another_checksum_changes_nothing(project: VendirProject, site: Site) -> None:
    url = site.write("b.txt", b"beta")
    right = hashlib.sha256(b"beta").hexdigest()
    project.write(_contents(f"http: {{url: '{url}', sha256: '{right}'}}"))
    project.sync()
    lock = project.lock
    asked = len(site.asked)
    project.sync()
    assert len(site.asked) == asked, "what a checksum pins is not asked for again"
    wrong = hashlib.sha256(b"gamma").hexdigest()
    project.write(_contents(f"http: {{url: '{url}', sha256: '{wrong}'}}"))
    result = project.run("sync")
    assert result.status == 1
    assert right in result.stderr
    assert wrong in result.stderr
    assert (project.tree("vendor"), project.lock) == ({"app/b.txt": "beta"}, lock)


def test_a_secret_logs_in_there_alone(project: VendirProject, tmp_path: Path) -> None:
    data = {"username": "admin", "password": "pass word"}
    encoded = ", ".join(f"{key}: {b64encode(value.encode()).decode()}" for key, value in data.items())
    secret = f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\ndata: {{{encoded}}}\n"
    with Site(tmp_path / "guarded", login=("admin", "pass word")) as guarded:
        url = guarded.write("b.txt", b"beta")
        project.write(_contents(f"http: {{url: '{url}', secretRef: {{name: login}}}}") + secret)
        project.sync()
        assert project.tree("vendor") == {"app/b.txt": "beta"}
        project.write(_contents(f"http: {{url: '{url}'}}") + secret)
        assert project.run("sync").status == 1
        assert guarded.authorizations[-1] is None


def test_a_release_is_checked_by_the_sums_in_its_notes(project: VendirProject, site: Site) -> None:
    url = publish_release(site, "v1", {"x.txt": b"x", "y.bin": b"y"})
    project.write(_contents(f"githubRelease: {{slug: o/r, url: '{url}', assetNames: ['*.txt']}}"))
    project.sync()
    assert project.tree("vendor") == {"app/x.txt": "x"}
    assert f"url: {url}\n" in project.lock
    site.write("repos/o/r/releases/assets/v1/x.txt", b"z")
    project.write(_contents(f"githubRelease: {{slug: o/r, url: '{url}'}}"))
    result = project.run("sync")
    assert result.status == 1
    assert "x.txt" in result.stderr
    assert project.tree("vendor") == {"app/x.txt": "x"}


def test_a_chart_is_chosen_from_the_index(project: VendirProject, site: Site) -> None:
    versions = ("1.0.0", "1.2.0", "2.0.0")
    for version in versions:
        chart = f"name: demo\nversion: {version}\nappVersion: v9\n"
        site.write(f"charts/demo-{version}.tgz", _tgz({"demo/Chart.yaml": chart, "demo/values.yaml": version}))
    entries = [{"name": "demo", "version": each, "urls": [f"charts/demo-{each}.tgz"]} for each in versions]
    site.write("index.yaml", json.dumps({"apiVersion": "v1", "entries": {"demo": entries}}).encode())
    project.write(_contents(f"helmChart: {{name: demo, version: ^1, repository: {{url: '{site.url}'}}}}"))
    project.sync()
    assert project.tree("vendor")["app/values.yaml"] == "1.2.0"
    assert "appVersion: v9\n" in project.lock
    assert "version: 1.2.0\n" in project.lock


def test_a_lock_that_cannot_be_written_takes_everything_back(project: VendirProject) -> None:
    project.write(_contents("inline: {paths: {a.txt: alpha}}"))
    project.sync()
    project.write(_contents("inline: {paths: {a.txt: beta}}"))
    (project.directory / "vendir.lock.yml").unlink()
    (project.directory / "vendir.lock.yml").mkdir()
    assert project.run("sync").status != 0
    assert project.tree("vendor") == {"app/a.txt": "alpha"}
    assert sorted(each.name for each in project.directory.iterdir()) == [
        ".provender",
        "vendir.lock.yml",
        "vendir.yml",
        "vendor",
    ]
