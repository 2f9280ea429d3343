"""Relocation: many artifacts with everything that belongs to them, moved by a plan, and proved to be there.

Over `transfer`, which moves what belongs to one repository. Wishes and a mapping become a plan; the plan is applied
with a journal; what is at the destination is compared with the plan through the destination's own discovery.
"""
