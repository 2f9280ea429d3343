"""What the commands for bundles say, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from provender.cli.console import Console, clean, counted, human_bytes
from provender.cli.related_tree import tree_lines

if TYPE_CHECKING:
    from provender.bundle.contents import Bundle, Family, Item
    from provender.bundle.listing import ListedBundle
    from provender.bundle.moving import Part
    from provender.bundle.pulling import PulledBundle
    from provender.cli.bundling import Copied
    from provender.oci import Digest, Document, Reference
    from provender.transfer.graph import Graph

__all__ = ["show_copied", "show_family", "show_list", "show_pulled", "show_pushed"]


def show_pushed(console: Console, target: Reference, document: Document, tag: str) -> None:
    """Show what was pushed."""
    layers = document.manifest().layers
    if console.is_json:
        fields = {
            "reference": f"{target.name}@{document.digest}",
            "digest": document.digest,
            "artifactType": document.manifest().effective_type,
            "size": document.descriptor.size,
            "tags": [tag],
        }
        console.document("bundle-push", fields)
        return
    console.result(f"{target.name}@{document.digest}")
    console.note(f"pushed a bundle of {human_bytes(sum(layer.size for layer in layers))} ({tag})")


def show_pulled(console: Console, asked: Reference, pulled: PulledBundle) -> None:
    """Show what was laid out."""
    if console.is_json:
        fields = {
            "reference": f"{asked.name}@{pulled.digest}",
            "digest": pulled.digest,
            "isRelocated": pulled.is_relocated,
            "files": [{"path": each.path, "kind": each.kind, "size": each.size} for each in pulled.entries],
            "changed": list(pulled.changed),
        }
        console.document("bundle-pull", fields)
        return
    console.result(f"{asked.name}@{pulled.digest}")
    files = counted(len(pulled.entries), "file", "files")
    where = "names the images beside the bundle" if pulled.is_relocated else "is as it was published"
    console.note(f"{files}, {len(pulled.changed)} of them new here; the lock {where}")


def show_copied(console: Console, target: Reference | None, copied: Copied) -> None:
    """Show what a copy to a repository did; an archive was told of when it was written."""
    if target is None or copied.report is None:
        return
    graph, outcomes = copied.graph, copied.report.outcomes
    sent = copied.report.sent_bytes
    counts = Counter(outcome.action for outcome in outcomes)
    if console.is_json:
        fields = {
            "reference": target.name if copied.digest is None else f"{target.name}@{copied.digest}",
            "digest": copied.digest,
            "tags": list(copied.tags),
            "bundles": copied.bundles,
            "images": copied.images,
            "sentBytes": sent,
            "nodes": [
                {
                    "digest": node.digest,
                    "mediaType": node.descriptor.media_type,
                    "size": node.descriptor.size,
                    "role": graph.roles[node.digest, node.is_document],
                    "artifactType": node.artifact_type,
                    "action": outcome.action,
                    "sentBytes": outcome.sent_bytes,
                }
                for node, outcome in zip(graph.nodes, outcomes, strict=True)
            ],
        }
        console.document("bundle-copy", fields)
        return
    console.result(target.name if copied.digest is None else f"{target.name}@{copied.digest}")
    done = f"{counts['copied']} copied ({human_bytes(sent)}), {counts['present']} of {len(outcomes)} there"
    if counts["mounted"]:
        done += f", {counts['mounted']} taken over by the registry"
    what = counted(copied.images, "image", "images")
    if copied.bundles:
        what = f"{counted(copied.bundles, 'bundle', 'bundles')}, {what}"
    console.note(f"{what}: {done}; tags: {', '.join(copied.tags) or 'none'}")


def show_list(console: Console, found: Sequence[tuple[Reference, Sequence[ListedBundle]]]) -> None:
    """Show bundles with their tags."""
    rows = [(reference, bundle) for reference, bundles in found for bundle in bundles]
    if console.is_json:
        fields = [
            {
                "repository": reference.name,
                "digest": bundle.digest,
                "kind": bundle.kind,
                "tags": list(bundle.tags),
            }
            for reference, bundle in rows
        ]
        console.document("bundle-list", {"bundles": fields})
        return
    if not rows:
        console.note("no bundles with a tag")
        return
    console.table(
        ("REPOSITORY", "TAGS", "KIND", "DIGEST"),
        [(reference.name, ", ".join(bundle.tags), bundle.kind, bundle.digest) for reference, bundle in rows],
    )


def show_family(console: Console, family: Family, parts: Sequence[Part]) -> None:
    """Show a bundle as a tree: its images, the bundles inside, and what belongs to each."""
    tree = _Tree(family, parts)
    root = family.root
    if console.is_json:
        fields = {
            "reference": f"{root.place.name}@{root.digest}",
            "digest": root.digest,
            "kind": root.kind,
            "annotations": root.document.manifest().annotations or {},
            "related": tree.related(root.digest),
            "images": tree.fields(root, (root.digest,)),
        }
        console.document("bundle", fields)
        return
    console.result(clean(f"{root.place.name}@{root.digest} ({root.kind})"))
    for line in tree.lines(root, "", (root.digest,)):
        console.result(line)
    items = family.items()
    images = [item for item in items if not item.is_bundle]
    signed = [item for item in images if tree.is_signed(item.digest)]
    console.note(
        f"{counted(len(images), 'image', 'images')}, {len(signed)} of them signed; "
        f"{counted(len(family.bundles) - 1, 'bundle', 'bundles')} inside; "
        f"the bundle itself is {'' if tree.is_signed(root.digest) else 'not '}signed"
    )


class _Tree:
    """The family with what belongs to each digest. What was shown already is only named.

    Tags that keep a digest or say where its images are do not count as something that belongs to it.
    """

    def __init__(self, family: Family, parts: Sequence[Part]) -> None:
        import msgspec

        self._bundles: Mapping[Digest, Bundle] = family.bundles
        self._graphs: dict[Digest, Graph] = {}
        self._shown: set[Digest] = set()
        for part in parts:
            edges = tuple(edge for edge in part.graph.edges if not (edge.tag or "").endswith(".imgpkg"))
            graph = msgspec.structs.replace(part.graph, edges=edges)
            self._graphs |= {root.digest: graph for root in graph.roots}

    def lines(self, bundle: Bundle, indent: str, path: tuple[Digest, ...]) -> Iterator[str]:
        related = list(tree_lines(self._graphs[bundle.digest], bundle.digest))
        if bundle.items:
            related = [_going_on(line) for line in related]
        yield from (indent + line for line in related)
        for number, item in enumerate(bundle.items):
            is_last = number == len(bundle.items) - 1
            yield f"{indent}{'└── ' if is_last else '├── '}{self._label(item, path)}"
            yield from self._below(item, indent + ("    " if is_last else "│   "), path)

    def _label(self, item: Item, path: tuple[Digest, ...]) -> str:
        name = f"{item.place.name}@{item.digest}"
        label = f"{'bundle ' if item.is_bundle else ''}{name}"
        if self._is_repeated(item, path):
            label += " (see above)"
        return clean(label)

    def _below(self, item: Item, indent: str, path: tuple[Digest, ...]) -> Iterator[str]:
        if item.locked.image != f"{item.place.name}@{item.digest}":
            yield clean(f"{indent}origin: {item.locked.image}")
        for key, value in sorted(item.locked.annotations.items()):
            yield clean(f"{indent}{key}: {value}")
        if self._is_repeated(item, path):
            return
        bundle = self._bundles.get(item.digest)
        if bundle is None:
            yield from (indent + line for line in tree_lines(self._graphs[item.digest], item.digest))
            return
        self._shown.add(item.digest)
        yield from self.lines(bundle, indent, (*path, item.digest))

    def _is_repeated(self, item: Item, path: tuple[Digest, ...]) -> bool:
        return item.digest in path or item.digest in self._shown

    def fields(self, bundle: Bundle, path: tuple[Digest, ...]) -> list[dict[str, object]]:
        """The images of a bundle, nested."""
        rows: list[dict[str, object]] = []
        for item in bundle.items:
            row: dict[str, object] = {
                "image": f"{item.place.name}@{item.digest}",
                "origin": item.locked.image,
                "digest": item.digest,
                "isBundle": item.is_bundle,
                "annotations": item.locked.annotations,
                "related": self.related(item.digest),
            }
            inner = self._bundles.get(item.digest)
            if inner is not None:
                row["kind"] = inner.kind
                is_repeated = self._is_repeated(item, path)
                self._shown.add(item.digest)
                row["images"] = [] if is_repeated else self.fields(inner, (*path, item.digest))
                row["isShownAbove"] = is_repeated
            rows.append(row)
        return rows

    def is_signed(self, digest: Digest) -> bool:
        """True if a signature belongs to it, or to each platform of it; whether it is right is another matter."""
        graph = self._graphs[digest]
        signed = {each["subject"] for each in self.related(digest) if "signature" in _list(each["kinds"])}
        platforms = [edge.digest for edge in graph.below.get(digest, ()) if edge.kind == "child"]
        return digest in signed or (bool(platforms) and signed.issuperset(platforms))

    def related(self, digest: Digest) -> list[dict[str, object]]:
        """What belongs to a digest, to its platforms, and to what belongs to those, level by level."""
        from provender.transfer.related import DigestTag, kinds_of

        graph = self._graphs[digest]
        found: list[dict[str, object]] = []
        seen, pending = {digest}, [digest]
        for owner in pending:  # grows while it is walked
            for edge in graph.below.get(owner, ()):
                if not graph.is_document_edge(edge):
                    continue
                if edge.kind != "child":
                    node = graph.by_digest[edge.digest]
                    parsed = DigestTag.parse(edge.tag) if edge.tag is not None else None
                    kinds = kinds_of(node.artifact_type, node.annotations) | (parsed.kinds if parsed else frozenset())
                    found.append(
                        {
                            "digest": edge.digest,
                            "subject": owner,
                            "kinds": sorted(kinds),
                            "artifactType": node.artifact_type,
                            "tag": edge.tag,
                        }
                    )
                if edge.digest not in seen:
                    seen.add(edge.digest)
                    pending.append(edge.digest)
        return found


def _going_on(line: str) -> str:
    """A line of a tree below which the same tree goes on."""
    if line.startswith("└── "):
        return f"├── {line[4:]}"
    return f"│   {line[4:]}" if line.startswith("    ") else line


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
