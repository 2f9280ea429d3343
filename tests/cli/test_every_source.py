"""A project with a dependency of every kind, through the command line: what is said, and what a second run asks for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from support.archives import archive, file
from support.files_server import FilesServer
from support.registry import TestRegistry
from support.repository import Repository
from support.workspace import Workspace, layer, publish

CONFIG = "application/vnd.oci.image.config.v1+json"


def test_every_kind_is_laid_reported_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "project/mine").mkdir(parents=True)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/conf").write_text("shared")
    repository = Repository(tmp_path / "remote")
    commit = repository.commit({"rules/a.rego": "package a\n"})
    with TestRegistry() as registry, FilesServer() as server:
        project = Workspace(tmp_path / "project", registry, tmp_path / "cache")
        publish(registry, "acme/x", "1.0.0", {"x.txt": b"artifact"})
        blob = layer(
            registry, "acme/base", archive(file("etc/a", b"image")), media_type="application/vnd.oci.image.layer.v1.tar"
        )
        registry.push_blob("acme/base", b"{}")
        image = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": CONFIG, "digest": f"sha256:{hashlib.sha256(b'{}').hexdigest()}", "size": 2},
            "layers": [blob],
        }
        registry.push_manifest("acme/base", json.dumps(image).encode(), tag="1.0.0")
        server.files["/f.txt"] = b"file"
        chart = archive(file("c/Chart.yaml", b"name: c\nversion: 1.0.0\n"))
        server.files["/charts/index.yaml"] = b"entries: {c: [{version: 1.0.0, urls: [c.tgz]}]}"
        server.files["/charts/c.tgz"] = chart
        release = {
            "tag_name": "v1",
            "url": f"{server.url}/r/1",
            "assets": [{"name": "tool", "url": f"{server.url}/a", "size": 4}],
        }
        server.files["/repos/o/n/releases/tags/v1"] = json.dumps(release).encode()
        server.files["/a"] = b"tool"
        project.depend(
            base={"image": "acme/base", "tag": "1.0.0"},
            chart={"helmChart": "c", "repository": f"{server.url}/charts"},
            conf={"directory": "../shared"},
            crds={"http": f"{server.url}/f.txt"},
            mine={"manual": True, "to": "mine"},
            notes={"inline": {"a.md": "inline"}},
            rules={"git": repository.url, "branch": "main", "root": "rules"},
            tool={"githubRelease": "o/n", "tag": "v1", "api": server.url},
            x="acme/x:1.0.0",
        )
        result = project.json("sync")
        assert result.status == 0, result.stderr
        changes = {each["name"]: each for each in json.loads(result.stdout)["changes"]}
        assert {name: each["source"] for name, each in changes.items()} == {
            "base": "image",
            "chart": "helmChart",
            "conf": "directory",
            "crds": "http",
            "mine": "manual",
            "notes": "inline",
            "rules": "git",
            "tool": "githubRelease",
            "x": "oci",
        }
        laid = {name: (each["files"], each["sizeBytes"]) for name, each in changes.items() if name != "mine"}
        assert laid == {
            "base": (1, 5),
            "chart": (1, 23),
            "conf": (1, 6),
            "crds": (1, 4),
            "notes": (1, 6),
            "rules": (1, 10),
            "tool": (1, 4),
            "x": (1, 8),
        }
        assert all(each["tree"] for name, each in changes.items() if name != "mine")
        assert changes["rules"]["commit"] == commit
        assert changes["crds"]["digest"] == f"sha256:{hashlib.sha256(b'file').hexdigest()}"
        asked = (len(server.asked), registry.count("*", "/"))
        before = project.look()
        again = project.json("sync", "--locked")
        assert {each["action"] for each in json.loads(again.stdout)["changes"]} == {"unchanged"}
        assert (len(server.asked), registry.count("*", "/")) == asked
        assert project.look() == before
        listed = {each["name"]: each for each in json.loads(project.json("list").stdout)["dependencies"]}
        assert (listed["rules"]["source"], listed["rules"]["commit"]) == ("git", commit)
        project.succeed("check", "--deep")
