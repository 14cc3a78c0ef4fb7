# SPDX-License-Identifier: Apache-2.0
"""Listens to a running ROS graph: cameras, joint states, controllers, the robot description."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from gr00t_policy_core.kinematics.urdf import sliding_joints, urdf_limits
from gr00t_ros.contract.parameters import types_of
from gr00t_ros.discovery.robot_graph import CommandTopic, RobotGraph
from gr00t_ros.interfaces.registry import ros_type
from gr00t_ros.node.offline_nodes import NODE_NAMES

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
JOINT_STATE, IMU = "sensor_msgs/msg/JointState", "sensor_msgs/msg/Imu"
DESCRIPTION = "robot_description"
COMMANDS = ("joint_trajectory", "float64_multi_array", "joint_state", "twist", "twist_stamped")
DEPTH = "depth"  # in the name of a topic: no picture that a policy sees
NO_POSITIONS = ("velocity", "effort", "torque")  # in the name of a controller of bare values
POLL_S = 0.2
SETTLED_S = 2.0
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def listen(longest_s: float) -> RobotGraph:
    """Return what the robot of this ROS domain offers.

    Args:
        longest_s: The longest time to listen, s. It ends earlier once cameras, joints and commands
            were found, and nothing new came for `SETTLED_S`.
    """
    context = Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    with contextlib.ExitStack() as stack:
        stack.callback(context.try_shutdown)
        node = Node("gr00t_new_robot", context=context, start_parameter_services=False)
        stack.callback(node.destroy_node)
        executor = SingleThreadedExecutor(context=context)
        stack.callback(executor.shutdown)
        executor.add_node(node)
        listener = _Listener(node)
        graph, since_s = RobotGraph(), time.monotonic()
        deadline_s = since_s + longest_s
        while (now_s := time.monotonic()) < deadline_s:
            listener.look()
            _spin(executor, min(now_s + POLL_S, deadline_s))
            newest = listener.graph()
            if newest != graph:
                graph, since_s = newest, now_s
            elif graph.is_complete and now_s - since_s > SETTLED_S:
                break
        return graph


def _spin(executor: SingleThreadedExecutor, until_s: float) -> None:
    """Run callbacks until a time of the monotonic clock, s."""
    while (left_s := until_s - time.monotonic()) > 0.0:
        executor.spin_once(timeout_sec=left_s)


class _Listener:
    """Subscribes to joint states and descriptions as they appear, and asks controllers.

    Args:
        node: Is spun by the caller.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._joints: dict[str, dict[str, None]] = {}
        self._described: set[str] = set()
        self._sliding: set[str] = set()
        self._subscribed: set[str] = set()
        self._controller_joints: dict[str, Any] = {}  # a future by the name of a node

    def look(self) -> None:
        """Subscribe to topics, and ask controllers, that were not there before."""
        for topic, types in self._node.get_topic_names_and_types():
            if JOINT_STATE in types:
                self._subscribe(topic, JointState, qos_profile_sensor_data)
            elif topic.endswith(f"/{DESCRIPTION}"):
                self._subscribe(topic, String, LATCHED)
        for _, _, subscribers in self._command_topics():
            for subscriber in subscribers:
                self._ask(subscriber)

    def graph(self) -> RobotGraph:
        """What was seen so far."""
        cameras = [topic for kind in IMAGES for topic in self._published(kind)]
        return RobotGraph(
            cameras=tuple(_pictures(cameras)),
            joint_states={
                topic: tuple(names) for topic, names in self._joints.items() if any(names)
            },
            nameless_joint_states=tuple(
                topic for topic, names in self._joints.items() if not any(names)
            ),
            imus=tuple(self._published(IMU)),
            commands=tuple(
                CommandTopic(topic, kind, self._joints_behind(subscribers))
                for topic, kind, subscribers in self._command_topics()
            ),
            descriptions=tuple(sorted(self._described)),
            sliding_joints=frozenset(self._sliding),
        )

    def _subscribe(self, topic: str, message_type: type[Any], qos: QoSProfile) -> None:
        if topic in self._subscribed or not self._node.count_publishers(topic):
            return
        self._subscribed.add(topic)

        def keep(message: Any) -> None:
            if message_type is JointState:
                self._joints.setdefault(topic, {}).update(dict.fromkeys(message.name))
                return
            with contextlib.suppress(ValueError):  # not a URDF
                if urdf_limits(message.data):
                    self._described.add(topic)
                    self._sliding |= sliding_joints(message.data)

        self._node.create_subscription(message_type, topic, keep, qos)

    def _published(self, kind: str) -> list[str]:
        return [
            topic
            for topic, types in sorted(self._node.get_topic_names_and_types())
            if kind in types and self._node.count_publishers(topic)
        ]

    def _command_topics(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield topic, interface name and subscribing nodes; what has a publisher is a state."""
        kinds = {ros_type(types_of("action")[name].message_type): name for name in COMMANDS}
        for topic, types in sorted(self._node.get_topic_names_and_types()):
            kind = next((kinds[name] for name in types if name in kinds), "")
            subscribers = [
                f"{end.node_namespace.rstrip('/')}/{end.node_name}"
                for end in self._node.get_subscriptions_info_by_topic(topic)
                if kind and end.node_name not in (self._node.get_name(), *NODE_NAMES)
            ]
            is_state = kind == "joint_state" and self._node.count_publishers(topic)
            is_position = not any(word in topic for word in NO_POSITIONS)
            if subscribers and is_position and not is_state:
                yield topic, kind, subscribers

    def _ask(self, controller: str) -> None:
        """Ask a node for its parameter `joints`, which the controllers of ros2_control have."""
        if controller in self._controller_joints:
            return
        client = self._node.create_client(GetParameters, f"{controller}/get_parameters")
        if client.service_is_ready():
            request = GetParameters.Request(names=["joints"])
            self._controller_joints[controller] = client.call_async(request)
        else:
            self._node.destroy_client(client)

    def _joints_behind(self, nodes: list[str]) -> tuple[str, ...]:
        for node in nodes:
            future = self._controller_joints.get(node)
            if future is not None and future.done() and future.result() is not None:
                values = future.result().values
                joints = tuple(values[0].string_array_value) if values else ()
                if joints:
                    return joints
        return ()


def _pictures(topics: list[str]) -> Iterator[str]:
    """Yield the topics of colour images, a raw one in place of its compressed copies."""
    for topic in topics:
        base, _, last = topic.rpartition("/")
        is_copy = last.startswith(("compressed", "theora", "zstd")) and base in topics
        if DEPTH not in topic.lower() and not is_copy:
            yield topic
