# SPDX-License-Identifier: Apache-2.0
"""Which topics are recorded, and what each of them is for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gr00t_ros.contract.contract import Contract

# The last part of the topics that image_transport adds below the one of the raw images.
TRANSPORTS = frozenset({"compressed", "compressedDepth", "ffmpeg", "theora", "zstd"})
NODE_TOPICS = ("policy_node/status", "policy_node/instruction", "control_node/status")
TRANSFORM_TOPICS = ("/tf", "/tf_static")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTopic:
    """A topic to record.

    Args:
        name: The full name.
        purpose: What it is in the configuration, such as ``video.front``; several are joined.
        max_age_s: Age beyond which no episode begins, s; None for a topic that may be silent.
    """

    name: str
    purpose: str
    max_age_s: float | None = None


def recorded_topics(contract: Contract, resolve: Callable[[str], str]) -> tuple[RecordedTopic, ...]:
    """All topics to record, each once.

    Args:
        contract: Names the topics.
        resolve: Returns the full name of a topic, after remapping and within the node's namespace.
    """
    by_name: dict[str, RecordedTopic] = {}
    for wanted in _wanted(contract):
        name = resolve(wanted.name)
        known = by_name.get(name)
        purposes = [known.purpose] if known is not None else []
        ages = [topic.max_age_s for topic in (known, wanted) if topic and topic.max_age_s]
        by_name[name] = RecordedTopic(
            name=name,
            purpose=", ".join([*purposes, wanted.purpose]),
            max_age_s=min(ages, default=None),
        )
    return tuple(by_name.values())


def camera_info_topic(image_topic: str) -> str:
    """The topic on which a camera driver publishes the calibration of its images."""
    parts = image_topic.split("/")
    if parts[-1] in TRANSPORTS:
        parts.pop()
    return "/".join([*parts[:-1], "camera_info"])


def _wanted(contract: Contract) -> Iterator[RecordedTopic]:
    is_required = contract.record.require_streams
    for stream in contract.streams:
        max_age_s = stream.max_age_s if is_required else None
        yield RecordedTopic(name=stream.topic, purpose=stream.name, max_age_s=max_age_s)
    for video in contract.video:
        yield RecordedTopic(
            name=camera_info_topic(video.topic), purpose=f"{video.name} calibration"
        )
    for output in contract.action:
        yield RecordedTopic(name=output.topic, purpose=output.name)
        if output.teleop_topic:
            yield RecordedTopic(name=output.teleop_topic, purpose=f"{output.name} teleoperation")
    yield RecordedTopic(name=contract.chunk_topic, purpose="chunks")
    yield RecordedTopic(name=contract.intervention_topic, purpose="who drives")
    for topic in NODE_TOPICS:
        yield RecordedTopic(name=topic, purpose=topic.replace("/", " "))
    for topic in TRANSFORM_TOPICS:
        yield RecordedTopic(name=topic, purpose="transforms")
    for topic in contract.motion.robot_description_topics:
        yield RecordedTopic(name=topic, purpose="robot description")
    if contract.motion.enable_topic:
        yield RecordedTopic(name=contract.motion.enable_topic, purpose="enable")
    if contract.motion.intervene_topic:
        yield RecordedTopic(name=contract.motion.intervene_topic, purpose="intervention")
    for topic in contract.record.topics:
        yield RecordedTopic(name=topic, purpose="record.topics")
