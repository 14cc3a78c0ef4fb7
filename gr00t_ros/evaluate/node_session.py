# SPDX-License-Identifier: Apache-2.0
"""One run of the policy node: a bag is played to it, and it is asked for chunks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.convert.robot import Robot
from gr00t_ros.convert.steps import TimedMessage
from gr00t_ros.evaluate.bag_player import BagPlayer
from gr00t_ros.evaluate.evaluated_node import EvaluatedNode
from gr00t_ros.evaluate.stepped_executor import SteppedExecutor
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.isolation import isolated_context
from gr00t_ros.node.rejected_messages import RejectedMessages
from gr00t_ros.policy.observation_builder import NotReadyError

STARTING = "starting"  # the reason of a worker that has not tried yet
CHUNKS = QoSProfile(depth=10)


class NodeSession:
    """The policy node, active and stopped, and what talks to it; `node_session` makes it.

    Args:
        context: The context of both.
        robot: Whose parameters the node gets.
        policy: What it asks.
        task: The instruction.
        types: The class of the messages of each topic of the streams.

    Raises:
        PolicyError: The node cannot be configured.
    """

    def __init__(
        self,
        context: Context,
        robot: Robot,
        policy: BasePolicy,
        task: str,
        types: Mapping[str, type[Any]],
    ) -> None:
        self._executor = SteppedExecutor(context)
        self._peer = Node("evaluation", namespace=robot.namespace, context=context)
        self._node = EvaluatedNode(context, robot, policy, task)
        self._player = BagPlayer(self._peer, self._node, self._executor, robot.contract, types)
        self._chunks: list[ActionChunk] = []
        self._peer.create_subscription(
            ActionChunk, robot.contract.chunk_topic, self._on_chunk, CHUNKS
        )
        self._services = {
            name: self._peer.create_client(Trigger, f"{self._node.get_name()}/{name}")
            for name in ("start", "stop", "reset")
        }
        for node in (self._peer, self._node):
            self._executor.add_node(node)
        self._node.begin()
        for name, client in self._services.items():
            self._executor.run_until(client.service_is_ready, f"the service ~/{name}")
        self._player.connect()

    @property
    def rejected(self) -> RejectedMessages:
        """The messages that the node has rejected."""
        return self._node.rejected

    def playing(self, messages: Iterable[TimedMessage]) -> Iterator[TimedMessage]:
        """Play messages to the node, and yield each when it is received."""
        return self._player.playing(messages)

    def reset(self) -> None:
        """Reset the policy.

        Raises:
            PolicyError: It fails.
        """
        self._call("reset")

    def ask(self) -> ActionChunk:
        """Have the node ask the policy once, at its present time.

        Raises:
            NotReadyError: The node has no observation; the text says why.
            PolicyError: The policy fails, or its answer does not fit the robot.
        """
        self._chunks.clear()
        errors = self._node.inference.errors
        self._call("start")
        try:
            self._executor.run_until(
                lambda: self._node.inference.reason != STARTING, "an answer", timeout_s=None
            )
            report = self._node.inference
            if not report.reason:
                self._executor.run_until(lambda: self._chunks, "a chunk on its topic")
        finally:
            self._call("stop")
        if report.errors > errors:
            raise PolicyError(report.reason)
        if report.reason:
            raise NotReadyError(report.cause)
        return self._chunks[0]

    def close(self) -> None:
        """End the node."""
        self._node.close()
        self._executor.shutdown()
        self._node.destroy_node()
        self._peer.destroy_node()

    def _call(self, service: str) -> None:
        future = self._services[service].call_async(Trigger.Request())
        # A reset waits for the policy.
        self._executor.run_until(future.done, f"the answer of ~/{service}", timeout_s=None)
        response = future.result()
        if not response.success:
            raise PolicyError(f"~/{service}: {response.message}")

    def _on_chunk(self, chunk: ActionChunk) -> None:
        if not chunk.stop:
            self._chunks.append(chunk)


@contextlib.contextmanager
def node_session(
    robot: Robot, policy: BasePolicy, task: str, types: Mapping[str, type[Any]]
) -> Iterator[NodeSession]:
    """The policy node in a context that no other process hears, while the context is open.

    Raises:
        PolicyError: The node cannot be configured.
    """
    with isolated_context() as context:
        session = NodeSession(context, robot, policy, task, types)
        with contextlib.closing(session):
            yield session
