# SPDX-License-Identifier: Apache-2.0
"""Builds a `RecorderStatus` message from the recorder and its subscriptions."""

from __future__ import annotations

from gr00t_ros.msg import RecorderStatus
from gr00t_ros.record.episode_control import EpisodeControl


def recorder_status(control: EpisodeControl | None, now_ns: int) -> RecorderStatus:
    """Return the counts and measurements; the node adds its state.

    Args:
        control: Episodes and topics; None while the node is not configured.
        now_ns: The present by the recorder's clock, ns.
    """
    status = RecorderStatus()
    if control is None:
        return status
    recorder, subscriptions = control.recorder, control.subscriptions
    status.topics = subscriptions.status()
    status.messages, status.dropped = subscriptions.messages, subscriptions.dropped
    status.episodes = recorder.whole_episodes()
    status.unsaved = recorder.unsaved
    status.queued_bytes = recorder.queued_bytes
    status.disk_free_bytes = recorder.free_bytes()
    episode = recorder.current or recorder.last
    if episode is not None:
        status.episode, status.task = episode.name, episode.info.task
        status.duration_s = episode.duration_s(episode.info.ended_ns or now_ns)
        status.bytes = episode.writer.size
    return status
