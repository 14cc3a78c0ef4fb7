# SPDX-License-Identifier: Apache-2.0
"""Builds a `ControlStatus` message from the motion and the control loop."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gr00t_policy_core.control.command import JointReport
from gr00t_ros.control.activation import Activation
from gr00t_ros.control.command_topics import CommandTopics
from gr00t_ros.control.limits_in_force import LimitsInForce
from gr00t_ros.control.motion_control import MotionControl
from gr00t_ros.msg import ControlStatus, JointStatus
from gr00t_ros.node.latency_window import no_latencies

# Fields of JointStatus, and what `JointLimits` and `LimitsInForce` call the limit.
LIMITS = {
    "min_position": "lower",
    "max_position": "upper",
    "max_velocity": "velocity",
    "max_acceleration": "acceleration",
    "max_jerk": "jerk",
}


def control_status(
    motion: MotionControl | None, activation: Activation | None, output: CommandTopics | None
) -> ControlStatus:
    """Return the motion, the counts and the lateness of the loop; the node adds its state.

    Args:
        motion: The motion; None while the node is not configured.
        activation: The current activation; None while the node is inactive.
        output: The command topics; None while the node is not configured.
    """
    status = ControlStatus(
        observation_age=no_latencies(),
        tick_lateness=no_latencies(),
        forecast_time=no_latencies(),
        at_rest=True,
    )
    if output is not None:
        status.commands, status.command_topics = output.count, output.status()
        status.trajectories = output.trajectory_count
    if motion is None or activation is None:
        return status
    if activation.loop is not None:
        status.tick_lateness = activation.loop.lateness()
        status.ticks_missed = activation.loop.ticks_missed
    status.trajectories_late = activation.forecaster.late
    status.forecast_time = activation.forecaster.times()
    status.trajectory_lead_s = motion.trajectory_lead_s
    status.at_rest = motion.is_at_rest
    status.observation_age = motion.observation_age()
    counts = motion.counts
    status.shadow = motion.is_shadow
    status.chunk_source = motion.source
    status.chunks_accepted = counts.chunks
    status.chunks_rejected = motion.chunks_rejected
    status.holds = counts.holds
    status.steps_skipped = counts.steps_skipped
    status.limiter_hits = counts.limit_hits.total()
    status.stalls, status.stalled_s = counts.stalls, counts.stalled_ns * 1e-9
    status.blend_offset = motion.blend_offset
    status.joints = list(_joints(motion))
    command = motion.command
    if command is not None:
        status.chunk_id, status.steps_left = command.chunk_id, command.steps_left
    return status


def _joints(motion: MotionControl) -> Iterator[JointStatus]:
    """Yield every limited joint, even before it is commanded, and every other commanded value."""
    reports = {report.name: report for report in motion.report()}
    measured = motion.robot.positions()
    for limits in motion.robot.limits():
        report = reports.pop(limits.joint, None) or JointReport(
            limits.joint, math.nan, math.nan, measured.get(limits.joint, math.nan), ""
        )
        yield _joint_status(report, limits)
    for report in reports.values():
        yield _joint_status(report, None)


def _joint_status(report: JointReport, limits: LimitsInForce | None) -> JointStatus:
    status = JointStatus(
        **dict.fromkeys(LIMITS, math.nan),
        name=report.name,
        reference=report.target,
        command=report.command,
        feedback=report.measured,
        limited_by=report.bound_by,
    )
    if limits is not None:
        for field, limit in LIMITS.items():
            setattr(status, field, getattr(limits.limits, limit))
        sources = (f"{field}: {getattr(limits, limit)}" for field, limit in LIMITS.items())
        status.limit_sources = ", ".join(sources)
    return status
