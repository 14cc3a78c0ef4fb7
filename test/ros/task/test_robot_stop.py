# SPDX-License-Identifier: Apache-2.0
"""A start or a stop that a node carries out late."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from action_msgs.msg import GoalStatus
from helpers import wait_until
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger
from task_rig import SLOW_S, Processes, TaskPeer, node_command, spinning_node

from gr00t_ros.action import RunPolicy
from gr00t_ros.msg import ControlStatus, PolicyStatus, StreamStatus, TaskResult
from gr00t_ros.node.qos import INSTRUCTION, STATUS

GOAL = RunPolicy.Goal(instruction="pick up the pear")


class Robot:
    """Stands for both nodes of a robot.

    Args:
        node: Spins.
        late: The service of the policy node whose first request is carried out after the next
            stop, as by a node that hung.

    Attributes:
        asked: The services of the policy node that were called, in their order.
    """

    def __init__(self, node: Node, *, late: str) -> None:
        self.asked: list[str] = []
        self.moves = False
        self._late = late
        self._state = PolicyStatus.STATE_STOPPED
        self._instruction = ""
        self._stops = 0
        self._next_stop = Future[None](executor=node.executor)
        self._policy = node.create_publisher(PolicyStatus, "policy_node/status", STATUS)
        self._control = node.create_publisher(ControlStatus, "control_node/status", STATUS)
        # A request that waits holds up no other callback.
        waiting = ReentrantCallbackGroup()
        for name, callback in (("start", self._on_start), ("stop", self._on_stop)):
            node.create_service(Trigger, f"policy_node/{name}", callback, callback_group=waiting)
        node.create_service(Trigger, "policy_node/reset", self._on_reset, callback_group=waiting)
        node.create_service(Trigger, "control_node/stop", self._on_stop_of_control)
        node.create_subscription(
            String, "policy_node/instruction", self._on_instruction, INSTRUCTION
        )
        node.create_timer(0.05, self._publish)

    def _publish(self) -> None:
        streams = [StreamStatus(name="state.arm", age_s=0.0)]
        self._policy.publish(
            PolicyStatus(
                state=self._state,
                instruction=self._instruction,
                streams=streams,
                stops=self._stops,
            )
        )
        control = ControlStatus.STATE_RUNNING if self.moves else ControlStatus.STATE_HOLDING
        self._control.publish(ControlStatus(state=control, at_rest=not self.moves))

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data

    async def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        await self._arrive("start")
        self._state, self.moves = PolicyStatus.STATE_RUNNING, True
        response.success = True
        return response

    async def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        await self._arrive("stop")
        self._state, self.moves = PolicyStatus.STATE_STOPPED, False
        self._stops += 1
        response.success = True
        return response

    async def _arrive(self, service: str) -> None:
        """Wait with the first request that is late until a stop comes after it."""
        is_first = service == self._late and service not in self.asked
        if service == "stop" and self._late in self.asked and not self._next_stop.done():
            self._next_stop.set_result(None)
        self.asked.append(service)
        if is_first:
            await self._next_stop

    async def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        await self._arrive("reset")
        response.success = True
        return response

    def _on_stop_of_control(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        self.moves = False
        response.success = True
        return response


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[TaskPeer]:
    file = tmp_path / "robot.yaml"
    file.write_text(json.dumps({"/**": {"ros__parameters": {"preempt": False}}}))  # JSON is YAML
    processes = Processes({"task_node": node_command("task_node", file)}, tmp_path)
    with spinning_node("stops") as node:
        try:
            processes.start("task_node")
            yield TaskPeer(node)
        finally:
            print(processes.end())  # noqa: T201 - pytest shows it where a test fails


def cancel_in_motion(peer: TaskPeer) -> str:
    """Run a task until its robot moves, and cancel it; returns the reason of its end."""
    handle = peer.send(GOAL)
    peer.wait_for_feedback(RunPolicy.Feedback.STATE_RUNNING)
    handle.cancel_goal_async()
    status, result = peer.result_of(handle)
    assert status == GoalStatus.STATUS_CANCELED
    return result.task.reason


def test_a_stop_that_was_not_answered_cannot_undo_the_start_of_the_next_goal(
    peer: TaskPeer,
) -> None:
    robot = Robot(peer.node, late="stop")
    late = cancel_in_motion(peer)
    assert late == (
        "cancelled by the client; policy_node/stop did not answer within 1 s, "
        "so control_node was stopped: its ~/start allows motion again"
    )
    assert robot.asked == ["reset", "start", "stop"]
    assert cancel_in_motion(peer) == "cancelled by the client"
    assert robot.asked[3:] == ["stop", "reset", "start", "stop"]  # the first is carried out now
    assert cancel_in_motion(peer) == "cancelled by the client"
    assert robot.asked[7:] == ["reset", "start", "stop"]  # all stops were answered


def test_a_start_that_comes_after_the_end_of_its_goal_is_stopped(peer: TaskPeer) -> None:
    robot = Robot(peer.node, late="start")
    handle = peer.send(GOAL)
    wait_until(lambda: "start" in robot.asked, SLOW_S, "the start is on its way")
    handle.cancel_goal_async()
    assert peer.result_of(handle)[0] == GoalStatus.STATUS_CANCELED
    wait_until(lambda: robot.asked == ["reset", "start", "stop", "stop"], SLOW_S, "another stop")
    wait_until(lambda: not robot.moves, SLOW_S, "the robot is at rest")


@pytest.mark.parametrize("phase", ["reset", "start"])
def test_a_stop_while_a_task_starts_ends_the_task(peer: TaskPeer, phase: str) -> None:
    robot = Robot(peer.node, late=phase)  # it is stopped already, as it is before most tasks
    stop = peer.node.create_client(Trigger, "policy_node/stop")
    handle = peer.send(GOAL)
    wait_until(lambda: phase in robot.asked, SLOW_S, "the task starts")
    pressed = stop.call_async(Trigger.Request())
    wait_until(pressed.done, SLOW_S, "the stop")
    status, result = peer.result_of(handle)
    assert status == GoalStatus.STATUS_ABORTED
    assert result.task.termination == TaskResult.TERMINATION_FAULT
    assert result.task.reason == "policy_node was stopped by somebody else"
    assert result.task.chunks == 0
    assert not robot.moves
    assert cancel_in_motion(peer) == "cancelled by the client"  # the next one runs
