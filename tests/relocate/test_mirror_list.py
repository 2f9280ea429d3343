"""Lists in flux-mirror's style: what is chosen, where it goes, and where a wrong one is wrong."""

from __future__ import annotations

import pytest

from provender.errors import InvalidProject
from provender.relocate.locks import read_wishes
from provender.relocate.selector import Selector, TagExpression

TAGS = ("1.9.0", "1.10.0", "v2.0.0", "2.1.0-rc.1", "latest", "main-a1b2c3d-1731420000", "main-ffffff0-1731420009")

LIST = """\
apiVersion: mirror.plugin.fluxcd.io/v1beta1
kind: Config
artifacts:
  - source: ghcr.io/fluxcd/flux-cli
    destination: quay.io/example/flux-cli
    selector: {semver: ">=2.7.0 <3.0.0", limit: 10}
    includeReferrers: true
  - source: ghcr.io/example/nightly
    selector:
      regex: {pattern: '^.+-[0-9a-f]+-(?P<ts>\\d+)$', extract: '$ts'}
      sortBy: numerical
      limit: 5
    includeReferrers: false
    overwrite: true
  - source: oci://ghcr.io/example/app:1.2
charts:
  - name: my-app
    source: oci://ghcr.io/example/charts
    destination: oci://quay.io/example/charts
    version: ">=1.0.0"
    limit: 3
"""


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        (Selector(), ["2.1.0-rc.1"]),
        (Selector(semver="1.x"), ["1.10.0"]),
        (Selector(semver="1.x", limit=0), ["1.10.0", "1.9.0"]),
        (Selector(semver=">=1.0.0", limit=2), ["v2.0.0", "1.10.0"]),
        (Selector(regex="^lat", sort_by="alphabetical"), ["latest"]),
        (Selector(sort_by="alphabetical"), ["v2.0.0"]),
        (Selector(sort_by="numerical"), []),
        (
            Selector(regex=TagExpression(r"^main-.+-(?P<at>\d+)$", "${at}"), sort_by="numerical", limit=0),
            ["main-ffffff0-1731420009", "main-a1b2c3d-1731420000"],
        ),
        (Selector(regex=TagExpression(r"^main-.+-(\d+)$", "$1"), sort_by="numerical"), ["main-ffffff0-1731420009"]),
    ],
)
def test_the_highest_of_those_that_match_are_chosen(selector: Selector, chosen: list[str]) -> None:
    assert selector.select(TAGS) == chosen


def test_numbers_are_compared_as_numbers() -> None:
    assert Selector(sort_by="numerical", limit=0).select(["9", "10", "-3", "-4", "9.5", "x"]) == [
        "10",
        "9.5",
        "9",
        "-3",
        "-4",
    ]


def test_a_list_says_what_goes_where() -> None:
    cli, nightly, app, chart = read_wishes(LIST, where="mirror.yaml")
    assert (str(cli.source), str(cli.destination)) == ("ghcr.io/fluxcd/flux-cli", "quay.io/example/flux-cli")
    assert cli.selector == Selector(semver=">=2.7.0 <3.0.0", limit=10)
    assert (cli.is_bare, cli.keeps_tags) == (False, True)
    assert (nightly.destination, nightly.is_bare, nightly.keeps_tags) == (None, True, False)
    assert (app.target, app.tags, app.selector) == ("1.2", ("1.2",), None)
    assert (str(chart.source), str(chart.destination)) == (
        "ghcr.io/example/charts/my-app",
        "quay.io/example/charts/my-app",
    )
    assert chart.selector == Selector(semver=">=1.0.0", limit=3)


@pytest.mark.parametrize(
    ("old", "new", "place", "code"),
    [
        ("source: ghcr.io/fluxcd/flux-cli", "source: Ghcr.io/Flux CD", "4:13", None),
        ("quay.io/example/flux-cli\n", "quay.io/example/flux-cli:1\n", "5:18", "invalid-mapping"),
        ('">=2.7.0 <3.0.0"', '"two"', "6:15", None),
        ("limit: 10", "limit: -1", "6:15", None),
        ("includeReferrers: true", "includeReferers: true", "7:5", "unknown-key"),
        ("(?P<ts>", "(?P<ts>(", "10:14", None),
        ("$ts", "$tz", "10:14", None),
        ("numerical", "numeric", "11:15", None),
        ("source: oci://ghcr.io/example/charts", "source: https://charts.example.com", "18:13", "not-in-a-registry"),
        ('version: ">=1.0.0"', 'version: "x y"', "20:14", None),
        ("    limit: 3", "    limit: -3", "21:12", None),
        ("app:1.2\n", "app:1.2\n    selector: {limit: 2}\n", "16:15", "invalid-wish"),
    ],
)
def test_a_wrong_list_is_refused_with_its_place(old: str, new: str, place: str, code: str | None) -> None:
    assert old in LIST
    with pytest.raises(InvalidProject) as caught:
        read_wishes(LIST.replace(old, new, 1), where="mirror.yaml")
    assert caught.value.where == f"mirror.yaml:{place}"
    assert code in (None, caught.value.code)
