"""The table of quirks in docs/registries.md: each row says where it is known from, and which test holds it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from provender.storage.registry import quirks

TESTS = Path(__file__).parents[2]
TABLE = TESTS.parent / "docs" / "registries.md"


def rows() -> list[list[str]]:
    text = TABLE.read_text(encoding="utf-8").partition("## What registries do differently")[2]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[-1].strip("`").partition("::")[2])
def test_each_row_has_its_source_and_a_test_that_is_there(row: list[str]) -> None:
    assert len(row) == 5
    assert all(row)
    path, _, function = row[4].strip("`").partition("::")
    file = TESTS / f"{path}.py" if "/" in path else TESTS / "storage" / "registry" / f"{path}.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_registry_that_the_code_names_has_a_row() -> None:
    named = " ".join(row[0] for row in rows())
    for registry in (
        "GHCR",
        "Docker Hub",
        "ECR",
        "ACR",
        "Google",
        "Harbor",
        "Quay",
        "GitLab",
        "Artifactory",
        "Nexus",
        "zot",
    ):
        assert registry in named
    source = Path(quirks.__file__).read_text(encoding="utf-8")
    # Every entry of the table in the code says where it is known from: a thread, a program's file or an experiment.
    blocks = re.findall(r"((?:^#[^\n]*\n)+)(?=[A-Z_]+: Final)", source, flags=re.MULTILINE)
    assert len(blocks) >= 10
    for block in blocks:
        assert re.search(r"#\d+|PR \d+|RTFACT|\.go|specification|experiment|cleaner|GET tells", block), block
