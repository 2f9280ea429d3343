"""Wishes and mappings: what is relocated, and whither, as people write it."""

from __future__ import annotations

import pytest

from provender.errors import InvalidProject, ProvenderError
from provender.oci import Reference
from provender.relocate.locks import read_wishes
from provender.relocate.mapping import Mapping, Rule
from provender.relocate.wish import Wish

HEX = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
DIGEST = f"sha256:{HEX}"


def test_a_tag_keeps_its_name_and_a_digest_has_none() -> None:
    tagged, pinned = Wish.parse("ghcr.io/acme/app:1.2"), Wish.parse(f"ghcr.io/acme/app@{DIGEST}")
    assert (tagged.source.name, tagged.target, tagged.tags) == ("ghcr.io/acme/app", "1.2", ("1.2",))
    assert (pinned.target, pinned.tags) == (DIGEST, ())
    both = Wish.parse(f"ghcr.io/acme/app:1.2@{DIGEST}")
    assert (both.target, both.tags) == (DIGEST, ("1.2",))


@pytest.mark.parametrize(
    ("text", "versions", "chosen"),
    [
        ("acme/app:*", None, ["1.0.0", "1.1.0", "2.0.0", "latest"]),
        ("acme/app:1.*", None, ["1.0.0", "1.1.0"]),
        ("acme/app:[12].0.?", None, ["1.0.0", "2.0.0"]),
        ("acme/app", ">=1.1", ["1.1.0", "2.0.0"]),
        ("acme/app:1*", ">=1.1", ["1.1.0"]),
        ("acme/app:9*", None, []),
    ],
)
def test_a_pattern_or_a_range_chooses_tags_but_never_digest_tags(
    text: str, versions: str | None, chosen: list[str]
) -> None:
    tags = ["latest", "1.0.0", "1.1.0", "2.0.0", f"sha256-{HEX}", f"sha256-{HEX}.sig"]
    wish = Wish.parse(text, versions=versions)
    assert wish.is_selection
    assert wish.select(tags) == chosen


def test_a_pattern_of_a_registry_with_a_port_is_no_port() -> None:
    assert Wish.parse("localhost:5000/acme/app:*").source.name == "localhost:5000/acme/app"


@pytest.mark.parametrize(
    ("text", "versions", "code"),
    [
        ("ghcr.io/acme/app", None, "no-target"),
        ("ghcr.io/acme/app:1.0", ">=1", "invalid-wish"),
        ("ghcr.io/acme/app:[;]*", None, "invalid-pattern"),
        ("ghcr.io/acme/app", "nonsense", "invalid-range"),
        ("UPPER/app:1", None, None),
    ],
)
def test_what_names_nothing_is_refused_with_a_hint(text: str, versions: str | None, code: str | None) -> None:
    with pytest.raises(ProvenderError) as caught:
        Wish.parse(text, versions=versions)
    assert code is None or caught.value.code == code
    assert caught.value.hint


def test_a_list_has_one_wish_a_line_and_says_which_line_is_wrong() -> None:
    wishes = read_wishes(f"# ours\nacme/app:1.0  # the first\n\nacme/lib@{DIGEST}\n", where="list.txt")
    assert [str(wish) for wish in wishes] == ["acme/app:1.0", f"acme/lib@{DIGEST}"]
    with pytest.raises(InvalidProject) as caught:
        read_wishes("acme/app:1.0\nacme\n", where="list.txt")
    assert caught.value.where == "list.txt:2"


def test_the_locks_of_imgpkg_are_read() -> None:
    images = (
        "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n"
        f"- image: index.docker.io/library/nginx@{DIGEST}\n  annotations: {{kbld.carvel.dev/id: nginx}}\n"
        f"- image: ghcr.io/acme/app@{DIGEST}\n"
    )
    assert [str(wish) for wish in read_wishes(images, where="images.yml")] == [
        f"docker.io/library/nginx@{DIGEST}",
        f"ghcr.io/acme/app@{DIGEST}",
    ]
    bundle = (
        "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: BundleLock\n"
        f"bundle: {{image: 'ghcr.io/acme/bundle@{DIGEST}', tag: 'v1'}}\n"
    )
    (wish,) = read_wishes(bundle, where="bundle.yml")
    assert (wish.target, wish.tags) == (DIGEST, ("v1",))


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: ConfigMap\n",
        "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages: [{image: 'ghcr.io/acme/app:1'}]\n",
        "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages: [{image: 7}]\n",
        "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: BundleLock\n",
    ],
)
def test_what_is_no_lock_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        read_wishes(text, where="lock.yml")
    assert (caught.value.where or "").startswith("lock.yml")


def test_the_longest_rule_wins_and_the_base_takes_the_rest() -> None:
    mapping = Mapping(
        base="registry.example/mirror",
        rules=(Rule.parse("ghcr.io/acme=registry.example/ours"), Rule.parse("ghcr.io/acme/app=layout:./store/app")),
    )

    def goes(text: str) -> str:
        return mapping.destination(Reference.parse(text)).name

    assert goes("ghcr.io/acme/app") == "layout:./store/app"
    assert goes("ghcr.io/acme/lib/x") == "registry.example/ours/lib/x"
    assert goes("ghcr.io/acmes/lib") == "registry.example/mirror/acmes/lib"
    assert goes("layout:./some/where") == "registry.example/mirror/where"


@pytest.mark.parametrize("text", ["", "x", "=y", "x=", "/=y"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ProvenderError) as caught:
        Rule.parse(text)
    assert caught.value.code == "invalid-mapping"


def test_a_repository_that_nobody_maps_is_refused() -> None:
    with pytest.raises(ProvenderError) as caught:
        Mapping(rules=(Rule.parse("ghcr.io/acme=x.example/y"),)).destination(Reference.parse("quay.io/a/b"))
    assert caught.value.code == "no-destination"


def test_a_place_that_names_an_artifact_is_refused() -> None:
    with pytest.raises(ProvenderError) as caught:
        Mapping(rules=(Rule.parse("ghcr.io/a=x.example/y:1"),)).destination(Reference.parse("ghcr.io/a"))
    assert caught.value.code == "invalid-mapping"
