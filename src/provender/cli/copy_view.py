"""What a copy did or would do, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provender.cli.console import Console, clean, counted, human_bytes

if TYPE_CHECKING:
    from provender.artifact.narrow import Narrowed
    from provender.oci import Digest, Reference
    from provender.transfer.copy import Report
    from provender.transfer.graph import Graph, Node
    from provender.transfer.plan import Plan

__all__ = ["show_copy", "show_plan", "show_unchanged"]


def show_unchanged(console: Console, target: Reference, digest: Digest, names: tuple[str, ...]) -> None:
    """Say that a fast copy had nothing to do."""
    if console.is_json:
        fields = {"reference": f"{target.name}@{digest}", "digest": digest, "tags": list(names), "unchanged": True}
        console.document("copy", fields)
        return
    console.result(f"{target.name}@{digest}")
    console.note(f"nothing to do: {', '.join(names)} is there")


def show_plan(console: Console, target: Reference, plan: Plan, narrowed: Narrowed) -> None:
    """Show what a copy would do."""
    graph = plan.graph
    digest = graph.roots[0].digest
    wanted = [node for node in graph.nodes if node.digest in (plan.documents if node.is_document else plan.blobs)]
    if console.is_json:
        fields = {
            "reference": f"{target.name}@{digest}",
            "digest": digest,
            "isNewIndex": narrowed.is_new,
            "bytes": plan.most_bytes,
            "missing": [_node(graph, node) for node in wanted],
            "tags": [
                {"tag": change.tag, "digest": change.digest, "before": change.before}
                for change in plan.tags
                if change.is_change
            ],
        }
        console.document("copy-plan", fields)
        return
    rows = [
        [graph.roles[node.digest, node.is_document], human_bytes(node.descriptor.size), node.digest] for node in wanted
    ]
    if rows:
        console.table(["ROLE", "SIZE", "DIGEST"], rows)
    for change in plan.tags:
        if change.is_change:
            before = f" (now {change.before})" if change.before else ""
            console.result(clean(f"tag {change.tag} -> {change.digest}{before}"))
    there = len(graph.nodes) - len(wanted)
    console.note(f"would copy {len(wanted)} of {len(graph.nodes)}, {human_bytes(plan.most_bytes)}; {there} are there")


def _node(graph: Graph, node: Node) -> dict[str, object]:
    return {
        "digest": node.digest,
        "mediaType": node.descriptor.media_type,
        "size": node.descriptor.size,
        "role": graph.roles[node.digest, node.is_document],
        "artifactType": node.artifact_type,
    }


def show_copy(
    console: Console,
    target: Reference,
    graph: Graph,
    report: Report,
    narrowed: Narrowed,
    names: tuple[str, ...],
) -> None:
    """Show what a copy did."""
    digest = graph.roots[0].digest
    if console.is_json:
        fields = {
            "reference": f"{target.name}@{digest}",
            "digest": digest,
            "isNewIndex": narrowed.is_new,
            "tags": list(names),
            "digestTags": sorted(edge.tag for edge in graph.edges if edge.tag),
            "sentBytes": report.sent_bytes,
            "nodes": [
                {**_node(graph, node), "action": each.action, "sentBytes": each.sent_bytes}
                for node, each in zip(graph.nodes, report.outcomes, strict=True)
            ],
            "leftOut": [
                {"digest": each.digest, "owner": each.owner, "reason": each.reason, "detail": each.detail}
                for each in graph.left_out
            ],
        }
        console.document("copy", fields)
        return
    console.result(f"{target.name}@{digest}")
    if narrowed.is_new:
        console.note("this is a new index of the chosen platforms, with a digest of its own")
    roles = [graph.roles[node.digest, True] for node in graph.nodes if node.is_document]
    related = len([role for role in roles if role in ("referrer", "digest-tag")])
    belonging = counted(related, "artifact that belongs", "artifacts that belong")
    done = [f"{report.count('copied')} copied ({human_bytes(report.sent_bytes)})", f"{report.count('present')} there"]
    if report.count("mounted"):
        done.append(f"{report.count('mounted')} taken over by the registry")
    console.note(f"{', '.join(done)}; with {belonging} to it; tags: {', '.join(names) or 'none'}")
