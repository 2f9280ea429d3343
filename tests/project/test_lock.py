"""The lock: stable bytes out, strict reading in, and when an entry is stale."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provender.errors import InvalidProject
from provender.oci import Descriptor, Digest, Reference
from provender.project.dependency import Dependency, Paths
from provender.project.lock import Lock
from provender.project.lock_entry import LockedOci, Selection
from provender.project.origin import OciOrigin, Requested
from provender.project.staleness import stale

D1, D2, D3 = Digest.of(b"1"), Digest.of(b"2"), Digest.of(b"3", "sha512")


def dependency(name: str = "schemas", **changes: object) -> Dependency:
    """A dependency on an artifact; `changes` are of its origin, its paths or itself, `selection` of all of these."""
    selection = changes.pop("selection", None)
    if isinstance(selection, Selection):
        picked = {each: getattr(selection, each) for each in Selection.__struct_fields__}
        changes |= {each: picked.pop(each) for each in ("platform", "media_types", "mode")}
        changes["paths"] = Paths(**picked)
    own = {key: changes.pop(key) for key in ("to", "keep", "paths") if key in changes}
    origin = OciOrigin(reference=Reference.parse(f"acme/{name}"), requested=Requested(version=">=1.0, <2"))
    made = Dependency(name=name, origin=msgspec.structs.replace(origin, **changes), to=f"vendor/{name}")
    return msgspec.structs.replace(made, **own)


def locked(wanted: Dependency | None = None, **changes: object) -> LockedOci:
    made = LockedOci.pinned(
        wanted or dependency(),
        tag="1.4.2",
        digest=D1,
        media_type="application/vnd.oci.image.manifest.v1+json",
        artifact_type="application/vnd.cncf.flux.config.v1+json",
        layers=(Descriptor.of(b"content", "application/vnd.cncf.flux.content.v1.tar+gzip"),),
        tree=D2,
    )
    return msgspec.structs.replace(made, **changes)


EXPECTED = f"""\
{{
  "version": 1,
  "dependencies": {{
    "schemas": {{
      "source": "oci",
      "registry": "acme",
      "repository": "schemas",
      "requested": {{
        "version": ">=1.0, <2"
      }},
      "tag": "1.4.2",
      "digest": "{D1}",
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "artifactType": "application/vnd.cncf.flux.config.v1+json",
      "layers": [
        {{
          "mediaType": "application/vnd.cncf.flux.content.v1.tar+gzip",
          "digest": "{Digest.of(b"content")}",
          "size": 7
        }}
      ],
      "verified": null,
      "tree": "{D2}",
      "to": "vendor/schemas"
    }}
  }}
}}
"""


def test_the_file_has_the_documented_keys_in_order() -> None:
    assert Lock(dependencies={"schemas": locked()}).dump().decode() == EXPECTED
    assert Lock().dump() == b'{\n  "version": 1,\n  "dependencies": {}\n}\n'


def test_index_child_and_selection_are_written_where_they_belong() -> None:
    wanted = dependency(selection=Selection(platform="linux/amd64", mode="copy", root="x"))
    entry = json.loads(Lock(dependencies={"schemas": locked(wanted, manifest=D3)}).dump())["dependencies"]["schemas"]
    assert list(entry)[3:7] == ["requested", "selection", "tag", "digest"]
    assert list(entry)[7] == "manifest"
    assert entry["selection"] == {"platform": "linux/amd64", "mode": "copy", "root": "x"}


def test_entries_are_sorted_by_name_and_text_is_not_escaped() -> None:
    wanted = dependency(selection=Selection(include=("größe/*",)))
    raw = Lock(dependencies={"b": locked(wanted), "a": locked(), "B": locked()}).dump()
    assert list(json.loads(raw)["dependencies"]) == ["B", "a", "b"]
    assert "größe".encode() in raw


def test_values_without_content_are_null_but_present() -> None:
    raw = Lock(dependencies={"schemas": locked(tag=None, artifact_type=None)}).dump()
    entry = json.loads(raw)["dependencies"]["schemas"]
    assert (entry["tag"], entry["artifactType"], entry["verified"]) == (None, None, None)
    assert Lock.parse(raw).dependencies["schemas"].tag is None


def test_pin_names_registries_by_host_alias_or_layout() -> None:
    for text, registry, repository in (
        ("ghcr.io/a/b", "ghcr.io", "a/b"),
        ("localhost:5000/a", "localhost:5000", "a"),
        ("acme/a/b", "acme", "a/b"),
        ("layout:store/x", "layout:store/x", ""),
    ):
        entry = locked(dependency(reference=Reference.parse(text)))
        assert (entry.registry, entry.repository) == (registry, repository)
        assert entry.repository_reference == Reference.parse(text)
        assert entry.reference == Reference.parse(text).with_target(tag="1.4.2", digest=D1)
        assert Lock.parse(Lock(dependencies={"x": entry}).dump()).dependencies["x"] == entry


def test_identity_changes_with_content_and_not_with_names() -> None:
    entry = locked()
    assert entry.identity == locked(dependency(requested=Requested(tag="x"), to="elsewhere")).identity
    assert entry.identity != locked(digest=D3).identity
    assert entry.identity != locked(manifest=D3).identity
    assert entry.identity != locked(tree=D3).identity
    assert entry.identity != locked(dependency(selection=Selection(root="x"))).identity


_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
_DIGESTS = st.sampled_from([D1, D2, D3])
_TYPES = st.sampled_from(["application/json", "a/b+c", "application/vnd.x.v1.tar+gzip"])
_PATTERNS = st.lists(st.sampled_from(["*", "**/*.json", "ä/[a-z]?", "x y"]), max_size=2).map(tuple)
_LAYERS = st.builds(Descriptor, media_type=_TYPES, digest=_DIGESTS, size=st.integers(min_value=0, max_value=2**63 - 1))
_DEPENDENCIES = st.builds(
    Dependency,
    name=_NAMES,
    origin=st.builds(
        OciOrigin,
        reference=st.sampled_from(["acme/x", "ghcr.io/a/b", "layout:./store"]).map(Reference.parse),
        requested=st.sampled_from(
            [Requested(tag="v1"), Requested(version="^1"), Requested(digest=D1), Requested(tag="v", digest=D3)]
        ),
        platform=st.sampled_from([None, "linux/arm/v7"]),
        media_types=st.sampled_from([(), ("a/*",)]),
        mode=st.sampled_from(["auto", "extract", "copy"]),
    ),
    to=st.sampled_from(["vendor/a", "b", "ünï/c d"]),
    paths=st.builds(Paths, include=_PATTERNS, exclude=_PATTERNS, root=st.sampled_from([None, "a/b"])),
)


@st.composite
def _locks(draw: st.DrawFn) -> Lock:
    entries = {}
    for wanted in draw(st.lists(_DEPENDENCIES, max_size=4)):
        entries[wanted.name] = LockedOci.pinned(
            wanted,
            tag=draw(st.sampled_from([None, "1.0", "latest"])),
            digest=draw(_DIGESTS),
            manifest=draw(st.one_of(st.none(), _DIGESTS)),
            media_type=draw(_TYPES),
            artifact_type=draw(st.one_of(st.none(), _TYPES)),
            layers=tuple(draw(st.lists(_LAYERS, max_size=3))),
            tree=draw(_DIGESTS),
        )
    return Lock(dependencies=entries)


@settings(deadline=None)
@given(_locks())
def test_a_lock_reads_back_as_itself_and_writes_the_same_bytes(lock: Lock) -> None:
    raw = lock.dump()
    assert Lock.parse(raw) == lock
    assert Lock.parse(raw).dump() == raw
    backwards = Lock(dependencies=dict(reversed(lock.dependencies.items())))
    assert backwards.dump() == raw


@settings(deadline=None)
@given(_locks())
def test_another_layout_of_the_same_json_reads_the_same(lock: Lock) -> None:
    value = json.loads(lock.dump())
    assert Lock.parse(json.dumps(value).encode()) == lock
    assert Lock.parse(json.dumps(value, indent="\t", sort_keys=True).encode()) == lock
    assert Lock.parse(lock.dump().replace(b"\n", b"\r\n")) == lock


@settings(deadline=None)
@given(_locks(), st.data())
def test_damage_is_an_error_of_the_project_or_nothing(lock: Lock, data: st.DataObject) -> None:
    raw = bytearray(lock.dump())
    at = data.draw(st.integers(min_value=0, max_value=len(raw) - 1))
    raw[at] = data.draw(st.integers(min_value=0, max_value=255))
    try:
        found = Lock.parse(bytes(raw))
    except InvalidProject as error:
        assert error.where is not None  # noqa: PT017 - nothing has to be raised
    else:
        assert Lock.parse(found.dump()) == found


def refused(text: str) -> InvalidProject:
    with pytest.raises(InvalidProject) as caught:
        Lock.parse(text.encode(), where="provender.lock")
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "code", "at"),
    [
        ('"version": 1', '"version": 2', "lock-too-new", "2,"),
        ('"version": 1', '"version": 0', "invalid-value", "0,"),
        ('  "version": 1,\n', "", "missing-key", "{"),
        ('"tree"', '"tre"', "unknown-key", '"tre"'),
        ('"tree"', '"x-tree": 1, "tree"', "unknown-key", "{"),
        ('"tag": "1.4.2"', '"tag": "1.4.2", "tag" : "1.4.3"', "duplicate-key", '"tag" :'),
        ('"tag": "1.4.2"', '"tag": "a+b"', "invalid-tag", '"a+b"'),
        ('"size": 7', '"size": -1', "invalid-value", "-1"),
        ('"size": 7', '"size": null', "invalid-value", "null\n"),
        ('"size": 7', '"size": true', "invalid-value", "true"),
        ('"size": 7', '"size": 9223372036854775808', "invalid-value", "922337"),
        ('"size": 7', '"size": 07', "invalid-json", "7\n"),
        ('"size": 7', '"size": NaN', "invalid-json", "NaN"),
        ('"size": 7', '"size": 7,', "invalid-json", "}\n      ],"),
        (f'"digest": "{D1}"', '"digest": "sha256:12"', "invalid-value", '"sha256:12"'),
        (f'"tree": "{D2}"', '"tree": null', "missing-tree", 'null,\n      "to"'),
        ('"source": "oci"', '"source": "hg"', "invalid-value", '"hg"'),
        ('"source": "oci"', '"source": "git"', "unknown-key", '"registry"'),
        ('      "source": "oci",\n', "", "missing-key", '"schemas"'),
        ('"verified": null', '"verified": {}', "invalid-value", "{}"),
        ('"registry": "acme"', '"registry": "acme/x"', "invalid-repository", '"schemas",'),
        ('"registry": "acme"', '"registry": "layout:/etc"', "invalid-repository", '"schemas",'),
        ('"repository": "schemas"', '"repository": "../x"', "invalid-repository", '"../x"'),
        ('"repository": "schemas"', '"repository": "x:1"', "invalid-repository", '"x:1"'),
        ('"to": "vendor/schemas"', '"to": "../x"', "invalid-path", '"../x"'),
        ('"to": "vendor/schemas"', '"to": ".git/hooks"', "reserved-destination", '".git'),
        ('"to": "vendor/schemas"', '"to": "vendor/./x"', "invalid-path", '"vendor/./x"'),
        ('"version": ">=1.0, <2"', "", "missing-key", "{\n        \n"),
        ('"version": ">=1.0, <2"', '"version": "x.y"', "invalid-range", '{\n        "version": "x.y"'),
        ('"schemas": {', '"a/b": {', "invalid-name", "{\n      "),
        ('"acme"', '"\\ud800"', "invalid-json", '"\\ud800"'),
        ('"acme"', '"ac\\qme"', "invalid-json", '"ac\\qme"'),
        ("}\n}\n", "}\n} x\n", "invalid-json", "x\n"),
        ("}\n}\n", "}\n} {}\n", "invalid-json", "{}\n"),
        ("  }\n}\n", "  } ~", "invalid-json", "~"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, code: str, at: str) -> None:
    assert old in EXPECTED
    text = EXPECTED.replace(old, new, 1)
    error = refused(text)
    offset = text.index(at)
    line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
    assert (error.code, error.where) == (code, f"provender.lock:{line}:{column}")
    assert error.hint


def test_a_text_that_ends_early_is_refused() -> None:
    for end in range(len(EXPECTED) - 2):
        assert refused(EXPECTED[:end]).code == "invalid-json"


def test_a_misspelt_key_gets_a_near_miss() -> None:
    assert refused(EXPECTED.replace('"tree"', '"tre"')).hint == "did you mean tree?"


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD", "=======", ">>>>>>> branch", "||||||| base"])
def test_conflict_markers_are_named_with_their_line(marker: str) -> None:
    lines = EXPECTED.splitlines()
    lines.insert(10, marker)
    error = refused("\n".join(lines))
    assert (error.code, error.where) == ("lock-conflict", "provender.lock:11:1")
    assert "provender lock" in (error.hint or "")


@pytest.mark.parametrize("text", ["", "[]", "null", "\x00", "[" * 100_000, '{"version": ' + "[" * 100 + "}", "{'a'}"])
def test_what_is_no_lock_is_refused(text: str) -> None:
    assert refused(text).where


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidProject) as caught:
        Lock.parse(b'{"version": 1, "dependencies": {"\xff": {}}}')
    assert caught.value.code == "invalid-json"


def test_load_and_write(tmp_path: Path) -> None:
    path = tmp_path / "provender.lock"
    assert Lock.load(path) is None
    lock = Lock(dependencies={"schemas": locked()})
    assert lock.write(path) is True
    assert Lock.load(path) == lock
    assert os.listdir(tmp_path) == ["provender.lock"]


def test_writing_what_is_there_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "provender.lock"
    lock = Lock(dependencies={"schemas": locked()})
    lock.write(path)
    before = path.stat()
    assert lock.write(path) is False
    after = path.stat()  # whoever compares reads it, so the time of access is not looked at
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    path.write_bytes(lock.dump().replace(b"\n", b"\r\n"))
    assert lock.write(path) is False


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    path = tmp_path / "provender.lock"
    path.symlink_to(target)
    assert Lock().write(path) is True
    assert target.read_text() == "precious"
    assert not path.is_symlink()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reference": Reference.parse("other/schemas")}, "other/schemas"),
        ({"requested": Requested(tag="v2")}, "v2"),
        ({"requested": Requested(version=">=1.0, <2", digest=D3)}, str(D3)),
        ({"to": "elsewhere"}, "elsewhere"),
        ({"artifact_type": "a/b"}, "a/b"),
        ({"selection": Selection(platform="linux/amd64")}, "platform"),
        ({"selection": Selection(media_types=("a/*",))}, "mediaTypes"),
        ({"selection": Selection(include=("*",), root="x")}, "include, root"),
    ],
)
def test_an_entry_that_no_longer_matches_is_stale_and_says_why(changes: dict[str, object], said: str) -> None:
    reason = stale(dependency(**changes), locked())
    assert reason is not None
    assert said in reason


def test_an_entry_that_matches_is_not_stale() -> None:
    assert stale(dependency(), locked()) is None
    assert stale(dependency(artifact_type="application/vnd.cncf.flux.config.v1+json"), locked()) is None
    assert stale(dependency(keep=("x",)), locked()) is None
    wanted = dependency(selection=Selection(root="x"))
    assert stale(wanted, locked(wanted)) is None
    assert stale(dependency(), None) is not None
    assert stale(dependency(), locked(wanted)) is not None
