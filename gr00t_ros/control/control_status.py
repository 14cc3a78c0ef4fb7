# SPDX-License-Identifier: Apache-2.0
"""What the control node's status says of the motion and of the loop."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gr00t_policy_core.control.command import JointReport
from gr00t_ros.control.control_loop import Punctuality
from gr00t_ros.control.motion_control import MotionControl
from gr00t_ros.msg import JointStatus, PolicyStatus

LIMITS = ("lower", "upper", "velocity", "acceleration", "jerk")


def control_status(
    motion: MotionControl | None, punctuality: Punctuality | None, *, now_ns: int
) -> PolicyStatus:
    """What is played, what was counted, and how the loop keeps its deadlines.

    Args:
        motion: The motion of this activation, whose counters begin at zero; None while inactive.
        punctuality: How the loop keeps its deadlines; None where there is none.
        now_ns: The present, ns.
    """
    status = PolicyStatus(observation_age_s=math.nan, round_trip_s=math.nan, policy_time_s=math.nan)
    if punctuality is not None:
        status.tick_lateness_s, status.ticks_lost = punctuality.p99_s, punctuality.lost
    if motion is None:
        return status
    counts = motion.counts
    status.chunks_received = counts.chunks
    status.chunks_refused = motion.chunks_refused
    status.holds = counts.holds
    status.steps_skipped = counts.steps_skipped
    status.stalls, status.stalled_s = counts.stalls, counts.stalled_ns * 1e-9
    status.limiter_hits = counts.limit_hits.total()
    status.seam_jump = motion.seam_jump
    status.chunk_source = motion.source
    status.joints = list(_joints(motion))
    command = motion.command
    if command is None:
        return status
    status.chunk_id, status.steps_left = command.chunk_id, command.steps_left
    if command.observed_ns is not None:
        status.observation_age_s = (now_ns - command.observed_ns) * 1e-9
    return status


def _joints(motion: MotionControl) -> Iterator[JointStatus]:
    """Every limited joint, also before it is commanded, and every other commanded value."""
    reports = {report.name: report for report in motion.report()}
    measured = motion.measured()
    for limits in motion.limits():
        report = reports.pop(limits.joint, None) or JointReport(
            limits.joint, math.nan, math.nan, measured.get(limits.joint, math.nan), ""
        )
        message = _of_report(report)
        for name in LIMITS:
            setattr(message, name, getattr(limits.limits, name))
        message.limits_from = ", ".join(f"{name}: {getattr(limits, name)}" for name in LIMITS)
        yield message
    for report in reports.values():
        yield _of_report(report)


def _of_report(report: JointReport) -> JointStatus:
    unlimited = dict.fromkeys(LIMITS, math.nan)
    return JointStatus(
        **unlimited,
        name=report.name,
        target=report.target,
        command=report.command,
        measured=report.measured,
        bound_by=report.bound_by,
    )
