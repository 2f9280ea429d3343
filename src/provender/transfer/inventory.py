"""Inventory: every digest that belongs to an archive, with its size, and whether the archive itself has it.

Transfer layer. In an archive it is an artifact under the tag `provender.inventory`; its one file can be kept alone, so
that whoever makes the next archive knows what the other side has without the archives that went there before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final, Protocol, Self

import msgspec

from provender.errors import InvalidDocument, NotFound, ProvenderError
from provender.oci import EMPTY_DESCRIPTOR, Descriptor, Digest, Document, Manifest
from provender.oci.annotations import TITLE
from provender.oci.digest import decode_digest
from provender.oci.media_types import MANIFEST
from provender.storage.abilities import Fetcher, Resolver
from provender.storage.verify import read_all
from provender.transfer.graph import Node

__all__ = ["INVENTORY_FILE", "INVENTORY_TAG", "INVENTORY_TYPE", "Inventory"]

INVENTORY_TYPE: Final = "application/vnd.provender.inventory.v1+json"
INVENTORY_TAG: Final = "provender.inventory"
INVENTORY_FILE: Final = "inventory.json"

_MAX_BYTES: Final = 64 << 20
_VERSION: Final = 1


class _Source(Fetcher, Resolver, Protocol):
    """What is read from."""


class _Row(msgspec.Struct, frozen=True, rename="camel"):
    digest: Digest
    size: int
    is_here: bool


class Inventory(msgspec.Struct, frozen=True):
    """The rows, sorted by digest."""

    version: int
    content: tuple[_Row, ...] = ()

    @classmethod
    def of(cls, nodes: Iterable[Node], without: Collection[Digest]) -> Self:
        """What belongs to an archive of `nodes` that leaves some out."""
        rows = {node.digest: _Row(node.digest, node.descriptor.size, node.digest not in without) for node in nodes}
        return cls(_VERSION, tuple(rows[digest] for digest in sorted(rows)))

    @classmethod
    def parse(cls, raw: bytes) -> Inventory:
        """The inventory in `raw`; InvalidDocument (`invalid-inventory`) if it is none, or of a newer version."""
        try:
            found = _DECODER.decode(raw)
        except msgspec.DecodeError as error:
            raise _unreadable(str(error)) from error
        if found.version != _VERSION:
            raise _unreadable(f"it is of version {found.version}, and this provender knows {_VERSION}")
        return found

    @classmethod
    def load(cls, path: Path) -> Inventory:
        """The inventory in a file."""
        with open(path, "rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise _unreadable(f"it is over {_MAX_BYTES} bytes").at(str(path))
        try:
            return cls.parse(raw)
        except ProvenderError as error:
            error.at(str(path))
            raise

    @classmethod
    def at(cls, place: _Source) -> Inventory | None:
        """The inventory of an archive; None for a place without one."""
        try:
            manifest = place.resolve(INVENTORY_TAG).manifest()
        except NotFound:
            return None
        if manifest.effective_type != INVENTORY_TYPE or len(manifest.layers) != 1:
            return None
        with place.fetch(manifest.layers[0]) as reader:
            return cls.parse(read_all(reader, _MAX_BYTES))

    @property
    def digests(self) -> frozenset[Digest]:
        """Everything that is there once the archive, and what it builds on, arrived."""
        return frozenset(row.digest for row in self.content)

    @property
    def lacking(self) -> frozenset[Digest]:
        """What the archive itself has not."""
        return frozenset(row.digest for row in self.content if not row.is_here)

    def artifact(self) -> tuple[Document, Descriptor, bytes]:
        """The manifest for an archive, and its one file."""
        rows = [{"digest": row.digest, "size": row.size, "isHere": row.is_here} for row in self.content]
        raw = json.dumps({"version": self.version, "content": rows}, separators=(",", ":")).encode()
        described = Descriptor.of(raw, INVENTORY_TYPE)
        layer = msgspec.structs.replace(described, annotations={TITLE: INVENTORY_FILE})
        manifest = Manifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type=INVENTORY_TYPE,
            config=EMPTY_DESCRIPTOR,
            layers=(layer,),
        )
        return Document.author(manifest), described, raw


_DECODER: Final = msgspec.json.Decoder(Inventory, dec_hook=decode_digest)


def _unreadable(why: str) -> ProvenderError:
    return InvalidDocument(
        f"the inventory cannot be read: {why[:200]}",
        code="invalid-inventory",
        hint="name the destination itself, or an earlier archive",
    )
