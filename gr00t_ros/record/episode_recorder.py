# SPDX-License-Identifier: Apache-2.0
"""Episodes one after the other: begun, ended, discarded and labelled. Pure."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gr00t_ros.bags.bag_metadata import custom_data_of, replace_custom_data
from gr00t_ros.bags.episode_info import (
    OUTCOMES,
    PARTIAL_SUFFIX,
    TRUNCATED_SUFFIX,
    UNKNOWN,
    WHOLE_FOLDER,
    EpisodeInfo,
)
from gr00t_ros.bags.writer import BagWriter
from gr00t_ros.contract.record_settings import RecordSettings
from gr00t_ros.record.episode_writer import EpisodeWriter

PREFIX = WHOLE_FOLDER.partition("{")[0]


class RecordingError(Exception):
    """What was asked of the recorder cannot be done; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode being recorded.

    Args:
        path: Its folder once it is whole.
        info: What is known of it so far.
        writer: Writes it.
    """

    path: Path
    info: EpisodeInfo
    writer: EpisodeWriter

    @property
    def name(self) -> str:
        return self.path.name

    def duration_s(self, now_ns: int) -> float:
        """How long it is at a time by the recorder's clock, s."""
        return max(now_ns - self.info.started_ns, 0) * 1e-9


class EpisodeRecorder:
    """Records one episode at a time; earlier ones may still be on their way to the disk.

    Args:
        settings: Where to record, and how.
        config: The contract as a parameter file, which every episode keeps.
        versions: The software that records, which every episode keeps.
        now_ns: The clock of the messages, ns.

    Attributes:
        current: The episode that is being recorded.
        last: The one that has ended last; None after a discard.
    """

    def __init__(
        self,
        settings: RecordSettings,
        *,
        config: str,
        versions: Mapping[str, str],
        now_ns: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._config = config
        self._versions = versions
        self._now_ns = now_ns
        self._ending: list[EpisodeWriter] = []
        self.current: Episode | None = None
        self.last: Episode | None = None

    def begin(self, task: str) -> Episode:
        """Begin an episode.

        Args:
            task: What is demonstrated; empty for the configured one.

        Raises:
            RecordingError: One is being recorded already, or the disk does not take it.
        """
        if self.current is not None:
            raise RecordingError(f"{self.current.name} is being recorded; end it first")
        settings = self._settings
        info = EpisodeInfo(
            task=task or settings.task,
            config=self._config,
            versions=self._versions,
            started_ns=self._now_ns(),
        )
        try:
            settings.folder.mkdir(parents=True, exist_ok=True)
            self._require_space()
            path = settings.folder / WHOLE_FOLDER.format(number=next_number(settings.folder))
            bag = BagWriter(path, info, compression=settings.compression)
        except OSError as error:
            raise RecordingError(f"{settings.folder} cannot be written: {error}") from None
        writer = EpisodeWriter(
            bag,
            settings.folder,
            queue_bytes=settings.queue_bytes,
            min_free_bytes=settings.min_free_bytes,
        )
        self.current = Episode(path, info, writer)
        return self.current

    def end(
        self, outcome: str = "", notes: str = "", *, dropped: Mapping[str, int], truncated: str = ""
    ) -> Episode:
        """End the episode, and have it brought to the disk.

        Args:
            outcome: One of `OUTCOMES`; empty for unknown.
            notes: Free text.
            dropped: Messages that are known to be lost, by topic.
            truncated: Why the end of the episode is missing; empty for a whole one. If writing has
                failed, that is why.

        Returns:
            The episode with its final info; its writer tells when it is on the disk.

        Raises:
            RecordingError: No episode is being recorded, or the outcome is none.
        """
        outcome = checked_outcome(outcome)
        episode = self._take_current(self._why_none())
        info = replace(
            episode.info,
            outcome=outcome,
            notes=notes,
            truncated=episode.writer.failure or truncated,
            ended_ns=self._now_ns(),
            dropped=dropped,
        )
        episode.writer.end(info)
        self.last = replace(episode, info=info)
        return self.last

    def discard(self) -> str:
        """Remove the episode that is being recorded, or the one that was saved last.

        Returns:
            The name of the episode.

        Raises:
            RecordingError: There is none, or its folder cannot be removed.
        """
        if self.current is not None:
            episode = self._take_current("")
            episode.writer.discard()
            self.last = None  # discarded twice by mistake, the good one before would go
            return episode.name
        path = self._last_path("no episode is being recorded, and none to discard was saved")
        self.last = None
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise RecordingError(f"{path} cannot be removed: {error}") from None
        return path.name

    def label(self, name: str, outcome: str, notes: str) -> str:
        """Set the outcome of an episode on the disk.

        Args:
            name: The episode; empty for the one that was saved last.
            outcome: One of `OUTCOMES`.
            notes: Replaces the earlier notes, if not empty.

        Returns:
            The name of the episode.

        Raises:
            RecordingError: There is no such episode, or the outcome is none.
        """
        outcome = checked_outcome(outcome)
        path = (
            self._settings.folder / Path(name).name if name else self._last_path("which episode?")
        )
        try:
            info = EpisodeInfo.from_custom_data(custom_data_of(path))
            new = replace(info, outcome=outcome, notes=notes or info.notes)
            replace_custom_data(path, new.as_custom_data())
        except (OSError, ValueError) as error:
            raise RecordingError(f"{path.name} cannot be labelled: {error}") from None
        return path.name

    def whole_episodes(self) -> int:
        """The number of whole episodes in the folder."""
        return whole_episodes(self._settings.folder)

    @property
    def unsaved(self) -> int:
        """Episodes that have ended and are on their way to the disk."""
        self._ending = [writer for writer in self._ending if not writer.saved.done()]
        return len(self._ending)

    @property
    def queued_bytes(self) -> int:
        """Messages that wait for the disk."""
        writers = [*self._ending, *([self.current.writer] if self.current else [])]
        return sum(writer.queued_bytes for writer in writers)

    def free_bytes(self) -> int:
        """What is free on the disk; 0 where that is not known."""
        folder = self._settings.folder
        existing = next((path for path in (folder, *folder.parents) if path.is_dir()), folder)
        try:
            return shutil.disk_usage(existing).free
        except OSError:
            return 0

    def close(self, timeout_s: float) -> bool:
        """Wait until every episode is on the disk.

        Returns:
            Whether they are; what is not stays unfinished and is repaired at the next start.
        """
        return all(writer.join(timeout_s) for writer in self._ending)

    def _take_current(self, otherwise: str) -> Episode:
        episode, self.current = self.current, None
        if episode is None:
            raise RecordingError(otherwise)
        self._ending.append(episode.writer)
        return episode

    def _why_none(self) -> str:
        """Why there is no episode to end: the last one may have ended by itself."""
        text = "no episode is being recorded"
        if self.last is None or not self.last.info.truncated:
            return text
        return f"{text}: {self.last.name} was stopped, {self.last.info.truncated}"

    def _last_path(self, otherwise: str) -> Path:
        """The folder of the episode that has ended last."""
        if self.last is None:
            raise RecordingError(otherwise)
        saved = self.last.writer.saved
        if not saved.done():
            raise RecordingError(f"{self.last.name} is on its way to the disk, try again")
        path = None if saved.exception() else saved.result()
        if path is None:
            raise RecordingError(f"{self.last.name} could not be saved: {saved.exception()}")
        return path

    def _require_space(self) -> None:
        free, wanted = self.free_bytes(), self._settings.min_free_bytes
        if free < wanted:
            raise OSError(f"{free / 1e6:.0f} MB are free, record.min_free_mb is {wanted / 1e6:g}")


def checked_outcome(outcome: str) -> str:
    """The outcome, `UNKNOWN` for an empty text.

    Raises:
        RecordingError: It is none of `OUTCOMES`.
    """
    if outcome and outcome not in OUTCOMES:
        raise RecordingError(f"outcome must be one of {', '.join(OUTCOMES)}, got {outcome!r}")
    return outcome or UNKNOWN


def next_number(folder: Path) -> int:
    """The number after the highest of the episodes in a folder, of whatever state."""
    numbers = [number for path in folder.iterdir() if (number := _number(path.name)) is not None]
    return max(numbers, default=-1) + 1


def whole_episodes(folder: Path) -> int:
    """The number of whole episodes in a folder."""
    if not folder.is_dir():
        return 0
    return sum(_is_whole(path.name) for path in folder.iterdir())


def _is_whole(name: str) -> bool:
    return _number(name) is not None and not name.endswith((PARTIAL_SUFFIX, TRUNCATED_SUFFIX))


def _number(name: str) -> int | None:
    digits = name.removeprefix(PREFIX).partition(".")[0]
    return int(digits) if name.startswith(PREFIX) and digits.isdecimal() else None
