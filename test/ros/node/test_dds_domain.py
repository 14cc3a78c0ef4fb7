# SPDX-License-Identifier: Apache-2.0
"""DDS domains that are kept from others on the machine."""

import tempfile
from pathlib import Path

import pytest

from gr00t_ros.node import dds_domain
from gr00t_ros.node.dds_domain import reserve_domain


@pytest.fixture(autouse=True)
def _own_lock_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_domain_is_nobody_elses_until_its_file_is_closed() -> None:
    first, first_file = reserve_domain()
    second, second_file = reserve_domain()
    assert first != second
    first_file.close()
    third, third_file = reserve_domain()
    assert third == first
    second_file.close()
    third_file.close()


def test_the_file_of_another_user_counts_as_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    path_open = Path.open

    def open_(path: Path, mode: str):
        opened.append(path.name)
        if len(opened) == 1:
            raise PermissionError(13, "Permission denied", str(path))
        return path_open(path, mode)

    monkeypatch.setattr(Path, "open", open_)
    domain, file = reserve_domain()
    file.close()
    assert len(opened) == 2
    assert domain == dds_domain.DOMAINS[1]


def test_without_a_free_domain_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dds_domain, "DOMAINS", [7])
    _, file = reserve_domain()
    with file, pytest.raises(RuntimeError, match="all DDS domains"):
        reserve_domain()


def test_ports_whose_making_was_cut_off_are_removed_from_the_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dds_domain, "DOMAINS", [99])
    monkeypatch.setattr(dds_domain, "SHARED_MEMORY", tmp_path)
    complete, empty, begun, of_domain_100 = (
        tmp_path / f"fastdds_port{port}" for port in (32150, 32165, 32167, 32400)
    )
    complete.write_bytes((2).to_bytes(4, "little") + bytes(60))
    empty.touch()
    begun.write_bytes((1).to_bytes(4, "little") + bytes(60))
    of_domain_100.touch()
    _, file = reserve_domain()
    file.close()
    assert sorted(tmp_path.glob("fastdds_port*")) == [complete, of_domain_100]
