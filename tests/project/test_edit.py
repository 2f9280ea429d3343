"""Edits change the one entry and nothing else: comments, order, quotes, indentation and line ends stay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provender.errors import Conflict, InvalidProject, NotFound
from provender.project.edit import add_dependency, initial_manifest, remove_dependency
from provender.project.manifest import Manifest

LONG = {
    "oci": "acme/k",
    "version": ">=1.0, <2",
    "include": ["**/*.json", "a b"],
    "layers": {"mode": "copy"},
    "to": "1.0",
}
BLOCK = """\
  new:
    oci: acme/k
    version: ">=1.0, <2"
    include: ["**/*.json", "a b"]
    layers:
      mode: copy
    to: "1.0"
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\n", f"version: 1\n\ndependencies:\n{BLOCK}"),
        ("version: 1", f"version: 1\n\ndependencies:\n{BLOCK[:-1]}"),
        ("version: 1\ndependencies:\n", f"version: 1\ndependencies:\n{BLOCK}"),
        ("version: 1\ndependencies:", f"version: 1\ndependencies:\n{BLOCK[:-1]}"),
        ("dependencies: {}\nversion: 1\n", f"dependencies:\n{BLOCK}version: 1\n"),
        ("dependencies: {}  # c\nversion: 1\n", f"dependencies:  # c\n{BLOCK}version: 1\n"),
        ("dependencies: null\nversion: 1\n", f"dependencies:\n{BLOCK}version: 1\n"),
        ("dependencies: ~ # c\nversion: 1\n", f"dependencies: # c\n{BLOCK}version: 1\n"),
        (
            "dependencies: # c\n  # none yet\n\nversion: 1 # v\n",
            f"dependencies: # c\n  # none yet\n{BLOCK}\nversion: 1 # v\n",
        ),
        ("---\nversion: 1\n...\n# after\n", f"---\nversion: 1\n\ndependencies:\n{BLOCK}...\n# after\n"),
        ("\ufeffversion: 1\n", f"\ufeffversion: 1\n\ndependencies:\n{BLOCK}"),
        (
            "dependencies:\n  a: 'x/y:1' # c\n  # tail\n\n# top\nversion: 1\n",
            f"dependencies:\n  a: 'x/y:1' # c\n  # tail\n{BLOCK}\n# top\nversion: 1\n",
        ),
        (
            "dependencies:\n  a: x/y:1\n\n  b: x/y:2\nversion: 1\n",
            f"dependencies:\n  a: x/y:1\n\n  b: x/y:2\n\n{BLOCK}version: 1\n",
        ),
        (
            "dependencies:\n  a: >-\n    x/y:1\n\n  # é😀\nversion: 1\n",
            f"dependencies:\n  a: >-\n    x/y:1\n\n  # é😀\n{BLOCK}version: 1\n",
        ),
    ],
)
def test_add_to_lines(text: str, expected: str) -> None:
    assert add_dependency(text, "new", LONG) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{version: 1}\n", "{version: 1, dependencies: {n: acme/k:1}}\n"),
        ("{version: 1, dependencies: {}}", "{version: 1, dependencies: {n: acme/k:1}}"),
        (
            "version: 1\ndependencies: {a: x/y:1, # c\n  b: x/y:2 }\n",
            "version: 1\ndependencies: {a: x/y:1, # c\n  b: x/y:2, n: acme/k:1 }\n",
        ),
        ("version: 1\ndependencies: {a: x/y:1,}\n", "version: 1\ndependencies: {a: x/y:1, n: acme/k:1,}\n"),
        ("version: 1\ndependencies: {\n  # c\n}\n", "version: 1\ndependencies: {n: acme/k:1\n  # c\n}\n"),
    ],
)
def test_add_to_braces(text: str, expected: str) -> None:
    assert add_dependency(text, "n", "acme/k:1") == expected


def test_add_follows_the_indentation_of_the_file() -> None:
    text = "version: 1\ndependencies:\n    a:\n       oci: x/y\n"
    assert add_dependency(text, "n", {"oci": "x/z", "layers": {"mode": "auto"}}) == (
        text + "    n:\n       oci: x/z\n       layers:\n          mode: auto\n"
    )
    text = "version: 1\nregistries:\n    a: {}\n"
    assert add_dependency(text, "n", "a/b:1") == text + "\ndependencies:\n    n: a/b:1\n"


def test_add_follows_the_line_ends_of_the_file() -> None:
    text = "version: 1\r\ndependencies:\r\n  a: x/y:1\r\n"
    assert add_dependency(text, "n", {"oci": "x/z"}) == text + "  n:\r\n    oci: x/z\r\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\ndependencies:\n  a: x/y:1\n", "version: 1\ndependencies: {}\n"),
        ("dependencies: # c\n  # d\n  a: x/y:1\nversion: 1\n", "dependencies: {} # c\n  # d\nversion: 1\n"),
        (
            "dependencies:\n  # one\n  a: x/y:1 # gone\n  # two\n  b: x/y:2\nversion: 1\n",
            "dependencies:\n  # one\n  # two\n  b: x/y:2\nversion: 1\n",
        ),
        (
            "dependencies:\n  b: x/y:2\n\n  a:\n    oci: x/y\n    # inside\n\n  # c\n  c: x/y:3\nversion: 1\n",
            "dependencies:\n  b: x/y:2\n\n  # c\n  c: x/y:3\nversion: 1\n",
        ),
        ("version: 1\ndependencies:\n  b: x/y:2\n  a: x/y:1", "version: 1\ndependencies:\n  b: x/y:2"),
        ("version: 1\ndependencies: {a: x/y:1, b: x/y:2}\n", "version: 1\ndependencies: {b: x/y:2}\n"),
        ("version: 1\ndependencies: {b: x/y:2, a: x/y:1}\n", "version: 1\ndependencies: {b: x/y:2}\n"),
        ("version: 1\ndependencies: {b: x/y:2, # c\n  a: x/y:1}\n", "version: 1\ndependencies: {b: x/y:2, # c\n  }\n"),
        ("version: 1\r\ndependencies:\r\n  a: x/y:1\r\n", "version: 1\r\ndependencies: {}\r\n"),
    ],
)
def test_remove(text: str, expected: str) -> None:
    assert remove_dependency(text, "a") == expected


def test_a_name_that_is_there_is_a_conflict_with_its_place() -> None:
    with pytest.raises(Conflict) as caught:
        add_dependency("version: 1\ndependencies:\n  a: x/y:1\n", "a", "x/z:1", where="p.yaml")
    assert caught.value.where == "p.yaml:3:3"


def test_a_name_that_is_not_there_gets_a_near_miss() -> None:
    with pytest.raises(NotFound) as caught:
        remove_dependency("version: 1\ndependencies:\n  schemas: x/y:1\n", "schema")
    assert caught.value.hint == "did you mean schemas?"
    with pytest.raises(NotFound):
        remove_dependency("version: 1\n", "schema")


@pytest.mark.parametrize("value", ["nginx:1", "x/y", {"oci": "x/y", "tags": "v1"}, {"oci": "x/y", "to": "../z"}])
def test_a_wrong_dependency_is_refused_without_a_place_in_the_file(value: str | dict[str, str]) -> None:
    with pytest.raises(InvalidProject) as caught:
        add_dependency("version: 1\n", "a", value)
    assert caught.value.where is None


def test_a_destination_that_is_taken_is_refused() -> None:
    with pytest.raises(InvalidProject) as caught:
        add_dependency("version: 1\ndependencies:\n  a: x/y:1\n", "b", {"oci": "x/z", "to": "vendor/a/b"})
    assert caught.value.code == "overlapping-destinations"


def test_a_wrong_file_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidProject) as caught:
        add_dependency("version: 1\ndependencis: {}\n", "a", "x/y:1", where="p.yaml")
    assert caught.value.where == "p.yaml:2:1"


def test_what_cannot_be_edited_is_left_alone() -> None:
    with pytest.raises(InvalidProject) as caught:
        remove_dependency("version: 1\n? dependencies\n: a: x/y:1\n  b: x/y:2\n", "a")
    assert caught.value.code == "not-editable"


_NOTES = st.text(
    st.characters(
        min_codepoint=0x20, max_codepoint=0x1F9FF, exclude_categories=["Cs", "Cc", "Cf", "Cn", "Co", "Zl", "Zp"]
    ),
    max_size=8,
)
_VALUES = [
    "x/y:1",
    '"x/y:2"',
    "'x/y:3'",
    "{oci: x/y, tag: v1}",
    ">-\n{i}  x/y:4",
    "\n{i}  oci: x/y # in {note}\n{i}  # deep {note}\n{i}  exclude:\n{i}    - a\n{i}    - 'b'",
    "\n{i}  oci: x/y\n{i}  layers:\n{i}    mode: copy",
]


@st.composite
def _manifests(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A manifest of lines with comments everywhere, and the names in it."""
    indent = " " * draw(st.integers(min_value=1, max_value=4))
    lines = [f"# head {draw(_NOTES)}"]
    names = []
    section = [f"dependencies: # {draw(_NOTES)}"]
    for number in range(draw(st.integers(min_value=1, max_value=4))):
        section += draw(st.lists(st.sampled_from(["", f"{indent}# above {draw(_NOTES)}", f"{indent}# é"]), max_size=2))
        value = draw(st.sampled_from(_VALUES)).replace("{i}", indent).replace("{note}", draw(_NOTES))
        section.append(f"{indent}d{number}: {value}")
        names.append(f"d{number}")
    section += draw(st.lists(st.sampled_from(["", f"{indent}# behind", "# left"]), max_size=3))
    parts = [["version: 1 # v"], section, ["registries: {x: {}} # r", "x-mine: [1, 2]"]]
    for part in draw(st.permutations(parts)):
        lines += part
    text = "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n"]))
    return (text if draw(st.booleans()) else text.replace("\n", "\r\n")), names


@settings(deadline=None)
@given(_manifests(), st.sampled_from(["acme/k:1", LONG]))
def test_adding_inserts_lines_and_touches_no_other(made: tuple[str, list[str]], value: object) -> None:
    text, names = made
    edited = add_dependency(text, "new", value)
    before, after = text.splitlines(), edited.splitlines()
    rest = iter(after)
    assert all(line in rest for line in before)
    assert [each.name for each in Manifest.parse(edited).dependencies] == sorted([*names, "new"])
    assert edited.endswith("\n") == text.endswith("\n")
    assert ("\r\n" in edited) == ("\r\n" in text)


@settings(deadline=None)
@given(_manifests())
def test_adding_and_removing_again_gives_the_same_text(made: tuple[str, list[str]]) -> None:
    text, _ = made
    edited = remove_dependency(add_dependency(text, "new", LONG), "new")
    # At the end of a file a blank line more or less may stay.
    assert edited.rstrip() == text.rstrip()


@settings(deadline=None)
@given(_manifests(), st.data())
def test_removing_takes_lines_of_the_entry_alone(made: tuple[str, list[str]], data: st.DataObject) -> None:
    text, names = made
    name = data.draw(st.sampled_from(names))
    edited = remove_dependency(text, name)
    before, after = text.splitlines(), edited.splitlines()
    rest = iter(before)
    assert all(line.startswith("dependencies: {} #") or line in rest for line in after)
    kept = {"# head", "# above", "# behind", "# left", "# é"}
    assert [line for line in before if any(line.strip().startswith(each) for each in kept)] == [
        line for line in after if any(line.strip().startswith(each) for each in kept)
    ]
    old, new = Manifest.parse(text), Manifest.parse(edited)
    assert new.dependencies == tuple(each for each in old.dependencies if each.name != name)


def test_initial_manifest_is_valid_and_names_its_schema() -> None:
    text = initial_manifest(schema="schema.json", registries={"acme": None, "store": "layout:./store"})
    assert text.startswith("# yaml-language-server: $schema=schema.json\nversion: 1\n")
    assert Manifest.parse(text).registries == {"acme": None, "store": "layout:./store"}
    assert initial_manifest() == "version: 1\n\ndependencies: {}\n"
    assert Manifest.parse(add_dependency(text, "a", "acme/a:1")).get("a") is not None
