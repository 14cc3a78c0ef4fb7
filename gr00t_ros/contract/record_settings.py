# SPDX-License-Identifier: Apache-2.0
"""The settings of the recorder. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gr00t_ros.contract.parameter import Settings
from gr00t_ros.contract.topic_names import TopicNames

MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """What is recorded beside the streams and actions of the contract, and where.

    Args:
        folder: Holds the episodes.
        task: What is demonstrated, unless the operator says it.
        action_lead_steps: Steps by which the measured state that serves as the action is ahead of
            its observation; None where the action is what was commanded.
        topics: Further topics.
        require_streams: Whether an episode begins only while all observation streams are received.
        pedal_topic: Topic of the foot pedal; empty for none.
        compression: Compression of the MCAP file, ``none`` for none.
        queue_bytes: Received messages that may wait for the disk.
        min_free_bytes: Recording stops when less is free on the disk.
    """

    folder: Path
    task: str
    action_lead_steps: int | None
    topics: tuple[str, ...]
    require_streams: bool
    pedal_topic: str
    compression: str
    queue_bytes: int
    min_free_bytes: int

    @classmethod
    def of(cls, settings: Settings, topics: TopicNames) -> RecordSettings:
        """Make it from the values of all parameters, already checked one by one."""
        is_measured = settings["record.action_from"] == "state"
        return cls(
            folder=Path(settings["record.folder"]).expanduser(),
            task=settings["record.task"] or settings["instruction"],
            action_lead_steps=settings["record.action_lead_steps"] if is_measured else None,
            topics=tuple(map(topics.one_name, settings["record.topics"])),
            require_streams=settings["record.require_streams"],
            pedal_topic=topics.one_name(settings["record.pedal_topic"]),
            compression=settings["record.compression"],
            queue_bytes=settings["record.queue_mb"] * MB,
            min_free_bytes=settings["record.min_free_mb"] * MB,
        )
