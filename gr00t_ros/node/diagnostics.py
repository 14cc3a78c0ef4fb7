# SPDX-License-Identifier: Apache-2.0
"""/diagnostics: what the status says, for the tools that watch whole robots."""

from __future__ import annotations

import math
from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.publisher import Publisher

from gr00t_ros.msg import JointStatus, PolicyStatus

DIAGNOSTICS_PERIOD_S = 1.0

LEVELS = {
    PolicyStatus.STATE_STOPPED: DiagnosticStatus.OK,
    PolicyStatus.STATE_WAITING: DiagnosticStatus.WARN,
    PolicyStatus.STATE_RUNNING: DiagnosticStatus.OK,
    PolicyStatus.STATE_HOLDING: DiagnosticStatus.WARN,
    PolicyStatus.STATE_ERROR: DiagnosticStatus.ERROR,
}
SUMMARIES = {
    PolicyStatus.STATE_STOPPED: "stopped",
    PolicyStatus.STATE_WAITING: "waiting",
    PolicyStatus.STATE_RUNNING: "running",
    PolicyStatus.STATE_HOLDING: "holding",
    PolicyStatus.STATE_ERROR: "error",
}


def diagnostics_publisher(node: Node) -> Publisher:
    """A publisher of `/diagnostics`, whatever the node's namespace (REP-107)."""
    return node.create_publisher(DiagnosticArray, "/diagnostics", 10)


def diagnostics(node: Node, status: PolicyStatus, now: Time) -> DiagnosticArray:
    """A status as a message of `/diagnostics`: every field that has a value."""
    state = SUMMARIES.get(status.state, "unknown")
    level = LEVELS.get(status.state, DiagnosticStatus.ERROR)
    if status.state == PolicyStatus.STATE_RUNNING and status.reason:
        level = DiagnosticStatus.WARN  # it runs, and something is wrong all the same
    entry = DiagnosticStatus(
        level=level,
        name=node.get_fully_qualified_name().lstrip("/"),
        message=f"{state}: {status.reason}" if status.reason else state,
        hardware_id="gr00t_ros",
        values=[KeyValue(key=key, value=text) for key, text in _values(status).items()],
    )
    array = DiagnosticArray(status=[entry])
    array.header.stamp = now
    return array


def _values(status: PolicyStatus) -> Mapping[str, str]:
    kinds = status.get_fields_and_field_types()
    values = {
        name: str(getattr(status, name))
        for name, kind in kinds.items()
        if kind in ("uint64", "uint32")
    }
    durations = {name: getattr(status, name) for name, kind in kinds.items() if kind == "double"}
    values |= {name: f"{value:.6g}" for name, value in durations.items() if not math.isnan(value)}
    for name, age_s, rate_hz in zip(
        status.stream_names, status.stream_ages_s, status.stream_rates_hz, strict=True
    ):
        values[f"{name} age_s"] = f"{age_s:.4g}"
        values[f"{name} rate_hz"] = f"{rate_hz:.4g}"
    topics = zip(status.command_topics, status.command_subscribers, strict=True)
    values |= {f"{topic} subscribers": str(count) for topic, count in topics}
    values |= {f"joint {joint.name}": _joint_text(joint) for joint in status.joints}
    return values


def _joint_text(joint: JointStatus) -> str:
    text = f"target {joint.target:.4g}, command {joint.command:.4g}, measured {joint.measured:.4g}"
    if joint.bound_by:
        text += f", bound by its {joint.bound_by}"
    if not joint.limits_from:
        return text
    return (
        f"{text}; range {joint.lower:.4g} to {joint.upper:.4g}, velocity {joint.velocity:.4g}, "
        f"acceleration {joint.acceleration:.4g}, jerk {joint.jerk:.4g} ({joint.limits_from})"
    )
