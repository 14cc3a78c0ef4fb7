# SPDX-License-Identifier: Apache-2.0
"""Begins and ends episodes for whoever asks: services, the action, the pedal, a full disk."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from gr00t_ros.record.episode_recorder import Episode, EpisodeRecorder, RecordingError
from gr00t_ros.record.subscriptions import RecorderSubscriptions


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedEpisode:
    """An episode that has ended.

    Args:
        episode: The episode, with its final info.
        messages: Messages received for it.
        dropped: Messages that are known to be lost.
        silent_topics: Topics that are published but sent nothing in it.
    """

    episode: Episode
    messages: int
    dropped: int
    silent_topics: Sequence[str]

    @property
    def duration_s(self) -> float:
        """How long it is, s."""
        return self.episode.duration_s(self.episode.info.ended_ns)

    @property
    def saved(self) -> Future[Path | None]:
        """The folder of the episode once it is on the disk, or the exception that prevented it."""
        return self.episode.writer.saved

    def outcome(self) -> tuple[bool, str, str]:
        """Whether the episode is on the disk whole, a sentence on it, and its folder.

        To be asked for once `saved` is done.
        """
        name, error = self.episode.name, self.saved.exception()
        if error is not None:
            return False, f"{name} could not be brought to the disk: {error}", ""
        path = self.saved.result()
        if path is None:
            return False, f"{name} was discarded", ""
        truncated = self.episode.info.truncated
        if truncated:
            return False, f"{name} is truncated, {truncated}; {self._counts()}", str(path)
        return True, f"{name}: {self._counts()}", str(path)

    def _counts(self) -> str:
        text = f"{self.duration_s:.1f} s, {self.messages} messages, {self.dropped} lost"
        if self.silent_topics:
            text += f"; nothing came on {', '.join(self.silent_topics)}"
        return text


class EpisodeControl:
    """Begins and ends episodes: what the subscriptions receive goes to the recorder.

    Args:
        recorder: The episodes on the disk.
        subscriptions: The topics.

    Attributes:
        ended: The episode that has ended last.
    """

    def __init__(self, recorder: EpisodeRecorder, subscriptions: RecorderSubscriptions) -> None:
        self.recorder = recorder
        self.subscriptions = subscriptions
        self.ended: EndedEpisode | None = None

    @property
    def current(self) -> Episode | None:
        """The episode that is being recorded."""
        return self.recorder.current

    def begin(self, task: str = "") -> Episode:
        """Begin an episode.

        Args:
            task: What is demonstrated; empty for the configured one.

        Raises:
            RecordingError: It cannot begin: one is being recorded, a required topic is not
                received, or the disk does not take it.
        """
        missing = self.subscriptions.missing()
        if missing and self.current is None:
            raise RecordingError(f"no episode can begin: {'; '.join(missing)}")
        episode = self.recorder.begin(task)
        self.subscriptions.begin(episode.writer)
        return episode

    def end(self, outcome: str = "", notes: str = "", *, truncated: str = "") -> EndedEpisode:
        """End the episode.

        Args:
            outcome: ``success``, ``failure`` or ``unknown``; empty for unknown.
            notes: Free text.
            truncated: Why its end is missing; empty for a whole one.

        Raises:
            RecordingError: There is none, or the outcome is none.
        """
        self.subscriptions.receive_waiting()
        silent = self.subscriptions.silent_topics()
        messages, dropped = self.subscriptions.messages, self.subscriptions.dropped
        episode = self.recorder.end(
            outcome, notes, dropped=self.subscriptions.dropped_by_topic(), truncated=truncated
        )
        self.subscriptions.end()
        self.ended = EndedEpisode(
            episode=episode, messages=messages, dropped=dropped, silent_topics=silent
        )
        return self.ended

    def discard(self) -> str:
        """Discard the episode that is being recorded, or the one that was saved last.

        Returns:
            Its name.

        Raises:
            RecordingError: There is none, or it cannot be removed.
        """
        self.subscriptions.end()
        return self.recorder.discard()

    def end_failed(self) -> EndedEpisode | None:
        """End the episode if writing it has failed; None if all is well."""
        episode = self.current
        if episode is None or not episode.writer.failure:
            return None
        return self.end(truncated=episode.writer.failure)

    def close(self, reason: str, timeout_s: float) -> bool:
        """End the episode that is being recorded, and wait until all are on the disk.

        Args:
            reason: Why it ends.
            timeout_s: How long to wait, s.

        Returns:
            Whether all are on the disk.
        """
        if self.current is not None:
            self.end(truncated=reason)
        self.subscriptions.destroy()
        return self.recorder.close(timeout_s)
