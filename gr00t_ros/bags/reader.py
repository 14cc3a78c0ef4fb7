# SPDX-License-Identifier: Apache-2.0
"""Reads ROS bags, in the order in which they were written: MCAP and SQLite files, ours or others'.

MCAP files are read by the `mcap` library, or by rosbag2_py where only that is installed. A file
without an end, left by a recorder that was killed, is read up to its last whole chunk; of a damaged
one, all that is sound.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from gr00t_ros.bags.bag_file import BagError, BagFile, BagMessage
from gr00t_ros.bags.episode_info import PARTIAL_SUFFIX, PREFIX, EpisodeInfo

METADATA = "metadata.yaml"
STORAGES = (".mcap", ".db3")
COMPRESSED = (".zstd", ".lz4")


class Bag:
    """A bag of one or several files.

    Args:
        path: A file, or a folder as rosbag2 writes it.

    Attributes:
        topics: The message type of each topic.
        info: What gr00t_ros's recorder knows of the episode; None in a bag of others.

    Raises:
        BagError: There is no such bag, or it cannot be read.
        ImportError: What reads its files is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        metadata = _metadata(path)
        self._files = [open_file(file) for file in _files(path, metadata)]
        self.topics = {name: kind for file in self._files for name, kind in file.topics.items()}
        custom_data = metadata.get("custom_data") or {}
        for file in self._files:
            custom_data = {**file.custom_data, **custom_data}
        self.info = _info(path, custom_data)
        if not self.topics and self.truncated:
            raise BagError(f"{path}: has no message that can be read: {self.truncated}")

    @property
    def truncated(self) -> str:
        """What of the bag is missing, and why; empty for a whole bag. Known at its end."""
        parts = [file.truncated for file in self._files if file.truncated]
        recorded = self.info.truncated if self.info is not None else ""
        return "; ".join(dict.fromkeys([*parts, *([recorded] if recorded else [])]))

    @property
    def duration_s(self) -> float:
        """The time from the first message to the last, s; 0 where it is not known."""
        return sum(file.duration_s for file in self._files)

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of some topics, in the order in which they were written.

        Raises:
            BagError: A file is damaged.
        """
        before = newest = 0  # parts that are lost in the files before, and so far
        for file in self._files:
            for message in file.messages(topics):
                newest = before + message.losses
                yield replace(message, losses=newest) if before else message
            before = newest


def find_bags(paths: Collection[Path]) -> list[Path]:
    """The bags at or below some paths, sorted within each of them.

    A recording under way, or left by a recorder that was killed (``*.partial``), is only taken
    where it is named itself. A bag that is found twice, by links or by another path, is one bag.

    Raises:
        BagError: There is nothing at a path, or no bag below it.
    """
    found: dict[Path, Path] = {}  # by the real path
    for path in paths:
        if not path.exists():
            raise BagError(f"{path}: no such file or folder")
        bags = list(_bags_below(path, set())) if path.is_dir() and not _is_bag(path) else [path]
        if not bags:
            raise BagError(f"{path}: has no bag, {_unfinished(path)}")
        for bag in bags:
            found.setdefault(bag.resolve(), bag)
    return list(found.values())


def open_file(path: Path) -> BagFile:
    """Open one file of a bag.

    Raises:
        BagError: It cannot be read.
        ImportError: What reads it is not installed.
    """
    if path.suffix in COMPRESSED:
        raise BagError(
            f"{path}: is compressed as a whole; unpack it, or write it anew with compressed "
            "chunks: ros2 bag convert"
        )
    if path.suffix not in STORAGES:
        raise BagError(f"{path}: is not a bag, expected *.mcap or *.db3")
    if not path.is_file():
        raise BagError(f"{path}: is not a file, or a link to one that is gone")
    try:
        return _opened(path)
    except OSError as error:
        raise BagError(f"{path}: cannot be read: {error.strerror or error}") from error


def _opened(path: Path) -> BagFile:
    if path.suffix == ".db3":
        from gr00t_ros.bags.sqlite_file import SqliteFile

        return SqliteFile(path)
    try:
        from gr00t_ros.bags.mcap_file import McapFile
    except ImportError as error:
        return _by_rosbag2(path, error)
    return McapFile(path)


def _by_rosbag2(path: Path, error: ImportError) -> BagFile:
    try:
        from gr00t_ros.bags.rosbag2_file import Rosbag2File
    except ImportError:
        raise ImportError(
            f"to read {path.name}, install mcap or ROS 2's rosbag2_py: pip install 'mcap>=1.2' "
            f"zstandard lz4 ({error})"
        ) from error
    return Rosbag2File(path)


def _is_bag(path: Path) -> bool:
    return (path / METADATA).is_file() or (
        path.name.endswith(PARTIAL_SUFFIX) and any(path.glob("*.mcap"))
    )


def _unfinished(folder: Path) -> str:
    """What there is in a folder in place of a bag."""
    partial = next(iter(sorted(folder.glob(f"*{PARTIAL_SUFFIX}"))), None)
    if partial is None:
        return f"neither {METADATA} nor *.mcap nor *.db3"
    return (
        f"only {partial.name}, which is being recorded, or whose recorder was killed: name it, or "
        "start the recorder, which makes a bag of it"
    )


def _bags_below(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """The bags below a folder; links are followed, and each real folder is seen once."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    for path in sorted(folder.iterdir()):
        if path.name.endswith(PARTIAL_SUFFIX):
            continue
        if path.is_dir():
            yield from [path] if _is_bag(path) else _bags_below(path, seen)
        elif path.suffix in STORAGES:
            yield path


def _metadata(path: Path) -> dict[str, Any]:
    """The information in metadata.yaml; empty for a file, or a bag without it."""
    file = path / METADATA
    if path.is_file() or not file.exists():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        information = dict(content["rosbag2_bagfile_information"])
        for name, kind in (("custom_data", dict), ("relative_file_paths", list)):
            if not isinstance(information.get(name) or kind(), kind):
                raise TypeError(f"{name} is not a {kind.__name__}")
        return information
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise BagError(f"{file}: is not the metadata of a bag: {why}") from error


def _files(path: Path, metadata: dict[str, Any]) -> list[Path]:
    if not path.is_dir():
        return [path]
    named = metadata.get("relative_file_paths")
    # Older bags name the files with the folder of the bag.
    files = [path / Path(str(name)).name for name in named or ()]
    for file in files:
        if not file.exists():
            raise BagError(f"{file}: no such file, but the bag's {METADATA} names it")
    files = files or sorted(file for file in path.iterdir() if file.suffix in STORAGES)
    if not files:
        raise BagError(f"{path}: has no file of a bag")
    return files


def _info(path: Path, custom_data: dict[str, str]) -> EpisodeInfo | None:
    if not any(str(name).startswith(PREFIX) for name in custom_data):
        return None
    try:
        return EpisodeInfo.from_custom_data(custom_data)
    except ValueError as error:
        raise BagError(f"{path}: {error}") from error
