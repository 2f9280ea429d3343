"""The files of imgpkg: what is read, what is written byte for byte, and what is refused with its place."""

from __future__ import annotations

import pytest

from provender.bundle.locks import (
    BundleLock,
    ImageLocation,
    ImageLocations,
    ImagesLock,
    LockedBundle,
    LockedImage,
    read_images_lock,
    read_locations,
    read_lock,
)
from provender.errors import InvalidProject

A, B = (f"sha256:{letter * 64}" for letter in "ab")
HEAD = "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: "


def test_an_images_lock_is_written_as_imgpkg_writes_it() -> None:
    lock = ImagesLock(
        images=(
            LockedImage(
                image=f"index.docker.io/library/nginx@{A}", annotations={"z": "true", "kbld.carvel.dev/id": "n"}
            ),
            LockedImage(image=f"ghcr.io/acme/app@{B}"),
        )
    )
    assert lock.text().decode() == (
        "---\napiVersion: imgpkg.carvel.dev/v1alpha1\nimages:\n"
        f'- annotations:\n    kbld.carvel.dev/id: "n"\n    z: "true"\n  image: index.docker.io/library/nginx@{A}\n'
        f"- image: ghcr.io/acme/app@{B}\nkind: ImagesLock\n"
    )
    assert read_images_lock(lock.text(), where="images.yml") == lock


def test_short_names_become_whole_and_lose_their_tags() -> None:
    lock = read_images_lock(f"{HEAD}ImagesLock\nimages: [{{image: 'nginx:1.27@{A}'}}]\n".encode(), where="images.yml")
    assert [each.image for each in lock.images] == [f"index.docker.io/library/nginx@{A}"]
    assert str(lock.images[0].reference) == f"docker.io/library/nginx@{A}"


def test_a_bundle_lock_is_written_and_read() -> None:
    lock = BundleLock(bundle=LockedBundle(image=f"ghcr.io/acme/stack@{A}", tag="1.0"))
    assert lock.text().decode() == (
        f'---\n{HEAD.splitlines()[0]}\nbundle:\n  image: ghcr.io/acme/stack@{A}\n  tag: "1.0"\nkind: BundleLock\n'
    )
    assert read_lock(lock.text(), where="bundle.yml") == lock


def test_locations_are_sorted_and_may_be_none() -> None:
    images = (ImageLocation(image=f"b.example/x@{A}"), ImageLocation(image=f"a.example/x@{B}", is_bundle=True))
    text = ImageLocations(images=images).text()
    assert text.decode() == (
        f"---\n{HEAD.splitlines()[0]}\nimages:\n- image: a.example/x@{B}\n  isBundle: true\n"
        f"- image: b.example/x@{A}\n  isBundle: false\nkind: ImageLocations\n"
    )
    assert set(read_locations(text, where="l").images) == set(images)
    assert ImageLocations().text().endswith(b"images: null\nkind: ImageLocations\n")


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (f"{HEAD}ImagesLock\nimages:\n- image: ghcr.io/acme/app:1\n", "no-digest", "lock.yml:4:10"),
        (f"{HEAD}ImagesLock\nimages: [{{annotations: {{}}}}]\n", "invalid-reference", "lock.yml:3:10"),
        (f"{HEAD}ImagesLock\nimages: [{{image: 'ghcr.io/acme/app@sha256:1'}}]\n", "invalid-digest", "lock.yml:3:18"),
        (f"{HEAD}ImagesLock\nimages: 7\n", "wrong-type", "lock.yml:3:9"),
        (f"{HEAD}Bundle\n", "unknown-list", "lock.yml:2:7"),
        ("apiVersion: imgpkg.carvel.dev/v1\nkind: ImagesLock\n", "unknown-list", "lock.yml:1:13"),
        ("kind: BundleLock\n", "unknown-list", "lock.yml:1:1"),
        (f"{HEAD}BundleLock\n", "invalid-reference", "lock.yml:1:1"),
        ("", "empty-lock", "lock.yml"),
        ("a: [", "invalid-yaml", "lock.yml:2:1"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, code: str, place: str) -> None:
    with pytest.raises(InvalidProject) as caught:
        read_lock(text.encode(), where="lock.yml")
    assert (caught.value.code, caught.value.where) == (code, place)
    assert caught.value.hint
