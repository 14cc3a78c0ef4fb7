# SPDX-License-Identifier: Apache-2.0
"""The folder of a conversion under way: what is finished stays there over an interruption.

It lies beside the dataset, ``DATASET.converting``. A bag is converted in ``NAME.part``, which gets
its name once all episodes of the bag are whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gr00t_policy_core.datasets.episode_writer import DESCRIPTION, WrittenEpisode
from gr00t_policy_core.datasets.json_files import read_object, write_json
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.output_files import output_folder
from gr00t_ros.convert.report import BagReport

SUFFIX, PART_SUFFIX = ".converting", ".part"
SETTINGS, REPORT, LOCK = "settings.json", "report.json", "lock"


class Workspace:
    """The folder of one conversion.

    Args:
        dataset: The directory of the dataset to be.
    """

    def __init__(self, dataset: Path) -> None:
        self.folder = dataset.with_name(dataset.name + SUFFIX)

    @contextmanager
    def locked(self, settings: Mapping[str, Any], *, restart: bool) -> Iterator[None]:
        """Use the folder alone, for a conversion of these settings.

        Args:
            settings: What decides over the episodes; plain dicts and lists.
            restart: Throw away what is there.

        Where the conversion fails before it has finished a bag, the folder goes again.

        Raises:
            SpecError: Another process is at work there, or it was begun with other settings.
        """
        with output_folder(self.folder), (self.folder / LOCK).open("w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SpecError(
                    "cannot convert", [f"another conversion is at work in {self.folder}"]
                ) from None
            try:
                self._begin(json.loads(json.dumps(settings)), restart)
                yield
            except BaseException:
                if not any(self._finished_folders()):
                    self.remove()
                raise

    def finished(self, bag: Path) -> BagReport | None:
        """The report of a bag that was converted before; None if it was not, or was changed since.

        A bag that gave no episodes because of an error is not finished: it may be repaired.
        """
        folder = self._folder_of(bag)
        if not (folder / REPORT).exists():
            return None
        content = read_object(folder / REPORT)
        report = BagReport(**content["report"])
        if content["signature"] != _signature(bag) or report.skipped:
            return None
        return report

    def begin(self, bag: Path) -> Path:
        """Make an empty folder to convert a bag in."""
        part = self._part_of(bag)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(self._folder_of(bag), ignore_errors=True)
        part.mkdir(parents=True)
        return part

    def finish(self, bag: Path, report: BagReport) -> None:
        """Keep the episodes of a bag: from now on it is finished."""
        part = self._part_of(bag)
        content = {"signature": _signature(bag), "report": report.as_json()}
        write_json(part / REPORT, content)
        part.rename(self._folder_of(bag))

    def episodes(self, bag: Path) -> list[WrittenEpisode]:
        """The episodes of a finished bag, in order.

        Raises:
            DatasetError: An episode is damaged.
        """
        folders = sorted(file.parent for file in self._folder_of(bag).glob(f"*/{DESCRIPTION}"))
        return [WrittenEpisode.read(folder) for folder in folders]

    def remove(self) -> None:
        """Remove the folder: there is nothing to go on with."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _finished_folders(self) -> Iterator[Path]:
        for file in self.folder.glob(f"*/{REPORT}"):
            if file.parent.suffix != PART_SUFFIX:
                yield file.parent

    def _begin(self, settings: dict[str, Any], restart: bool) -> None:
        if restart:
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
        file = self.folder / SETTINGS
        if file.exists() and any(self._finished_folders()):
            before = read_object(file)
            names = [n for n in {**before, **settings} if before.get(n) != settings.get(n)]
            if names:
                raise SpecError(
                    "cannot go on",
                    [
                        f"{self.folder} was begun with another {name}; convert with the same as "
                        "before, or begin anew with --restart"
                        for name in names
                    ],
                )
        write_json(file, settings)

    def _folder_of(self, bag: Path) -> Path:
        digest = hashlib.sha256(str(bag.resolve()).encode()).hexdigest()[:12]
        return self.folder / f"{bag.name}-{digest}"

    def _part_of(self, bag: Path) -> Path:
        folder = self._folder_of(bag)
        return folder.with_name(folder.name + PART_SUFFIX)


def _signature(bag: Path) -> list[list[Any]]:
    """Name, size and time of each file of a bag: another where the bag was changed."""
    files = sorted(bag.iterdir()) if bag.is_dir() else [bag]
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
