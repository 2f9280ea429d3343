"""Side by side with the real vendir: the same vendir.yml gives the same files, modes, lock, output and exit status.

What differs on purpose is in docs/vendir.md; here the repository's own `.git`, and the executable bit of files from
archives, which vendir drops, are left out of the comparison.
"""

from __future__ import annotations

import base64
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.programs import Program, program
from interop.registries import PASSWORD, USER, Registries
from support.git_repository import GitRepository
from support.lfs import LfsRepository
from support.releases import publish_release
from support.site import Site
from support.ssh_server import SshServer
from support.vendir import HEAD, vendir
from support.vendir_cases import CONFIGURATIONS, TAKEN_BY_VENDIR

pytestmark = pytest.mark.interop

_EXECUTABLE = 0o111


class Twins:
    """Two directories with the same content: one for each of the two."""

    def __init__(self, directory: Path, theirs: Program, environment: dict[str, str]) -> None:
        self.theirs, self.ours = directory / "theirs", directory / "ours"
        self.theirs.mkdir()
        self.ours.mkdir()
        self._program = theirs
        self._environment = environment

    def write(self, name: str, content: str) -> None:
        for place in (self.theirs, self.ours):
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def configure(self, text: str) -> None:
        self.write("vendir.yml", HEAD + text)

    def run(self, *arguments: str, keeps_executable: bool = False) -> int:
        """The exit status of both, whose outcome is the same."""
        theirs = self._program.attempt(*arguments, cwd=self.theirs, env=self._environment)
        ours = vendir(*arguments, cwd=self.ours, env=self._environment)
        assert (ours.status, ours.stdout) == (theirs.returncode, theirs.stdout.decode()), (
            ours.stderr + theirs.stderr.decode()
        )
        if ours.status == 0:
            assert _tree(self.ours, keeps_executable) == _tree(self.theirs, keeps_executable)
        return ours.status


def _tree(root: Path, keeps_executable: bool) -> dict[str, tuple[str, int, bytes]]:
    """Kind, mode and content of everything below `root`."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for place, directories, names in os.walk(root):
        directories[:] = [name for name in directories if name not in (".git", ".provender")]
        for name in (*directories, *names):
            path = Path(place, name)
            mode = stat.S_IMODE(path.lstat().st_mode)
            if path.is_symlink():
                found[str(path.relative_to(root))] = ("link", 0, os.fsencode(os.readlink(path)))
            elif path.is_dir():
                found[str(path.relative_to(root))] = ("directory", mode, b"")
            elif name != ".git":
                mode &= ~_EXECUTABLE if keeps_executable else 0o7777
                found[str(path.relative_to(root))] = ("file", mode, path.read_bytes())
    return found


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    theirs = program("vendir")
    path = os.environ["PATH"]
    found = shutil.which("helm")
    helm = program("helm") if found is None else None
    if helm is not None:
        path = f"{helm.path.parent}:{path}"
    environment = {
        "PATH": path,
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "protocol.file.allow",
        "GIT_CONFIG_VALUE_0": "always",
        "GIT_CONFIG_KEY_1": "init.defaultBranch",
        "GIT_CONFIG_VALUE_1": "main",
    }
    return Twins(tmp_path, theirs, environment)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "www") as running:
        yield running


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    made = GitRepository(tmp_path / "source")
    made.commit('first: "x" # y\n\nmore', {"LICENSE": "free", "a.txt": "1", "d/b.txt": "2"}, tag="v1.0.0")
    (made.path / "run.sh").write_text("#!/bin/sh\n")
    (made.path / "run.sh").chmod(0o755)
    (made.path / "link").symlink_to("d/b.txt")
    made.commit("second", {"e/f/g.md": "3"}, tag="v1.1.0-rc.1")
    made.git("checkout", "--quiet", "-b", "side")
    made.commit("on the side " + "and more " * 15, {"side.txt": "s"})
    made.git("checkout", "--quiet", "main")
    made.commit("yes", {"a.txt": "changed"})
    return made


def test_inline_directory_and_manual(twins: Twins) -> None:
    for place in (twins.theirs, twins.ours):
        source = place / "src/deep"
        source.mkdir(parents=True)
        (source / "a.txt").write_text("a")
        (source / "run").write_text("x")
        (source / "run").chmod(0o750)
        (source / "link").symlink_to("a.txt")
        source.chmod(0o711)
        (place / "vendor/mine").mkdir(parents=True)
        (place / "vendor/mine/kept").write_text("kept")
        (place / "vendor/extra").write_text("gone")
    twins.configure(
        "directories:\n- path: vendor\n  permissions: 0750\n  contents:\n  - {path: mine, manual: {}}\n"
        "  - path: copy\n    directory: {path: src}\n  - path: in/line\n    permissions: 0711\n    inline:\n"
        "      paths: {a/b.txt: text, 'yes': on}\n      pathsFrom: [{secretRef: {name: s, directoryPath: p}}]\n"
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: dmFsdWU=}\n"
    )
    assert twins.run("sync") == 0
    assert twins.run("sync", "--locked") == 0
    assert twins.run("sync", "-d", "vendor/copy") == 0
    assert twins.run("sync", "-d", "vendor/copy=src/deep") == 0
    assert twins.run("sync", "--json") in (0, 1)


def test_filters_roots_and_ignored_files(twins: Twins, repository: GitRepository) -> None:
    twins.configure(
        "directories:\n- path: vendor\n  contents:\n"
        f"  - path: md\n    git: {{url: '{repository.path}', ref: origin/main}}\n    includePaths: ['**/*.md']\n"
        f"  - path: root\n    git: {{url: '{repository.path}', ref: v1.0.0}}\n    newRootPath: d\n"
        f"  - path: none\n    git: {{url: '{repository.path}', ref: v1.0.0}}\n    legalPaths: []\n"
        "    excludePaths: ['{a,x}.txt', '.git/**/*']\n    ignorePaths: ['d/*']\n"
    )
    assert twins.run("sync") == 0
    for place in (twins.theirs, twins.ours):
        (place / "vendor/none/d/b.txt").write_text("mine")
        (place / "vendor/none/d/new").write_text("new")
        (place / "vendor/none/other").write_text("gone")
    assert twins.run("sync") == 0


@pytest.mark.parametrize(
    "source",
    [
        "ref: origin/main",
        "ref: main",
        "ref: origin/side",
        "ref: v1.0.0",
        "ref: SHA",
        "ref: SHORT",
        "ref: v1.1.0-rc.1^",
        "refSelection: {semver: {constraints: '>=0.1.0'}}",
        "refSelection: {semver: {constraints: '1.x', prereleases: {}}}",
        "refSelection: {semver: {prereleases: {identifiers: [rc]}}}",
        "ref: origin/main, depth: 1",
        "ref: origin/main, depth: 2",
        "ref: origin/main, lfsSkipSmudge: true, skipInitSubmodules: true",
    ],
)
def test_git(twins: Twins, repository: GitRepository, source: str) -> None:
    sha = repository.git("rev-parse", "side")
    source = source.replace("SHA", f'"{sha}"').replace("SHORT", f'"{sha[:10]}"')
    twins.configure(
        "directories:\n- path: vendor\n  contents:\n  - path: g\n"
        f"    git: {{url: 'file://{repository.path}', {source}}}\n"
    )
    assert twins.run("sync") == 0
    assert twins.run("sync", "--locked") == 0


def test_git_submodules(twins: Twins, repository: GitRepository, tmp_path: Path) -> None:
    outer = GitRepository(tmp_path / "outer")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repository.path), "sub/mod")
    outer.commit("with a submodule", {"top.txt": "t"}, tag="v2.0.0")
    text = (
        "directories:\n- path: vendor\n  contents:\n  - path: g\n"
        "    git: {url: 'URL', ref: v2.0.0, skipInitSubmodules: X}\n"
    )
    for skips in ("false", "true"):
        twins.configure(text.replace("URL", str(outer.path)).replace("X", skips))
        assert twins.run("sync") == 0


def _archives() -> dict[str, bytes]:
    files = {"top/a.txt": b"a", "top/run.sh": b"#!/bin/sh\n", "LICENSE": b"free"}
    plain, zipped, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar, tarfile.open(fileobj=zipped, mode="w:gz") as tgz:
        for archive in (tar, tgz):
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), 0o755 if name.endswith(".sh") else 0o644
                archive.addfile(info, io.BytesIO(content))
            empty = tarfile.TarInfo("empty")
            empty.type = tarfile.DIRTYPE
            archive.addfile(empty)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zip_:
        for name, content in files.items():
            zip_.writestr(name, content)
    return {"a.tar": plain.getvalue(), "a.tgz": zipped.getvalue(), "a.zip": packed.getvalue(), "plain.txt": b"text"}


@pytest.mark.parametrize(
    ("key", "hosts", "status"), [("right", "right", 0), ("wrong", "right", 1), ("right", "wrong", 1)]
)
def test_git_over_ssh(
    twins: Twins, repository: GitRepository, tmp_path: Path, key: str, hosts: str, status: int
) -> None:
    sshd = program("openssh").path
    with SshServer(tmp_path / "right", sshd) as server, SshServer(tmp_path / "wrong", sshd) as other:
        fields = {
            "ssh-privatekey": (tmp_path / key / "user-key").read_bytes(),
            "ssh-knownhosts": (server if hosts == "right" else other).known_hosts_of(server.port).encode(),
        }
        data = "".join(f"  {name}: {base64.b64encode(value).decode()}\n" for name, value in fields.items())
        url = server.url(repository.path)
        twins.configure(
            f"directories:\n- path: vendor\n  contents:\n  - path: app\n    git: {{url: '{url}', ref: v1.0.0, "
            "secretRef: {name: ssh}}\n    excludePaths: ['.git/**/*']\n---\napiVersion: v1\nkind: Secret\n"
            f"metadata: {{name: ssh}}\ntype: kubernetes.io/ssh-auth\ndata:\n{data}"
        )
        assert twins.run("sync") == status
        assert server.connections > 0
        assert other.connections == 0


@pytest.mark.parametrize("skips", ["true", "false"])
def test_git_lfs(twins: Twins, tmp_path: Path, home: Path, skips: str) -> None:
    remote = LfsRepository(tmp_path / "lfs", program("git-lfs").path, {"big.bin": b"\0content" * 999, "a.txt": b"a"})
    (home / ".gitconfig").write_text(remote.filters)
    twins.configure(
        f"directories:\n- path: vendor\n  contents:\n  - path: app\n    git: {{url: '{remote.url}', ref: origin/main, "
        f"lfsSkipSmudge: {skips}}}\n    excludePaths: ['.git/**/*']\n"
    )
    assert twins.run("sync") == 0
    laid = (twins.ours / "vendor/app/big.bin").read_bytes()
    assert laid.startswith(b"version https://git-lfs") if skips == "true" else laid == b"\0content" * 999


def test_http(twins: Twins, site: Site) -> None:
    contents = ""
    for number, (name, content) in enumerate(_archives().items()):
        url = site.write(f"files/{name}", content)
        contents += f"  - path: n{number}\n    http: {{url: '{url}'}}\n"
        contents += f"  - path: r{number}\n    lazy: true\n    http: {{url: '{url}', disableUnpack: true}}\n"
    twins.configure(f"directories:\n- path: vendor\n  contents:\n{contents}")
    assert twins.run("sync", keeps_executable=True) == 0
    assert twins.run("sync", keeps_executable=True) == 0


def test_http_with_a_login_and_a_digest(twins: Twins, tmp_path: Path) -> None:
    import hashlib

    with Site(tmp_path / "guarded", login=("admin", "pass word")) as site:
        content = _archives()["a.tgz"]
        url = site.write("a.tgz", content)
        secret = (
            "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
            "data: {username: YWRtaW4=, password: cGFzcyB3b3Jk}\n"
        )
        digest = hashlib.sha256(content).hexdigest()
        text = (
            "directories:\n- path: v\n  contents:\n  - path: .\n"
            "    http: {url: 'U', sha256: 'D', secretRef: {name: s}}\n"
        )
        twins.configure(text.replace("U", url).replace("D", digest) + secret.replace("YWRtaW4=", "eA=="))
        assert twins.run("sync") == 1
        twins.configure(text.replace("U", url).replace("D", "0" * 64) + secret)
        assert twins.run("sync") == 1
        twins.configure(text.replace("U", url).replace("D", digest) + secret)
        assert twins.run("sync", keeps_executable=True) == 0


def test_github_releases(twins: Twins, site: Site) -> None:
    url = publish_release(site, "v1.0", {"x.txt": b"x", "pack.tgz": _archives()["a.tgz"]})
    archive = site.write("more/v1.0.zip", _archives()["a.zip"])
    contents = "".join(
        f"  - path: n{number}\n    githubRelease: {{slug: o/r, url: '{url}'{more}}}\n"
        for number, more in enumerate(
            (
                "",
                ", assetNames: ['*.txt']",
                ", disableAutoChecksumValidation: true",
                ", unpackArchive: {path: pack.tgz}",
                f", http: {{url: '{archive.replace('v1.0', '{tag}')}'}}",
            )
        )
    )
    twins.configure(f"directories:\n- path: vendor\n  contents:\n{contents}")
    assert twins.run("sync", keeps_executable=True) == 0
    assert twins.run("sync", "--locked", keeps_executable=True) == 0


def _publish_charts(site: Site, work: Path) -> None:
    helm = program("helm")
    helm.run("create", "demo", cwd=work)
    (work / "demo/run.sh").write_text("#!/bin/sh\n")
    (work / "demo/run.sh").chmod(0o755)
    for version in ("1.2.3", "1.3.0", "2.0.0-rc.1"):
        helm.run("package", "demo", "--version", version, "--app-version", "2.0", "-d", site.root, cwd=work)
    helm.run("repo", "index", site.root)


@pytest.mark.parametrize("version", ["1.2.3", "~1.2", "", ">=2.0.0-0", "^1"])
def test_helm_charts(twins: Twins, site: Site, tmp_path: Path, version: str) -> None:
    _publish_charts(site, tmp_path)
    twins.configure(
        "directories:\n- path: vendor\n  contents:\n  - path: c\n"
        f"    helmChart: {{name: demo, version: '{version}', repository: {{url: '{site.url}'}}}}\n"
    )
    assert twins.run("sync") == 0
    assert twins.run("sync", "--locked") == 0


def _push_images(host: str, work: Path) -> None:
    imgpkg = program("imgpkg")
    bundle = work / "bundle"
    (bundle / ".imgpkg").mkdir(parents=True)
    (bundle / "config").mkdir()
    (bundle / "config/a.yml").write_text("a: 1\n")
    (bundle / "config/private").write_text("x")
    (bundle / "config/private").chmod(0o600)
    (bundle / "run.sh").write_text("#!/bin/sh\n")
    (bundle / "run.sh").chmod(0o755)
    for tag in ("1.0.0", "1.2.0", "2.0.0-beta.1"):
        imgpkg.run("push", "-i", f"{host}/team/app:{tag}", "-f", bundle / "config", "-f", bundle / "run.sh")
    digest = program("crane").run("digest", f"{host}/team/app:1.0.0")
    (bundle / ".imgpkg/images.yml").write_text(
        "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n"
        f"- image: {host}/team/app@{digest}\n  annotations: {{z: 'true', a: '1.0'}}\n"
    )
    imgpkg.run("push", "-b", f"{host}/team/inner:v1", "-f", bundle)
    inner = program("crane").run("digest", f"{host}/team/inner:v1")
    (bundle / ".imgpkg/images.yml").write_text(
        "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n"
        f"- image: {host}/team/app@{digest}\n- image: {host}/team/inner@{inner}\n"
    )
    imgpkg.run("push", "-b", f"{host}/team/outer:v1", "-f", bundle)
    imgpkg.run("copy", "-b", f"{host}/team/outer:v1", "--to-repo", f"{host}/team/moved")


def test_images_and_bundles(twins: Twins, registries: Registries, tmp_path: Path) -> None:
    host = registries.get("distribution").host
    _push_images(host, tmp_path)
    contents = "".join(
        f"  - path: n{number}\n    {source}\n"
        for number, source in enumerate(
            (
                f"image: {{url: '{host}/team/app:1.0.0'}}",
                f"image: {{url: '{host}/team/app', tagSelection: {{semver: {{constraints: '<2.0.0'}}}}}}",
                f"image: {{url: '{host}/team/app', tagSelection: {{semver: {{prereleases: {{}}}}}}}}",
                f"image: {{url: '{host}/team/outer:v1'}}",
                f"imgpkgBundle: {{image: '{host}/team/inner:v1'}}",
                f"imgpkgBundle: {{image: '{host}/team/outer:v1', recursive: true}}",
                f"imgpkgBundle: {{image: '{host}/team/moved:v1', recursive: true}}",
                f"imgpkgBundle: {{image: '{host}/team/moved:v1'}}",
            )
        )
    )
    twins.configure(f"directories:\n- path: vendor\n  contents:\n{contents}")
    assert twins.run("sync") == 0
    assert twins.run("sync", "--locked") == 0
    twins.configure(
        f"directories:\n- path: v\n  contents:\n  - path: .\n    imgpkgBundle: {{image: '{host}/team/app:1.0.0'}}\n"
    )
    assert twins.run("sync") == 1


@pytest.mark.parametrize("kind", ["opaque", "with-host", "docker"])
def test_images_of_a_guarded_registry(twins: Twins, registries: Registries, tmp_path: Path, kind: str) -> None:
    import base64
    import json

    host = registries.get("distribution", auth=True).host
    (tmp_path / "f.txt").write_text("f")
    login = {"IMGPKG_USERNAME": USER, "IMGPKG_PASSWORD": PASSWORD}
    result = program("imgpkg").attempt("push", "-i", f"{host}/team/{kind}:1", "-f", tmp_path / "f.txt", env=login)
    assert result.returncode == 0, result.stderr

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    fields = {"username": encoded(USER), "password": encoded(PASSWORD)}
    kind_line = ""
    if kind == "with-host":
        fields["hostname"] = encoded(host)
    if kind == "docker":
        auths = {host: {"auth": encoded(f"{USER}:{PASSWORD}")}}
        fields = {".dockerconfigjson": encoded(json.dumps({"auths": auths}))}
        kind_line = "type: kubernetes.io/dockerconfigjson\n"
    text = (
        "directories:\n- path: v\n  contents:\n  - path: .\n"
        f"    image: {{url: '{host}/team/{kind}:1', secretRef: {{name: s}}}}\n"
        f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{kind_line}data: {json.dumps(fields)}\n"
    )
    twins.configure(text)
    assert twins.run("sync") == 0
    twins.configure(text.replace(encoded(PASSWORD), encoded("wrong")).replace(", secretRef: {name: s}", ""))
    assert twins.run("sync") == 1


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name not in TAKEN_BY_VENDIR])
def test_wrong_inputs_have_the_exit_status_of_vendir(twins: Twins, name: str) -> None:
    twins.write("vendir.yml", CONFIGURATIONS[name][0])
    assert twins.run("sync") == 1


def test_versions_are_sorted_as_by_vendir(twins: Twins) -> None:
    made = random.Random(7)
    parts = ["0", "1", "2", "10"]
    tails = ["", "", "-rc.1", "-beta", "-1", "-rc.10", "+b1", "+2", "-rc.1+x"]
    for constraint in ("", ">=1.0.0", "<2.0.0", "1.x", "!1.0.0", ">0.5.0 <10.0.0", "1.2.x || >=10.0.0", "<=2.1.x"):
        versions = " ".join(
            made.choice(["", "v"]) + ".".join(made.choices(parts, k=3)) + made.choice(tails) for _ in range(40)
        )
        arguments = ["tools", "sort-semver", "-v", versions, *(["-c", constraint] if constraint else [])]
        for more in ([], ["--prerelease"], ["--prerelease-identifier", "rc"], ["--tty"], ["--json"]):
            assert twins.run(*arguments, *more) == 0
