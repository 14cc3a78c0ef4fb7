# SPDX-License-Identifier: Apache-2.0
"""/diagnostics: the status of a node, for the tools that monitor whole robots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.publisher import Publisher

from gr00t_ros.msg import (
    CommandTopicStatus,
    ControlStatus,
    JointStatus,
    LatencyStatistics,
    PolicyStatus,
    RecordedTopicStatus,
    RecorderStatus,
    StreamStatus,
    VisualizationStatus,
)

Status = PolicyStatus | ControlStatus | RecorderStatus | VisualizationStatus
Values = Iterator[tuple[str, str]]

DIAGNOSTICS_PERIOD_S = 1.0

# The states of the other nodes have the same numbers.
LEVELS = {
    ControlStatus.STATE_STOPPED: DiagnosticStatus.OK,
    ControlStatus.STATE_WAITING: DiagnosticStatus.WARN,
    ControlStatus.STATE_RUNNING: DiagnosticStatus.OK,
    ControlStatus.STATE_HOLDING: DiagnosticStatus.WARN,
    ControlStatus.STATE_ERROR: DiagnosticStatus.ERROR,
    RecorderStatus.STATE_READY: DiagnosticStatus.OK,
    ControlStatus.STATE_INTERVENTION: DiagnosticStatus.OK,
}
SUMMARIES = {
    ControlStatus.STATE_STOPPED: "stopped",
    ControlStatus.STATE_WAITING: "waiting",
    ControlStatus.STATE_RUNNING: "running",
    ControlStatus.STATE_HOLDING: "holding",
    ControlStatus.STATE_ERROR: "error",
    RecorderStatus.STATE_READY: "ready",
    ControlStatus.STATE_INTERVENTION: "a person drives",
}


def diagnostics_publisher(node: Node) -> Publisher:
    """Make a publisher of `/diagnostics`, regardless of the node's namespace (REP-107)."""
    return node.create_publisher(DiagnosticArray, "/diagnostics", 10)


def diagnostics(node: Node, status: Status, now: Time) -> DiagnosticArray:
    """Convert a status to a message for `/diagnostics`, with every number that is known.

    Args:
        node: The node whose name the entry has.
        status: The newest status of the node.
        now: Present time, which stamps the message.
    """
    state = SUMMARIES.get(status.state, "unknown")
    level = LEVELS.get(status.state, DiagnosticStatus.ERROR)
    if status.state == ControlStatus.STATE_RUNNING and status.reason:
        level = DiagnosticStatus.WARN  # the node runs, but something is wrong
    entry = DiagnosticStatus(
        level=level,
        name=node.get_fully_qualified_name().lstrip("/"),
        message=f"{state}: {status.reason}" if status.reason else state,
        hardware_id="gr00t_ros",
        values=[KeyValue(key=key, value=text) for key, text in _values(status)],
    )
    array = DiagnosticArray(status=[entry])
    array.header.stamp = now
    return array


def _values(status: Status) -> Values:
    """Yield key and value of every field of a known type; other fields are left out."""
    for field, kind in status.get_fields_and_field_types().items():
        write = WRITERS.get(kind)
        if write is not None:
            yield from write(field, getattr(status, field))


def _count(field: str, count: int) -> Values:
    yield field, str(count)


def _number(field: str, number: float) -> Values:
    if not math.isnan(number):
        yield field, f"{number:.6g}"


def _latency(field: str, latency: LatencyStatistics) -> Values:
    for name in ("last_s", "p50_s", "p99_s"):
        yield from _number(f"{field} {name}", getattr(latency, name))


def _streams(_: str, streams: list[StreamStatus]) -> Values:
    for stream in streams:
        yield f"{stream.name} age_s", f"{stream.age_s:.4g}"
        yield f"{stream.name} rate_hz", f"{stream.rate_hz:.4g}"


def _recorded_topics(_: str, topics: list[RecordedTopicStatus]) -> Values:
    for topic in topics:
        yield f"{topic.topic} rate_hz", f"{topic.rate_hz:.4g}"
        yield f"{topic.topic} dropped", str(topic.dropped)


def _command_topics(_: str, topics: list[CommandTopicStatus]) -> Values:
    for topic in topics:
        yield f"{topic.topic} subscription_count", str(topic.subscription_count)


def _joints(_: str, joints: list[JointStatus]) -> Values:
    for joint in joints:
        yield f"joint {joint.name}", _joint_text(joint)


def _joint_text(joint: JointStatus) -> str:
    text = (
        f"reference {joint.reference:.4g}, command {joint.command:.4g}, "
        f"feedback {joint.feedback:.4g}"
    )
    if joint.limited_by:
        text += f", limited by its {joint.limited_by}"
    if not joint.limit_sources:
        return text
    return (
        f"{text}; range {joint.min_position:.4g} to {joint.max_position:.4g}, velocity "
        f"{joint.max_velocity:.4g}, acceleration {joint.max_acceleration:.4g}, jerk "
        f"{joint.max_jerk:.4g} ({joint.limit_sources})"
    )


WRITERS: Mapping[str, Callable[[str, Any], Values]] = {
    "uint32": _count,
    "uint64": _count,
    "double": _number,
    "gr00t_ros/LatencyStatistics": _latency,
    "sequence<gr00t_ros/RecordedTopicStatus>": _recorded_topics,
    "sequence<gr00t_ros/StreamStatus>": _streams,
    "sequence<gr00t_ros/CommandTopicStatus>": _command_topics,
    "sequence<gr00t_ros/JointStatus>": _joints,
}
