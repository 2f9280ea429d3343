"""Logical registries: aliases, where they are bound, their mirrors, and the rules for concrete references.

Above the pure model and the settings reader, below the storages; reads configuration files, opens no connection.
"""

from provender.locations.lookup import Explanation, Locations
from provender.locations.model import (
    Connection,
    HostTarget,
    LayoutTarget,
    Location,
    Mirror,
    Origin,
    Place,
    Rewrite,
    Route,
    Site,
)
from provender.locations.rules import RuleReason

__all__ = [
    "Connection",
    "Explanation",
    "HostTarget",
    "LayoutTarget",
    "Location",
    "Locations",
    "Mirror",
    "Origin",
    "Place",
    "Rewrite",
    "Route",
    "RuleReason",
    "Site",
]
