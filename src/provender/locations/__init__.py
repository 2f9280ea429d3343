"""Logical registries: aliases, where they are bound, and the rewrites of concrete references.

Above the pure model and the settings reader, below the storages; reads configuration files, opens no connection.
"""

from provender.locations.lookup import Explanation, Locations
from provender.locations.model import HostTarget, LayoutTarget, Location, Mirror, Origin, Place, Rewrite

__all__ = [
    "Explanation",
    "HostTarget",
    "LayoutTarget",
    "Location",
    "Locations",
    "Mirror",
    "Origin",
    "Place",
    "Rewrite",
]
