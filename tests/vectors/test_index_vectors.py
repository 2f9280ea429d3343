"""Indexes that another tool authored from the same children, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.oci import Document, Index
from provender.oci.media_types import INDEX
from provender.storage.layout import LayoutStorage


@pytest.mark.parametrize(
    ("machines", "digest"),
    [
        (["amd64", "arm64"], "sha256:cce9590b1193d8bcb70467e2381dc81e77869be4801c09abe9bc274b6a1d2001"),
        (["arm64", "amd64"], "sha256:5c98cfc90e390c575679370a5dc5e37b52e854bbb7b9cb80cc1f30b56b8d183e"),
        (["arm64", "amd64", "arm"], "sha256:820503ae4fecfdb841b5b6acc8718c8c5b298cf6b8f2259010f370052341cec8"),
    ],
)
def test_authored_index_has_the_bytes_of_other_tools(vectors: Path, machines: list[str], digest: str) -> None:
    children = LayoutStorage(vectors / "oras-layouts" / "images").resolve("multi").index().manifests
    by_machine = {child.platform.architecture: child for child in children if child.platform is not None}
    view = Index(schema_version=2, media_type=INDEX, manifests=tuple(by_machine[name] for name in machines))
    document = Document.author(view)
    assert document.digest == digest
    if machines == ["amd64", "arm64"]:
        assert document.descriptor.size == 491
