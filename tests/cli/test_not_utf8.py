"""Words and paths that are not UTF-8: paths of layouts work, and what has to be written as text is refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from provender.errors import InvalidDocument
from provender.oci import Document
from provender.oci.media_types import INDEX
from provender.storage.layout import LayoutStorage
from support.command import provender_here
from support.graphs import family
from support.registry import TestRegistry
from support.workspace import InProcess, refused

ODD = "b\udcffd"  # the byte 0xff, as a command line brings it
pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="the file system allows no such name")


@pytest.fixture
def project(registry: TestRegistry, tmp_path: Path) -> InProcess:
    """A project with a layout of that name and a file."""
    directory = tmp_path / "project"
    directory.mkdir()
    family(LayoutStorage(directory / ODD, create=True))
    (directory / "a.txt").write_text("a")
    return InProcess(directory, registry, tmp_path / "cache")


def test_a_layout_with_such_a_path_is_read_and_written(project: InProcess) -> None:
    for pair in ((f"layout:{ODD}:1.0", f"layout:{ODD}.tar:1.0"), (f"layout:{ODD}.tar:1.0", f"layout:{ODD}-2:1.0")):
        assert project.json("copy", *pair).status == 0
    digest = LayoutStorage(project.directory / ODD).digest_of("1.0")
    assert LayoutStorage(project.directory / f"{ODD}-2").digest_of("1.0") == digest


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["relocate", "plan", f"layout:{ODD}:1.0", "--to", "layout:x", "-o", "plan.json"], "invalid-encoding"),
        (["relocate", "plan", "acme/good:1", "--to", f"layout:{ODD}.tar", "-o", "plan.json"], "invalid-encoding"),
        (["push", "layout:x:1", "a.txt", "--annotation", f"k={ODD}"], "invalid-annotation"),
        (["push", "layout:x:1", "a.txt", "--annotation", f"{ODD}=v"], "invalid-annotation"),
        (["push", "layout:x:1", "a.txt", "--annotation-file", "half.json"], "invalid-annotation-file"),
        (["add", f"layout:{ODD}:1.0", "--name", "x"], "invalid-encoding"),
    ],
)
def test_what_has_to_be_written_as_text_is_refused(project: InProcess, command: list[str], code: str) -> None:
    project.depend()
    (project.directory / "half.json").write_text('{"$manifest": {"a": "\\udcff"}}')
    before = project.look()
    refused(project.json(*command), 2, code)
    assert project.look() == before


def test_a_plan_cannot_name_what_an_alias_stands_for(project: InProcess) -> None:
    (project.directory / "store").mkdir()
    (project.directory / ODD).rename(project.directory / "store" / "app")
    (project.directory / "store").rename(project.directory / ODD)
    command = ["relocate", "plan", "odd/app:1.0", "--to", "layout:x", "-o", "plan.json"]
    refused(project.json(*command, "--registry", f"odd=layout:{ODD}"), 2, "invalid-encoding")


@pytest.mark.parametrize(("user", "secret"), [(ODD, "secret"), ("user", ODD)])
def test_a_credential_is_refused(
    registry: TestRegistry, monkeypatch: pytest.MonkeyPatch, user: str, secret: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(secret))
    result = provender_here("login", registry.host, "-u", user, "--password-stdin", "--format", "json")
    assert (result.status, result.error["code"]) == (2, "usage")
    assert registry.requests == []


def test_half_a_character_stays_in_a_document_but_for_its_type() -> None:
    """It is copied as it is; a type is written into locks and plans as well."""
    fields = b'"schemaVersion":2,"manifests":[],"annotations":{"\\udcff":"\\ud83d"}'
    assert Document.read(b"{%s}" % fields, media_type=INDEX).index().manifests == ()
    for wrong in (
        b'{%s,"artifactType":"a/\\ud83d"}' % fields,
        b'{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:%s","size":1,"artifactType":"\\udcff"}]}'
        % (b"a" * 64),
    ):
        with pytest.raises(InvalidDocument, match="half a character"):
            Document.read(wrong, media_type=INDEX)


def test_vendir_works_below_such_a_directory(project: InProcess) -> None:
    odd = project.directory / f"{ODD}-project"
    odd.mkdir()
    (odd / "vendir.yml").write_text(
        "apiVersion: vendir.k14s.io/v1alpha1\nkind: Config\ndirectories:\n- path: vendor\n  contents:\n"
        "  - path: d\n    inline: {paths: {a.txt: a}}\n"
    )
    for _ in range(2):
        assert provender_here("vendir", "sync", cwd=odd).status == 0
    assert (odd / "vendor/d/a.txt").read_text() == "a"
