"""Scopes: what a token allows, `type:name:action,…` (distribution, auth/scope.md). Pure."""

from __future__ import annotations

from typing import Self

import msgspec

__all__ = ["CATALOG", "NO_SCOPES", "Scopes"]


class Scopes(msgspec.Struct, frozen=True):
    """Resources with their actions. The order of resources is kept: some token services look at the first one only."""

    resources: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def repository(cls, name: str, *actions: str) -> Self:
        """The scope of one repository."""
        return cls(((f"repository:{name}", tuple(sorted(actions))),))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The scopes in a challenge's `scope`, separated by spaces. A word without a colon is kept as it is."""
        merged = cls()
        for word in text.split()[:32]:
            resource, colon, actions = word.rpartition(":")
            names = tuple(sorted({name for name in actions.split(",") if name})) if colon else ()
            merged = merged | cls(((resource if colon else word, names),))
        return merged

    def __or__(self, other: Scopes) -> Self:
        """Both together, own resources first."""
        merged = {resource: set(actions) for resource, actions in self.resources}
        for resource, actions in other.resources:
            merged.setdefault(resource, set()).update(actions)
        return type(self)(tuple((resource, tuple(sorted(actions))) for resource, actions in merged.items()))

    def covers(self, other: Scopes) -> bool:
        """True if everything in `other` is allowed by this too."""
        own = {resource: set(actions) for resource, actions in self.resources}
        return all(
            resource in own and ("*" in own[resource] or own[resource].issuperset(actions))
            for resource, actions in other.resources
        )

    def texts(self) -> list[str]:
        """One text for each resource, as token services want them."""
        return [f"{resource}:{','.join(actions)}" if actions else resource for resource, actions in self.resources]

    def __str__(self) -> str:
        return " ".join(self.texts())


NO_SCOPES = Scopes()
CATALOG = Scopes((("registry:catalog", ("*",)),))
