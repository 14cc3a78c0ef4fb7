# SPDX-License-Identifier: Apache-2.0
"""What the control node's status says of the motion and of the loop."""

from __future__ import annotations

from gr00t_policy_core.control.command import Command, PlayerCounts
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_ros.control_loop import Punctuality
from gr00t_ros.msg import PolicyStatus


def add_motion(
    status: PolicyStatus,
    player: MotionPlayer | None,
    command: Command | None,
    punctuality: Punctuality,
    *,
    now_ns: int,
) -> None:
    """Write what is played, what was counted, and how the loop keeps its deadlines.

    Args:
        status: To be written into.
        player: Of this activation, whose counters begin at zero; None before its first chunk.
        command: The newest, if there is one.
        punctuality: Of the loop.
        now_ns: The present, ns.
    """
    counts = player.counts if player is not None else PlayerCounts()
    status.chunks_received = counts.chunks
    status.chunks_refused = counts.refused
    status.holds = counts.holds
    status.steps_skipped = counts.steps_skipped
    status.limiter_hits = counts.limits.total()
    status.seam_jump = player.seam_jump if player is not None else 0.0
    status.tick_lateness_s, status.ticks_lost = punctuality.p99_s, punctuality.lost
    if command is None:
        return
    status.chunk_id, status.steps_left = command.chunk_id, command.steps_left
    if command.observed_ns is not None:
        status.observation_age_s = (now_ns - command.observed_ns) * 1e-9
