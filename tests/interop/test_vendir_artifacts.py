"""`ociArtifact` on artifacts that others pushed: oras, helm, and the shape that Flux gives its own."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from interop.programs import Program
from interop.registries import PASSWORD, USER, Registry
from support.vendir import VendirProject

pytestmark = pytest.mark.interop

FLUX_CONTENT = "application/vnd.cncf.flux.content.v1.tar+gzip"
FLUX_CONFIG = "application/vnd.cncf.flux.config.v1+json"


@pytest.fixture
def project(tmp_path: Path) -> VendirProject:
    directory = tmp_path / "project"
    directory.mkdir()
    return VendirProject(directory)


def _tgz(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with gzip.GzipFile(fileobj=held, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return held.getvalue()


def _push_flux(oras: Program, repository: str, tag: str, work: Path, files: dict[str, bytes]) -> None:
    """As `flux push artifact` does: one archive without a title, a config of Flux's own."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "layer").write_bytes(_tgz(files))
    (work / "config").write_bytes(b"{}")
    oras.run(
        "push",
        "--plain-http",
        "--config",
        f"config:{FLUX_CONFIG}",
        "--disable-path-validation",
        f"{repository}:{tag}",
        f"layer:{FLUX_CONTENT}",
        cwd=work,
    )


def _config(source: str, more: str = "") -> str:
    return f"directories:\n- path: vendor\n  contents:\n  - path: a\n    ociArtifact: {source}\n{more}"


def test_a_flux_artifact_is_extracted_and_locked_by_digest(
    repository: str, oras: Program, crane: Program, project: VendirProject, tmp_path: Path
) -> None:
    _push_flux(oras, repository, "latest", tmp_path / "w", {"s/a.json": b"{}", "s/b.yaml": b"b", "README": b"r"})
    project.write(
        _config(
            f"{{image: {repository}, mediaTypes: ['{FLUX_CONTENT}'], artifactType: {FLUX_CONFIG}, layers: extract}}",
            "    includePaths: ['**/*.json']\n    newRootPath: s\n",
        )
    )
    project.sync()
    assert project.tree("vendor") == {"a/a.json": "{}"}
    digest = crane.run("digest", f"{repository}:latest")
    assert project.lock == (
        "apiVersion: vendir.k14s.io/v1alpha1\ndirectories:\n- contents:\n  - ociArtifact:\n"
        f"      artifactType: {FLUX_CONFIG}\n      image: {repository}@{digest}\n      tag: latest\n    path: a\n"
        "  path: vendor\nkind: LockConfig\n"
    )
    _push_flux(oras, repository, "latest", tmp_path / "w", {"s/new.json": b"n"})
    before = project.lock
    project.sync("--locked")
    assert project.lock == before
    assert project.tree("vendor") == {"a/a.json": "{}"}
    project.sync()
    assert project.tree("vendor") == {"a/new.json": "n"}


def test_files_and_directories_of_oras_are_laid_by_their_titles(
    repository: str, oras: Program, project: VendirProject, tmp_path: Path
) -> None:
    source = tmp_path / "src"
    (source / "dir/deep").mkdir(parents=True)
    (source / "dir/deep/x.txt").write_text("x")
    (source / "one.txt").write_text("1")
    (source / "two.rego").write_text("2")
    oras.run(
        "push", "--plain-http", f"{repository}:v1", "one.txt:text/plain", "two.rego:application/rego", "dir", cwd=source
    )
    project.write(_config(f"{{image: '{repository}', tag: v1}}"))
    project.sync()
    assert project.tree("vendor/a") == {"dir/deep/x.txt": "x", "one.txt": "1", "two.rego": "2"}
    project.write(_config(f"{{image: '{repository}:v1', mediaTypes: ['application/rego', 'text/*']}}"))
    project.sync()
    assert project.tree("vendor/a") == {"one.txt": "1", "two.rego": "2"}
    project.write(_config(f"{{image: '{repository}:v1', mediaTypes: ['application/nothing']}}"))
    failed = project.run("sync")
    assert failed.status == 1
    assert "text/plain" in failed.stderr
    assert project.tree("vendor/a") == {"one.txt": "1", "two.rego": "2"}


def test_a_tag_is_selected_by_version(repository: str, oras: Program, project: VendirProject, tmp_path: Path) -> None:
    for tag in ("1.0.0", "v1.4.0", "2.0.0-rc.1", "x-9.0.0", "latest"):
        _push_flux(oras, repository, tag, tmp_path / tag, {"v": tag.encode()})
    project.write(_config(f"{{image: {repository}, tagSelection: {{semver: {{constraints: '>=1.0.0'}}}}}}"))
    project.sync()
    assert project.tree("vendor/a") == {"v": "v1.4.0"}
    project.write(
        _config(f"{{image: {repository}, tagFilter: '^[0-9]', tagSelection: {{semver: {{prereleases: {{}}}}}}}}")
    )
    project.sync()
    assert project.tree("vendor/a") == {"v": "2.0.0-rc.1"}
    assert "tag: 2.0.0-rc.1" in project.lock


def test_a_digest_outranks_a_tag(
    repository: str, oras: Program, crane: Program, project: VendirProject, tmp_path: Path
) -> None:
    _push_flux(oras, repository, "one", tmp_path / "1", {"v": b"1"})
    _push_flux(oras, repository, "two", tmp_path / "2", {"v": b"2"})
    digest = crane.run("digest", f"{repository}:one")
    project.write(_config(f"{{image: {repository}, tag: two, digest: '{digest}'}}"))
    project.sync()
    assert project.tree("vendor/a") == {"v": "1"}
    assert f"@{digest}\n      tag: two\n" in project.lock


def test_charts_of_helm_are_laid_with_and_without_unpacking(
    repository: str, helm: Program, project: VendirProject, tmp_path: Path
) -> None:
    helm.run("create", "demo", cwd=tmp_path)
    helm.run("package", "demo", "--version", "1.2.3", cwd=tmp_path)
    helm.run("push", tmp_path / "demo-1.2.3.tgz", f"oci://{repository}", "--plain-http")
    project.write(_config(f"{{image: {repository}/demo, tag: 1.2.3}}", "    newRootPath: demo\n"))
    project.sync()
    assert project.tree("vendor/a")["Chart.yaml"].startswith("apiVersion: v2")
    project.write(_config(f"{{image: {repository}/demo, tag: 1.2.3, layers: copy, includeConfig: true}}"))
    project.sync()
    laid = project.directory / "vendor/a"
    assert sorted(path.name for path in laid.iterdir()) == ["config.json", "demo-1.2.3.tgz"]
    assert (laid / "demo-1.2.3.tgz").read_bytes() == (tmp_path / "demo-1.2.3.tgz").read_bytes()
    assert json.loads((laid / "config.json").read_text())["version"] == "1.2.3"
    project.write(
        "directories:\n- path: vendor\n  contents:\n  - path: a\n    helmChart:\n"
        f"      {{name: demo, version: '~1.2', repository: {{url: 'oci://{repository}'}}}}\n"
    )
    project.sync()
    helm.run("pull", f"oci://{repository}/demo", "--version", "1.2.3", "--plain-http", "--untar", "-d", tmp_path / "h")
    assert project.tree("vendor/a") == {
        str(path.relative_to(tmp_path / "h/demo")): path.read_text()
        for path in (tmp_path / "h/demo").rglob("*")
        if path.is_file()
    }
    assert "  - helmChart:\n      appVersion: 1.16.0\n      version: 1.2.3\n" in project.lock


@pytest.mark.parametrize("kind", ["opaque", "with-host", "docker"])
def test_secrets_of_both_kinds_open_a_guarded_registry(
    guarded: Registry, oras: Program, project: VendirProject, tmp_path: Path, kind: str
) -> None:
    host = guarded.host
    (tmp_path / "f.txt").write_text("f")
    oras.run(
        "push", "--plain-http", "-u", USER, "-p", PASSWORD, f"{host}/team/{kind}:1", "f.txt:text/plain", cwd=tmp_path
    )

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    fields = {"username": encoded(USER), "password": encoded(PASSWORD)}
    line = ""
    if kind == "with-host":
        fields["hostname"] = encoded(host)
    if kind == "docker":
        login = {host: {"username": USER, "password": PASSWORD}, "other.example": {"auth": encoded("a:b")}}
        fields = {".dockerconfigjson": encoded(json.dumps({"auths": login}))}
        line = "type: kubernetes.io/dockerconfigjson\n"
    text = _config(f"{{image: '{host}/team/{kind}', tag: '1', secretRef: {{name: s}}}}")
    project.write(f"{text}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{line}data: {json.dumps(fields)}\n")
    project.sync()
    assert project.tree("vendor/a") == {"f.txt": "f"}
    project.write(text.replace(", secretRef: {name: s}", "").replace("path: a", "path: b"))
    refused = project.run("sync")
    assert refused.status == 1
    assert PASSWORD not in refused.stderr
    assert project.tree("vendor") == {"a/f.txt": "f"}
