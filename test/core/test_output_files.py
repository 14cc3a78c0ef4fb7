# SPDX-License-Identifier: Apache-2.0
"""What a command leaves is whole, or is not there."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from gr00t_policy_core.output_files import output_folder, write_whole


def fail_in(folder: Path, *files: str) -> None:
    def work() -> None:
        with output_folder(folder):
            for name in files:
                (folder / name).touch()
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        work()


def test_a_folder_stays_where_something_is_in_it(tmp_path: Path) -> None:
    with output_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").touch()
    fail_in(tmp_path / "c", "finished")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_an_empty_folder_goes_with_its_parents_that_were_made(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    fail_in(tmp_path / "there" / "a" / "b")
    fail_in(tmp_path / "there")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_folder_that_cannot_be_made_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), output_folder(tmp_path / "file" / "b"):
        raise AssertionError("the work has begun")


def test_a_folder_that_cannot_be_written_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(PermissionError, match="cannot be written"), output_folder(tmp_path):
        raise AssertionError("the work has begun")


def test_all_files_are_written_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_whole((first, "before"), (second, "before"))
    really = Path.write_text

    def half_of_the_second(path: Path, text: str, **options: str) -> int:
        if path.name.startswith("first"):
            return really(path, text, **options)
        really(path, text[:2], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half_of_the_second)
    with pytest.raises(OSError, match=r"No space left on device: '.*/second'"):
        write_whole((first, "after"), (second, "after"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "first": "before",
        "second": "before",
    }
