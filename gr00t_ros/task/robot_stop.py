# SPDX-License-Identifier: Apache-2.0
"""Brings the robot to rest at the end of a task, by whichever node still answers."""

from __future__ import annotations

import time
from typing import Any

from std_srvs.srv import Trigger

from gr00t_ros.node.opposite_clients import ServiceClient
from gr00t_ros.task.driven_nodes import DrivenNodes
from gr00t_ros.task.run_loop import RunLoop

STOP_S = 1.0  # for the policy node's answer to a stop, before the control node is asked, too
LATE_S = 5.0  # for an answer of either node then: a busy machine answers late
REST_S = 10.0  # for the robot to come to rest
HEARD_S = 1.0  # for a control node that hung to report again
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
    watch = loop.watch
    asked_s = time.monotonic()
    problem = _stop_a_node(loop, nodes)
    answered_s = time.monotonic()

    def is_over() -> bool:
        now_s = time.monotonic()
        has_ended = now_s - answered_s >= HEARD_S and bool(watch.control_fault(now_s))
        return watch.is_at_rest(asked_s) or watch.human_drives or has_ended

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


def _stop_a_node(loop: RunLoop, nodes: DrivenNodes) -> str:
    """Stop the policy node or, where it does not answer in time, the control node.

    Returns:
        Why it was the control node; empty where the policy node has stopped in time.
    """
    policy, control = _Stop(nodes.stop), _Stop(nodes.stop_control)
    if loop.wait(policy.has_answered, STOP_S) and policy.has_succeeded:
        return ""
    why = policy.problem_after(STOP_S)

    def is_decided() -> bool:
        """Await a stop that the control node was asked for: it would undo a later `~/start`."""
        answers = [stop.has_answered() for stop in (policy, control)]
        return (
            all(answers) or control.has_succeeded or (policy.has_succeeded and not control.is_asked)
        )

    loop.wait(is_decided, LATE_S)
    nodes.has_unanswered_stop = policy.is_unanswered
    for stop in (policy, control):
        stop.give_up()
    if not (policy.has_succeeded or control.has_succeeded):
        return f"neither node could be stopped: {why}; {control.problem_after(LATE_S)}"
    if not control.is_asked:
        return ""
    done = "was stopped" if control.has_succeeded else "was asked to stop"
    return f"{why}, so control_node {done}: its ~/start allows motion again"


class _Stop:
    """A node's `~/stop`, called as soon as it is there.

    Args:
        client: Of the service.
    """

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._answer: Any = None

    @property
    def is_asked(self) -> bool:
        """Whether the service was called."""
        return self._answer is not None

    def has_answered(self) -> bool:
        """Whether the node has answered; calls the service if it is there only now."""
        if self._answer is None and self._client.service_is_ready():
            self._answer = self._client.call_async(Trigger.Request())
        return self._answer is not None and self._answer.done()

    @property
    def has_succeeded(self) -> bool:
        """Whether the node has answered that it stops."""
        return self.is_asked and self._answer.done() and self._answer.result().success

    @property
    def is_unanswered(self) -> bool:
        """Whether the service was called, and has not answered."""
        return self.is_asked and not self._answer.done()

    def problem_after(self, waited_s: float) -> str:
        """Why the node has not stopped in that time."""
        name = self._client.srv_name
        if not self.is_asked:
            return f"there is no service {name}"
        if self.is_unanswered:
            return f"{name} did not answer within {waited_s:g} s"
        return f"{name} failed: {self._answer.result().message}"

    def give_up(self) -> None:
        """Wait no longer for an answer."""
        if self.is_unanswered:
            self._client.remove_pending_request(self._answer)
