from __future__ import annotations

from provender.storage.registry.scopes import Scopes


def test_actions_are_sorted_and_the_first_resource_stays_first() -> None:
    both = Scopes.repository("dst", "push", "pull") | Scopes.parse("repository:src:pull repository:dst:pull")
    assert both.texts() == ["repository:dst:pull,push", "repository:src:pull"]


def test_a_name_may_hold_a_port() -> None:
    assert Scopes.parse("repository:host:5000/a:pull").resources == (("repository:host:5000/a", ("pull",)),)


def test_an_opaque_scope_is_kept() -> None:
    assert Scopes.parse("aws").texts() == ["aws"]


def test_a_wider_scope_covers_a_narrower_one() -> None:
    wide = Scopes.parse("repository:a:pull,push repository:b:*")
    assert wide.covers(Scopes.parse("repository:a:pull repository:b:delete"))
    assert not wide.covers(Scopes.parse("repository:a:delete"))
    assert not wide.covers(Scopes.parse("repository:c:pull"))
