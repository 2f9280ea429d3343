"""`provender vendir import`: what becomes of each kind of contents, and that the outcome is a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from provender.dialects.vendir.config import Configuration
from provender.dialects.vendir.translation import Translation, translated
from provender.project.manifest import Manifest
from support.vendir import HEAD, VendirProject


def _translated(tmp_path: Path, contents: str, *, path: str = "vendor") -> Translation:
    file = tmp_path / "vendir.yml"
    file.write_text(f"{HEAD}directories:\n- path: {path}\n  contents:\n{contents}")
    found = translated(Configuration.load([str(file)], stdin=lambda: b"", warn=lambda _: None))
    Manifest.parse(yaml.safe_dump({"version": 1, "dependencies": found.dependencies}))
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "git: {url: 'https://h/r.git', ref: origin/main, skipInitSubmodules: true}",
            {"git": "https://h/r.git", "branch": "main"},
        ),
        ("git: {url: 'https://h/r.git', ref: v1.2.3}", {"git": "https://h/r.git", "tag": "v1.2.3", "submodules": True}),
        (
            f"git: {{url: 'https://h/r.git', ref: {'a' * 40}, skipInitSubmodules: true}}",
            {"git": "https://h/r.git", "commit": "a" * 40},
        ),
        (
            (
                "git: {url: 'https://h/r.git', lfsSkipSmudge: true, skipInitSubmodules: true,"
                " refSelection: {semver: {constraints: '==1.x !1.2.0'}}}"
            ),
            {"git": "https://h/r.git", "version": "=1.x !=1.2.0"},
        ),
        ("http: {url: 'https://h/a.tgz', disableUnpack: true}", {"http": "https://h/a.tgz", "mode": "copy"}),
        ("image: {url: nginx}", {"image": "docker.io/library/nginx", "tag": "latest"}),
        ("imgpkgBundle: {image: 'h.example/b:1'}", {"image": "h.example/b", "tag": "1"}),
        (
            "ociArtifact: {image: h.example/a, tag: latest, mediaTypes: [a/b], layers: copy}",
            {"oci": "h.example/a", "tag": "latest", "layers": {"mediaTypes": ["a/b"], "mode": "copy"}},
        ),
        (
            "githubRelease: {slug: o/r, tag: v1, assetNames: ['{a,b}.txt']}",
            {"githubRelease": "o/r", "tag": "v1", "assets": ["a.txt", "b.txt"], "mode": "copy"},
        ),
        (
            "githubRelease: {slug: o/r, latest: true, unpackArchive: {path: a.tgz}}",
            {"githubRelease": "o/r", "assets": ["a.tgz"], "mode": "extract"},
        ),
        (
            "helmChart: {name: c, version: ~1.2, repository: {url: 'oci://h.example/charts'}}",
            {"helmChart": "c", "repository": "oci://h.example/charts", "version": "~1.2"},
        ),
        ("directory: {path: ../x}", {"directory": "../x"}),
        ("inline: {paths: {a.txt: text}}", {"inline": {"a.txt": "text"}}),
        ("manual: {}", {"manual": True}),
    ],
)
def test_a_source_has_its_counterpart(tmp_path: Path, source: str, expected: dict[str, object]) -> None:
    found = _translated(tmp_path, f"  - path: d\n    {source}\n")
    assert found.dependencies == {"d": expected}


def test_paths_are_chosen_alike(tmp_path: Path) -> None:
    found = _translated(
        tmp_path,
        "  - path: deep/d\n    directory: {path: src}\n    includePaths: ['{a,b}/**/*.md']\n    legalPaths: []\n"
        "    excludePaths: ['[^x]*']\n    ignorePaths: ['local/**']\n    newRootPath: a\n",
        path="lib",
    )
    assert found.dependencies == {
        "d": {
            "directory": "src",
            "to": "lib/deep/d",
            "include": ["a/**/*.md", "b/**/*.md"],
            "exclude": ["[!x]*"],
            "keep": ["local/**"],
            "root": "a",
        }
    }


def test_names_are_unique_and_notes_tell_what_is_left(tmp_path: Path) -> None:
    found = _translated(
        tmp_path,
        "  - path: a/x\n    inline: {paths: {f: a}}\n  - path: b/x\n    lazy: true\n    permissions: 0755\n"
        "    inline: {paths: {f: a}, pathsFrom: [{secretRef: {name: s}}]}\n"
        "  - path: h\n    hg: {url: u, ref: r}\n",
    )
    assert list(found.dependencies) == ["x", "vendor-b-x"]
    text = "\n".join(found.notes)
    for said in ("lazy is not needed", "permissions are not taken over", "pathsFrom is left out", "Mercurial"):
        assert said in text


def test_the_manifest_is_written_once(project: VendirProject) -> None:
    project.write("directories:\n- path: vendor\n  contents:\n  - path: d\n    inline: {paths: {a: text}}\n")
    assert project.run("import").status == 0
    assert yaml.safe_load((project.directory / "provender.yaml").read_text()) == {
        "version": 1,
        "dependencies": {"d": {"inline": {"a": "text"}}},
    }
    again = project.run("import")
    assert again.status == 1
    assert "there is a file already" in again.stderr
    shown = project.run("import", "-o", "-")
    assert shown.stdout == (project.directory / "provender.yaml").read_text()
