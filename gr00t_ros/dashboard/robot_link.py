# SPDX-License-Identifier: Apache-2.0
"""The ROS side of the dashboard: what the nodes say goes to the feed, buttons become requests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from gr00t_ros.contract.contract import Contract
from gr00t_ros.dashboard.cameras import Cameras
from gr00t_ros.dashboard.commands import COMMANDS, Command
from gr00t_ros.dashboard.feed import Feed
from gr00t_ros.dashboard.plain_messages import json_of
from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus, RecorderStatus
from gr00t_ros.node.qos import CHUNK, INSTRUCTION, STATUS

INSTRUCTION_TOPIC = "policy_node/instruction"
END_S = 5.0
STATUSES = {
    "policy": ("policy_node/status", PolicyStatus),
    "control": ("control_node/status", ControlStatus),
    "recorder": ("recorder_node/status", RecorderStatus),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node has answered to a command."""

    success: bool
    message: str


class RobotLink:
    """Subscribes to the nodes and the cameras of a robot, and calls the services of the nodes.

    Its callbacks run in a thread of its own, which waits for no page.

    Args:
        contract: The robot's cameras and its chunk topic.
        feed: Gets everything that is received.
        namespace: The namespace of the nodes.
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
        self._cameras = Cameras(node, contract.video, feed)
        self._clients = {
            name: node.create_client(command.kind, command.service)
            for name, command in COMMANDS.items()
        }
        self._thread = threading.Thread(target=self._spin, name="dashboard ROS", daemon=True)
        self._thread.start()

    async def call(self, name: str, text: str) -> Answer:
        """Ask a node for something, and wait for its answer.

        Args:
            name: One of `COMMANDS`.
            text: What comes with it: a task or an outcome; most commands take none.
        """
        command = COMMANDS[name]
        client = self._clients[name]
        if not client.service_is_ready():
            return Answer(False, f"there is no {command.node}: is it running?")
        loop = asyncio.get_running_loop()
        response: asyncio.Future[Any] = loop.create_future()
        request = client.call_async(command.request(text))
        request.add_done_callback(partial(_pass_on, loop, response))
        try:
            result = await asyncio.wait_for(response, command.answer_s)
        except asyncio.TimeoutError:
            return Answer(False, _no_answer(command))
        finally:
            client.remove_pending_request(request)
        return Answer(result.success, result.message)

    def instruct(self, text: str) -> Answer:
        """Give the policy node an instruction; an empty one brings back that of its file."""
        if not self._instruction.get_subscription_count():
            return Answer(False, "there is no policy_node: is it running?")
        self._instruction.publish(String(data=text))
        return Answer(True, f"instruction: {text}" if text else "the instruction of the file")

    def close(self) -> None:
        """End the subscriptions and the thread."""
        self._context.try_shutdown()
        self._thread.join(END_S)

    def _show(self, kind: str) -> Callable[[Any], None]:
        def show(message: Any) -> None:
            self._feed.publish(kind, json_of(kind, message))

        return show

    def _spin(self) -> None:
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self._node)
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()


def _pass_on(loop: asyncio.AbstractEventLoop, response: asyncio.Future[Any], done: Any) -> None:
    """Bring a response from the ROS thread to the thread that waits for it."""

    def finish() -> None:
        if not response.done():
            response.set_result(done.result())

    if not done.cancelled():
        with contextlib.suppress(RuntimeError):  # the server has ended in the meantime
            loop.call_soon_threadsafe(finish)


def _no_answer(command: Command) -> str:
    return (
        f"{command.service} has not answered within {command.answer_s:g} s; what was asked for may "
        "still happen: see the state"
    )
