"""Files in parts: written together or not at all, read as one, and precise about a part that is not what it was."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from provender.errors import IntegrityError, InvalidDocument, InvalidReference, NotFound, ProvenderError
from provender.storage.split_files import SplitFile, stored_volume
from provender.storage.verify import read_all

CONTENT = bytes(range(256)) * 10


def write(path: Path, content: bytes = CONTENT, *, part_bytes: int = 1000) -> None:
    with SplitFile(path, part_bytes) as file:
        for at in range(0, len(content), 700):
            file.write(content[at : at + 700])
        file.commit()


def content_of(path: Path) -> bytes:
    with closing(stored_volume(path, where="it").open()) as cursor:
        return read_all(cursor, 1 << 20)


def failure(path: Path) -> ProvenderError:
    with pytest.raises(ProvenderError) as caught:
        stored_volume(path, where="it").blame()
    return caught.value


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    write(tmp_path / "a.tar")
    return tmp_path


def test_parts_are_full_but_the_last_and_the_list_says_what_they_are(parts: Path) -> None:
    assert sorted(os.listdir(parts)) == ["a.tar.001", "a.tar.002", "a.tar.003", "a.tar.parts"]
    pieces = [CONTENT[:1000], CONTENT[1000:2000], CONTENT[2000:]]
    assert json.loads((parts / "a.tar.parts").read_bytes()) == {
        "version": 1,
        "size": len(CONTENT),
        "parts": [
            {"name": f"a.tar.00{number}", "size": len(piece), "sha256": hashlib.sha256(piece).hexdigest()}
            for number, piece in enumerate(pieces, start=1)
        ],
    }


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 2000])
def test_content_of_any_size_comes_back(tmp_path: Path, size: int) -> None:
    write(tmp_path / "a", CONTENT[:size])
    assert content_of(tmp_path / "a.001") == CONTENT[:size]
    assert len(os.listdir(tmp_path)) == (size + 999) // 1000 + 1


def test_the_parts_are_read_by_the_first_of_them_and_by_their_list_from_any_place(parts: Path) -> None:
    assert content_of(parts / "a.tar.001") == content_of(parts / "a.tar.parts") == CONTENT
    with closing(stored_volume(parts / "a.tar.001", where="it").open()) as cursor:
        for position in (0, 998, 1000, 2559, 3000):
            cursor.seek(position)
            assert read_all(cursor, 9999) == CONTENT[position:]


def test_parts_without_a_list_are_read_as_far_as_they_go(parts: Path) -> None:
    (parts / "a.tar.parts").unlink()
    assert content_of(parts / "a.tar.001") == CONTENT
    (parts / "a.tar.002").unlink()
    error = failure(parts / "a.tar.001")
    assert (error.code, error.exit_status) == ("part-missing", 66)
    assert "a.tar.002" in error.message


def test_another_part_than_the_first_is_not_the_archive(parts: Path) -> None:
    error = failure(parts / "a.tar.002")
    assert isinstance(error, InvalidReference)
    assert "a.tar.001" in str(error.hint)


def test_the_parts_of_a_zarf_package_are_read_by_the_one_without_content(parts: Path) -> None:
    for number in (1, 2, 3):
        (parts / f"a.tar.00{number}").rename(parts / f"a.tar.part00{number}")
    (parts / "a.tar.part000").write_text('{"Count":3}')
    assert content_of(parts / "a.tar.part000") == content_of(parts / "a.tar.part001") == CONTENT


def test_missing_parts_are_named(parts: Path) -> None:
    (parts / "a.tar.001").unlink()
    (parts / "a.tar.003").unlink()
    error = failure(parts / "a.tar.parts")
    assert isinstance(error, NotFound)
    assert error.message == "of the 3 parts of the archive 2 are missing: a.tar.001, a.tar.003"


def test_swapped_parts_are_named(parts: Path) -> None:
    (parts / "a.tar.001").rename(parts / "x")
    (parts / "a.tar.002").rename(parts / "a.tar.001")
    (parts / "x").rename(parts / "a.tar.002")
    error = failure(parts / "a.tar.001")
    assert error.code == "parts-swapped"
    assert error.message.startswith("a.tar.001 has the content of a.tar.002")


@pytest.mark.parametrize("content", [CONTENT[1000:1999], CONTENT[1000:1999] + b"!", b""])
def test_a_damaged_part_is_named(parts: Path, content: bytes) -> None:
    (parts / "a.tar.002").write_bytes(content)
    error = failure(parts / "a.tar.001")
    assert isinstance(error, IntegrityError)
    assert error.code == "part-damaged"
    assert "the part a.tar.002 is damaged" in error.message


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [{"name": "../a", "size": 1, "sha256": "0" * 64}],
        [{"name": "..", "size": 1, "sha256": "0" * 64}],
        [{"name": "c:\\a", "size": 1, "sha256": "0" * 64}],
        [{"name": "a", "size": -1, "sha256": "0" * 64}],
        [{"name": "a", "size": 1, "sha256": "0"}],
        [{"name": "a", "size": 1, "sha256": "0" * 64}] * 2,
        [{"name": f"a{number}", "size": 1, "sha256": "0" * 64} for number in range(10_001)],
    ],
)
def test_a_hostile_list_is_refused(tmp_path: Path, parts: list[dict[str, object]]) -> None:
    path = tmp_path / "a.parts"
    path.write_text(json.dumps({"version": 1, "size": 1, "parts": parts}))
    assert isinstance(failure(path), InvalidDocument)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"version": 2, "size": 0, "parts": []}', b" " * (5 << 20)])
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parts").write_bytes(content)
    assert failure(tmp_path / "a.parts").code == "invalid-parts"


def test_what_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    with SplitFile(tmp_path / "a", 1000) as file:
        file.write(CONTENT)
    assert os.listdir(tmp_path) == []


def test_a_failure_while_the_parts_get_their_names_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.003").mkdir()  # which no file can replace
    with SplitFile(tmp_path / "a", 1000) as file:
        file.write(CONTENT)
        with pytest.raises(IsADirectoryError):
            file.commit()
    assert os.listdir(tmp_path) == ["a.003"]


def test_a_shorter_file_leaves_no_parts_of_the_longer_one(parts: Path) -> None:
    write(parts / "a.tar", CONTENT[:900])
    assert sorted(os.listdir(parts)) == ["a.tar.001", "a.tar.parts"]
    assert content_of(parts / "a.tar.001") == CONTENT[:900]
