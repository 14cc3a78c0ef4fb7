# SPDX-License-Identifier: Apache-2.0
"""The policy node and the control node, as the task node drives and hears them."""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger

from gr00t_ros.contract.parameters import CHUNK_TOPIC
from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus
from gr00t_ros.node.opposite_clients import OppositeClients
from gr00t_ros.node.qos import CHUNK, INSTRUCTION, SENSOR, STATUS
from gr00t_ros.task.ender import Ender

POLICY_NODE, CONTROL_NODE = "policy_node", "control_node"

MAX_TOPICS = 64
Topic = tuple[type[Any], str]  # the class of its messages, and its full name

# Who asked for a message, None for the task itself; and the message.
Received = tuple[Ender | None, Any]


class DrivenNodes:
    """The topics and services of both nodes, in the namespace of the task node.

    Args:
        node: The task node.

    Attributes:
        has_unanswered_stop: Whether a call of `stop` was given up, which may still be on its way.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.has_unanswered_stop = False
        self._inbox: SimpleQueue[Received] | None = None
        self._listening: dict[Topic, list[Ender]] = {}
        self._subscribed: set[Topic] = set()
        self._instruction = node.create_publisher(String, f"{POLICY_NODE}/instruction", INSTRUCTION)
        # Answers must arrive while other callbacks wait for them.
        self._answers = ReentrantCallbackGroup()
        inference = OppositeClients(
            self._client(Trigger, POLICY_NODE, "start"), self._client(Trigger, POLICY_NODE, "stop")
        )
        self.start, self.stop = inference.start, inference.stop
        self.reset = self._client(Trigger, POLICY_NODE, "reset")
        self.stop_control = self._client(Trigger, CONTROL_NODE, "stop")
        self.get_state = self._client(GetState, POLICY_NODE, "get_state")
        self.change_state = self._client(ChangeState, POLICY_NODE, "change_state")
        self.get_parameters = self._client(GetParameters, POLICY_NODE, "get_parameters")
        self.set_parameters = self._client(SetParameters, POLICY_NODE, "set_parameters")
        node.create_subscription(PolicyStatus, f"{POLICY_NODE}/status", self._receive, STATUS)
        node.create_subscription(ControlStatus, f"{CONTROL_NODE}/status", self._receive, STATUS)
        node.create_subscription(ActionChunk, CHUNK_TOPIC, self._receive, CHUNK)

    def open_inbox(self) -> SimpleQueue[Received]:
        """Return a queue that all messages go into from now on, until `close_inbox`."""
        self._inbox = SimpleQueue()
        return self._inbox

    def close_inbox(self) -> None:
        """Drop all messages from now on."""
        self._inbox = None

    def listen_for(self, enders: Sequence[Ender]) -> None:
        """Receive messages for these enders from now on, and for no others.

        Raises:
            ValueError: Enders have named more than `MAX_TOPICS` topics since the node started.
        """
        listening: dict[Topic, list[Ender]] = {}
        for ender in enders:
            if ender.message_type is not None:
                topic = ender.message_type, self._node.resolve_topic_name(ender.topic)
                listening.setdefault(topic, []).append(ender)
        self._listening = listening
        for topic in listening.keys() - self._subscribed:
            self._subscribe(topic)

    def instruct(self, instruction: str) -> None:
        """Ask the policy to do something else."""
        self._instruction.publish(String(data=instruction))

    def _client(self, kind: Any, node: str, service: str) -> Client:
        name = f"{node}/{service}"
        return self._node.create_client(kind, name, callback_group=self._answers)

    def _subscribe(self, topic: Topic) -> None:
        """Subscribe for good: rclpy's executor may crash when a subscription ends while it waits.

        The messages of a topic that nobody listens to any more are not even deserialized.
        """
        if len(self._subscribed) >= MAX_TOPICS:
            raise ValueError(f"enders have named more than {MAX_TOPICS} topics: restart task_node")
        self._subscribed.add(topic)
        message_type, name = topic

        def receive(serialized: bytes) -> None:
            enders = self._listening.get(topic, [])
            if enders and self._inbox is not None:
                message = deserialize_message(serialized, message_type)
                for ender in enders:
                    self._post(ender, message)

        self._node.create_subscription(message_type, name, receive, SENSOR, raw=True)

    def _receive(self, message: Any) -> None:
        self._post(None, message)

    def _post(self, ender: Ender | None, message: Any) -> None:
        inbox = self._inbox
        if inbox is not None:
            inbox.put((ender, message))
