"""vendir.yml and vendir.lock.yml as what is to be relocated."""

from __future__ import annotations

from pathlib import Path

import pytest

from provender.dialects.vendir.relocation import is_vendir, read_vendir_wishes
from provender.errors import InvalidProject

DIGEST = "sha256:" + "a" * 64

CONFIG = """\
apiVersion: vendir.k14s.io/v1alpha1
kind: Config
directories:
- path: vendor
  contents:
  - path: image
    image: {url: nginx:1.27}
  - path: bundle
    imgpkgBundle: {image: "ghcr.io/acme/bundle@DIGEST"}
  - path: artifact
    ociArtifact: {image: ghcr.io/acme/files, tag: v1}
  - path: repository
    git: {url: "https://example.com/r.git", ref: main}
"""

LOCK = """\
apiVersion: vendir.k14s.io/v1alpha1
kind: LockConfig
directories:
- path: vendor
  contents:
  - path: image
    image: {url: "index.docker.io/library/nginx@DIGEST", tag: "1.27"}
  - path: bundle
    imgpkgBundle: {image: "ghcr.io/acme/bundle@DIGEST"}
  - path: artifact
    ociArtifact: {image: "ghcr.io/acme/files@DIGEST", tag: v1}
  - path: repository
    git: {sha: abc, commitTitle: x}
"""


def wishes(directory: Path, text: str) -> list[tuple[str, tuple[str, ...]]]:
    path = directory / "file.yml"
    path.write_text(text.replace("DIGEST", DIGEST))
    assert is_vendir(path.read_bytes())
    return [(str(wish), wish.tags) for wish in read_vendir_wishes(path, path.read_bytes())]


def test_a_configuration_names_tags(tmp_path: Path) -> None:
    assert wishes(tmp_path, CONFIG) == [
        ("docker.io/library/nginx:1.27", ("1.27",)),
        (f"ghcr.io/acme/bundle@{DIGEST}", ()),
        ("ghcr.io/acme/files:v1", ("v1",)),
    ]


def test_a_lock_names_digests(tmp_path: Path) -> None:
    assert wishes(tmp_path, LOCK) == [
        (f"docker.io/library/nginx@{DIGEST}", ("1.27",)),
        (f"ghcr.io/acme/bundle@{DIGEST}", ()),
        (f"ghcr.io/acme/files@{DIGEST}", ("v1",)),
    ]


@pytest.mark.parametrize(
    ("text", "old", "new", "place", "code"),
    [
        (CONFIG, "url: nginx:1.27", "url: nginx, tagSelection: {semver: {constraints: 1.x}}", ":6:5", "no-target"),
        (CONFIG, "files, tag: v1", "files, tagFilter: v.*", ":10:5", "no-target"),
        (CONFIG, "url: nginx:1.27", "url: NGINX", ":6:5", None),
        (CONFIG, "url: nginx:1.27", "url: [7]", ":7:18", None),
        (LOCK, "nginx@DIGEST", "nginx:1", "", "no-digest"),
        (LOCK, "v1alpha1", "v1alpha2", "", None),
    ],
)
def test_what_names_no_artifact_is_refused_with_its_place(
    tmp_path: Path, text: str, old: str, new: str, place: str, code: str | None
) -> None:
    path = tmp_path / "file.yml"
    assert old in text
    path.write_text(text.replace(old, new, 1).replace("DIGEST", DIGEST))
    with pytest.raises(InvalidProject) as caught:
        read_vendir_wishes(path, path.read_bytes())
    assert (caught.value.where or "").startswith(f"{path}{place}")
    assert code in (None, caught.value.code)
