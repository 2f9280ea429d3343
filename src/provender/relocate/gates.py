"""Gates: what has to hold of a plan's content before anything is written: evidence is there, and it verifies.

That it is there is looked up in the graph (`evidence`). Verifying it is for a `Verifier`; without one a policy is
refused, never passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from provender.errors import NotFound, Unsupported
from provender.oci import Reference
from provender.relocate.evidence import Requirement, refuse_without
from provender.relocate.plan import Leg
from provender.storage.open import Storages
from provender.transfer.copy import CopySource
from provender.transfer.graph import Graph

__all__ = ["LoadVerifier", "Verifier", "refuse_unfit", "verifier_for"]

_MAX_POLICY_BYTES: Final = 1 << 20


class Verifier(Protocol):
    """Holds content against the policy that it was made for."""

    def verify(self, graph: Graph, source: CopySource, *, where: str) -> None:
        """Nothing if every root of the graph, with what belongs to it, is as the policy wants it.

        Raises VerificationFailed: exit status 82 for what does not verify, 83 for evidence that is missing.
        """
        ...


LoadVerifier = Callable[[bytes, str], Verifier]
"""Makes the verifier of a policy, given its bytes and what it is called in messages."""


def verifier_for(policy: Path, *, load: LoadVerifier | None = None) -> Verifier:
    """The verifier of the policy in a file. Raises NotFound, Unsupported (`no-verifier`) where none is installed."""
    try:
        with open(policy, "rb") as file:
            raw = file.read(_MAX_POLICY_BYTES)
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no policy {policy}", code="no-policy", where=str(policy), hint="name the file of a policy"
        ) from error
    if load is None:
        raise Unsupported(
            "no verifier is installed: nothing can be held against a policy, and nothing was moved",
            code="no-verifier",
            where=str(policy),
            hint="--require signature wants that signatures are there; 'cosign verify' at the source verifies them",
        )
    return load(raw, str(policy))


def refuse_unfit(
    legs: Sequence[Leg], source: Storages, *, requirement: Requirement | None, verifier: Verifier | None
) -> None:
    """VerificationFailed unless the content of every leg has what is required, and verifies."""
    if requirement is not None:
        for leg in legs:
            refuse_without(requirement, leg.graph, where=leg.source)
    if verifier is not None:
        for leg in legs:
            verifier.verify(leg.graph, source.open(Reference.parse(leg.source)).storage, where=leg.source)
