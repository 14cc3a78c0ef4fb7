# SPDX-License-Identifier: Apache-2.0
"""Brings the robot to rest at the end of a task, by whichever node still answers."""

from __future__ import annotations

import time

from gr00t_ros.task.driven_nodes import DrivenNodes
from gr00t_ros.task.outcome import TaskEnd
from gr00t_ros.task.run_loop import RunLoop

STOP_S = 1.0  # for an answer to a stop, before the other node is asked
REST_S = 10.0  # for the robot to come to rest
MEASURED_S = 2.0  # for the robot to report where it rests; the policy node tells twice a second
UNKNOWN = "whether the robot is at rest is not known"


def stop_robot(loop: RunLoop, nodes: DrivenNodes) -> str:
    """Stop inference, and wait until the robot is at rest.

    The policy node sends the request to stop on to the control node, which brakes within the
    limits. Where the policy node does not answer, the control node is stopped itself; it then waits
    for its `~/start`, since a policy node that wakes up again must not move the robot.

    Returns:
        What went wrong, in words; empty where the robot is at rest.
    """
    loop.begin_stopping()
    asked_s = time.monotonic()
    problem = ""
    try:
        loop.require(nodes.stop, STOP_S)
    except TaskEnd as failed:
        problem = f"{failed.reason}, so control_node was stopped: its ~/start allows motion again"
        try:
            loop.require(nodes.stop_control, STOP_S)
        except TaskEnd as also_failed:
            return f"neither node could be stopped: {failed.reason}; {also_failed.reason}"
    watch = loop.watch

    def is_over() -> bool:
        now_s = time.monotonic()
        return watch.is_at_rest(asked_s) or watch.human_drives or bool(watch.control_fault(now_s))

    if not loop.wait(is_over, REST_S):
        unrest = f"the robot is not at rest after {REST_S:g} s"
    elif watch.is_at_rest(asked_s) or watch.human_drives:
        unrest = _why_unmeasured(loop, time.monotonic())
    else:
        unrest = ": ".join(filter(None, (watch.control_fault(time.monotonic()), UNKNOWN)))
    return "; ".join(filter(None, (problem, unrest)))


def _why_unmeasured(loop: RunLoop, rested_s: float) -> str:
    """Which states are not measured after the command came to rest; empty where all are."""
    watch = loop.watch

    def is_known() -> bool:
        return not (watch.unmeasured(rested_s) and watch.hears_policy(time.monotonic()))

    if loop.wait(is_known, MEASURED_S):
        return ""
    silent = ", ".join(watch.unmeasured(rested_s))
    return f"{silent} silent since the commands ended: {UNKNOWN}"
