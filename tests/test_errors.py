"""The error tree: codes, exit statuses, and the place of an error."""

from __future__ import annotations

import re

import pytest

from provender import errors

KINDS = [getattr(errors, name) for name in errors.__all__ if name != "ProvenderError"]


def test_there_are_at_most_a_dozen() -> None:
    assert len(KINDS) <= 12


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_stable_code_and_a_documented_exit_status(kind: type[errors.ProvenderError]) -> None:
    error = kind("it broke")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", error.code)
    assert error.exit_status in {1, 2, 65, 66, 69, 75, 77, 78, 82}
    assert error.retryable == (error.exit_status == 75)
    assert str(error) == error.message == "it broke"


def test_an_instance_may_say_more_than_its_class() -> None:
    error = errors.Unavailable("html", code="not-a-registry", exit_status=69, retryable=False, where="host", hint="do")
    assert (error.code, error.exit_status, error.retryable, error.where, error.hint) == (
        "not-a-registry",
        69,
        False,
        "host",
        "do",
    )
    assert errors.Unavailable("x").exit_status == 75


def test_a_known_place_is_kept() -> None:
    error = errors.NotFound("gone").at("first")
    assert error.at("second").where == "first"
