# SPDX-License-Identifier: Apache-2.0
"""The ROS side of the dashboard: what the nodes say goes to the feed, buttons become requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from gr00t_ros.contract.contract import Contract
from gr00t_ros.dashboard.answer import Answer, no_answer, not_there
from gr00t_ros.dashboard.cameras import Cameras
from gr00t_ros.dashboard.commands import COMMANDS, OPPOSITES, UNDONE_BY
from gr00t_ros.dashboard.feed import Feed
from gr00t_ros.dashboard.plain_messages import json_of
from gr00t_ros.dashboard.ros_futures import result_of
from gr00t_ros.dashboard.task_link import TaskLink
from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus, RecorderStatus, TaskStatus
from gr00t_ros.node.opposite_clients import OppositeClients, ServiceClient
from gr00t_ros.node.qos import CHUNK, INSTRUCTION, STATUS
from gr00t_ros.node.spin_thread import SpinThread

INSTRUCTION_TOPIC = "policy_node/instruction"
END_S = 5.0
STATUSES = {
    "policy": ("policy_node/status", PolicyStatus),
    "control": ("control_node/status", ControlStatus),
    "recorder": ("recorder_node/status", RecorderStatus),
    "task": ("task_node/status", TaskStatus),
}


class RobotLink:
    """Subscribes to the nodes and the cameras of a robot, and calls the services of the nodes.

    Its callbacks run in a thread of its own, which waits for no page.

    Args:
        contract: The robot's cameras and its chunk topic.
        feed: Gets everything that is received.
        namespace: The namespace of the nodes.

    Attributes:
        tasks: Starts and cancels tasks.
    """

    def __init__(self, contract: Contract, feed: Feed, *, namespace: str = "") -> None:
        self._feed = feed
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        node = self._node = Node(
            f"dashboard_{os.getpid()}", namespace=namespace, context=self._context
        )
        for kind, (topic, message_type) in STATUSES.items():
            node.create_subscription(message_type, topic, self._show(kind), STATUS)
        node.create_subscription(ActionChunk, contract.chunk_topic, self._show("chunk"), CHUNK)
        self._instruction = node.create_publisher(String, INSTRUCTION_TOPIC, INSTRUCTION)
        self.tasks = TaskLink(node)
        self._cameras = Cameras(node, contract.video, feed)
        self._clients = _clients(node)
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(node)
        self._spinning = SpinThread(executor, "dashboard ROS")

    async def call(self, name: str, text: str) -> Answer:
        """Ask a node for something, and wait for its answer.

        Args:
            name: One of `COMMANDS`.
            text: What comes with it: a task or an outcome; most commands take none.
        """
        command = COMMANDS[name]
        client = self._clients[name]
        if not client.service_is_ready():
            return not_there(command.node)
        request = client.call_async(command.request(text))
        try:
            result = await result_of(request, command.answer_s)
        except asyncio.TimeoutError:
            client.remove_pending_request(request)
            undoing = f"{UNDONE_BY[name]} is called at once" if name in UNDONE_BY else ""
            return no_answer(command.service, command.answer_s, undoing=undoing)
        return Answer(result.success, result.message)

    def instruct(self, text: str) -> Answer:
        """Give the policy node an instruction; an empty one brings back that of its file."""
        if not self._instruction.get_subscription_count():
            return not_there("policy_node")
        self._instruction.publish(String(data=text))
        return Answer(True, f"instruction: {text}" if text else "the instruction of the file")

    def close(self) -> None:
        """End the thread, and leave the graph. May be called again."""
        if self._context.ok() and self._spinning.end(END_S):
            self.tasks.close()
            self._node.destroy_node()
        self._context.try_shutdown()

    def _show(self, kind: str) -> Callable[[Any], None]:
        def show(message: Any) -> None:
            self._feed.publish(kind, json_of(kind, message))

        return show


def _clients(node: Node) -> dict[str, ServiceClient]:
    """The client of each command."""
    made = {name: node.create_client(c.kind, c.service) for name, c in COMMANDS.items()}
    clients: dict[str, ServiceClient] = dict(made)
    for pair in OPPOSITES:
        both = OppositeClients(
            made[pair.start], made[pair.stop], undoes_late_starts=pair.undoes_late_starts
        )
        clients[pair.start], clients[pair.stop] = both.start, both.stop
    return clients
