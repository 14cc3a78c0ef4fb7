# SPDX-License-Identifier: Apache-2.0
"""A robot of any contract: it publishes what the file reads, and goes where it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
from action_servers import Server
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, Imu, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from gr00t_policy_core import ModalityConfig, ModalityPolicy
from gr00t_policy_core.policy import ABSOLUTE_ACTIONS
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput, StateStream

STATE_PERIOD_S = 0.02
IMAGE_PERIOD_S = 0.05
REACH_RAD = 0.4  # or a fraction of it in m, for fingers
REACHED_S = 0.3  # faster than some joints may turn


class SimulatedRobot:
    """Publishes the streams of a contract, and follows its commands without delay.

    Args:
        peer: Its node.
        contract: What the nodes read and command.
        start: The positions of its joints by name, rad or m.
        urdf: Its robot description; empty for none.
        image_size: Height and width of its pictures, px.

    Attributes:
        servers: The action servers that play its grippers' controllers, by the name of the action.
        picture_stamps_s: When each of its pictures was taken; see `picture_number`.
    """

    def __init__(
        self,
        peer: Node,
        contract: Contract,
        start: dict[str, float],
        *,
        urdf: str = "",
        image_size: tuple[int, int] = (18, 32),
    ) -> None:
        self._peer = peer
        self._image_size = image_size
        self.picture_stamps_s: list[float] = []
        self.servers: dict[str, Server] = {}
        self.positions = dict(start)
        self.received: dict[str, int] = {}
        qos = qos_profile_sensor_data
        self._images = [peer.create_publisher(Image, v.topic, qos) for v in contract.video]
        self._states: dict[str, tuple[Any, list[StateStream]]] = {}
        for stream in contract.state_streams:
            if stream.topic not in self._states:
                kind = stream.interface.message_type
                self._states[stream.topic] = peer.create_publisher(kind, stream.topic, qos), []
            self._states[stream.topic][1].append(stream)
        for topic in dict.fromkeys(output.topic for output in contract.action):
            outputs = [output for output in contract.action if output.topic == topic]
            if outputs[0].interface.is_action:
                kind = outputs[0].interface.message_type
                self.servers[topic] = Server(peer.context, kind, topic)
            else:
                self._subscribe(topic, outputs)
        if urdf:
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._description = peer.create_publisher(String, "/robot_description", latched)
            self._description.publish(String(data=urdf))
        peer.create_timer(STATE_PERIOD_S, self._publish_states)
        peer.create_timer(IMAGE_PERIOD_S, self._publish_images)

    def close(self) -> None:
        """End its action servers."""
        for server in self.servers.values():
            server.close()

    def goals(self, topic: str) -> list[float]:
        """The positions that the goals of a gripper's action had so far, rad or m."""
        commands = [goal.command for goal in self.servers[topic].goals]
        return [float(np.ravel(command.position)[0]) for command in commands]

    def _subscribe(self, topic: str, outputs: list[ActionOutput]) -> None:
        joints = {
            name: joint
            for output in outputs
            for name, joint in zip(
                getattr(output.interface, "message_joints", output.joints),
                output.joints,
                strict=True,
            )
        }

        def follow(message: Any) -> None:
            self.received[topic] = self.received.get(topic, 0) + 1
            if isinstance(message, JointTrajectory):
                for name, position in zip(
                    message.joint_names, message.points[-1].positions, strict=True
                ):
                    self.positions[joints[name]] = position

        self._peer.create_subscription(outputs[0].interface.message_type, topic, follow, 10)

    def _publish_states(self) -> None:
        stamp = self._peer.get_clock().now().to_msg()
        for publisher, streams in self._states.values():
            message = self._state_message(streams)
            message.header.stamp = stamp
            publisher.publish(message)

    def _state_message(self, streams: list[StateStream]) -> Any:
        kind = streams[0].interface.message_type
        if kind is Imu:
            message = Imu()
            message.orientation.w = 1.0
            return message
        if kind is PoseStamped:
            message = PoseStamped()
            message.pose.orientation.w = 1.0
            return message
        assert kind is JointState, kind
        message = JointState()
        for stream in streams:
            joints = stream.interface.measured_joints
            names = stream.interface.make_buffer(10**9).joints
            for joint, name in zip(joints, names, strict=True):
                if name not in message.name:
                    message.name.append(name)
                    message.position.append(self.positions[joint])
        return message

    def _publish_images(self) -> None:
        now = self._peer.get_clock().now()
        stamp, number = now.to_msg(), len(self.picture_stamps_s)
        self.picture_stamps_s.append(now.nanoseconds * 1e-9)
        height, width = self._image_size
        pixels = number.to_bytes(3, "big") * (height * width)
        for publisher in self._images:
            image = Image(height=height, width=width, step=3 * width, encoding="rgb8", data=pixels)
            image.header.stamp = stamp
            publisher.publish(image)


def picture_number(picture: np.ndarray) -> int:
    """How many pictures came before one of a simulated robot, uint8 (H, W, 3)."""
    return int.from_bytes(picture[0, 0].tobytes(), "big")


class RandomMotions(ModalityPolicy):
    """Goes from the measured state to a random place nearby, and asks for more than is allowed.

    Args:
        contract: Tells it the units: the scale of each action.
        configs: The modality configs of the checkpoint that it stands for.
        dimensions: The values per step of its keys.
    """

    def __init__(
        self,
        contract: Contract,
        configs: dict[str, ModalityConfig],
        dimensions: dict[str, dict[str, int]],
    ) -> None:
        super().__init__()
        self._configs, self._dimensions = configs, dimensions
        self._scales = {output.key: np.array(output.scale) for output in contract.action}
        self._spans = {
            output.key: np.array([1.0 if j.upper - j.lower > 0.5 else 0.02 for j in output.limits])
            for output in contract.action
        }
        self._rate_hz = contract.action_rate_hz
        self._random = np.random.default_rng(7)
        self.answers = 0

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return self._configs

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return self._dimensions

    def get_capabilities(self) -> tuple[str, ...]:
        return (ABSOLUTE_ACTIONS,)

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self.answers += 1
        horizon = len(self._configs["action"].delta_indices)
        times_s = np.arange(horizon)[:, None] / self._rate_hz
        way = np.minimum(times_s / REACHED_S, 1.0)
        actions = {}
        for key in self._configs["action"].modality_keys:
            size = self._dimensions["action"][key]
            state = observation["state"].get(key, observation["state"].get(key[: -len("_joints")]))
            start = np.zeros(size) if state is None else state[0, -1]
            aim = self._random.uniform(-REACH_RAD, REACH_RAD, size)
            spans = self._spans.get(key, np.ones(1))
            steps = aim * (spans if len(spans) == size else 1.0) / self._scales.get(key, 1.0)
            actions[key] = (start + way * steps)[None].astype(np.float32)
        return actions, {}


def proposed_configs(
    contract: Contract, horizon: int = 16
) -> tuple[dict[str, ModalityConfig], dict[str, dict[str, int]]]:
    """What a checkpoint would say that was trained on the keys of a contract."""
    states = {state.key: state.dimension for state in contract.state}
    actions = {output.key: output.dimension for output in contract.action}
    configs = {
        "video": ModalityConfig([0], [video.key for video in contract.video]),
        "state": ModalityConfig([0], list(states)),
        "action": ModalityConfig(list(range(horizon)), list(actions)),
        "language": ModalityConfig([0], ["annotation.human.task_description"]),
    }
    return configs, {"state": states, "action": actions}
