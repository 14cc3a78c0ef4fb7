# SPDX-License-Identifier: Apache-2.0
"""Records the demo over DDS, as any other tool would: commands, joints, chunks and cubes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy.subscription
from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import PoseArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_action_status_default
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.parameters import CHUNK_TOPIC
from gr00t_ros.interfaces.image_decoding import rgb_from_image
from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus
from gr00t_ros.node.qos import CHUNK, INSTRUCTION, SENSOR, STATUS
from gr00t_ros.sim.cube_log import LIFTED_M, CubeLog
from gr00t_ros.sim.feedback import colour_in
from gr00t_ros.sim.world import CUBE_NAMES

# Deep enough that a busy recorder gets every message, late or not.
EVERY_MESSAGE = QoSProfile(depth=1000)
RUNNING_GOAL = (
    GoalStatus.STATUS_ACCEPTED,
    GoalStatus.STATUS_EXECUTING,
    GoalStatus.STATUS_CANCELING,
)
CATCH_UP_S, QUIET_S = 30.0, 0.5  # longest; and with nothing new for so long, all is in


@dataclass
class JointHistory:
    """Positions over time, as stamped by their sender: s, and rad (m for the gripper)."""

    names: tuple[str, ...] = ()
    times_s: list[float] = field(default_factory=list)
    positions: list[Sequence[float]] = field(default_factory=list)

    def add(self, time_s: float, names: Sequence[str], positions: Sequence[float]) -> None:
        """Keep one row; the joints may come in any order, and rows that lack some are left out."""
        if not self.names:
            self.names = tuple(names)
        by_name = dict(zip(names, positions, strict=True))
        if not set(self.names) <= by_name.keys():
            return
        self.times_s.append(time_s)
        self.positions.append([by_name[name] for name in self.names])

    def of(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Float64 (rows, len(names))."""
        columns = [self.names.index(name) for name in names]
        return np.asarray(self.positions, dtype=np.float64)[:, columns]


class DemoRecorder(Node):
    """Listens to the demo's topics, and gives instructions.

    Attributes:
        commanded, measured: The joints over time: when a command was published, and when the arm
            was at a position, not when this process received it.
        round_trips_s: Of every chunk, s.
        policy_status, control_status: The newest, or None.
        ticks, ticks_missed: Of the control node, since commands were published.
        lifted_picture: uint8 (H, W, 3) RGB of the front camera when a cube was highest, or None.
        lifted_at_s: The time of that picture, s.
        cubes: The instructions, and what became of each.
        runs_task: Whether the task node runs a goal.

    Args:
        bin_position: Centre of the bin, x y z in m.
    """

    def __init__(self, bin_position: Sequence[float]) -> None:
        super().__init__("demo")
        self.cubes = CubeLog(bin_position)
        self.runs_task = False
        self.commanded, self.measured = JointHistory(), JointHistory()
        self.round_trips_s: list[float] = []
        self.policy_status: PolicyStatus | None = None
        self.control_status: ControlStatus | None = None
        self.ticks = self.ticks_missed = 0
        self.lifted_picture: NDArray[np.uint8] | None = None
        self.lifted_at_s: float | None = None
        self._highest_m = LIFTED_M
        self._received = threading.Event()
        self._recording = False
        self.create_subscription(JointState, "joint_states", self._on_joints, EVERY_MESSAGE)
        self.create_subscription(
            JointTrajectory, "arm/joint_trajectory", self._with_sent_s(), EVERY_MESSAGE
        )
        self.create_subscription(ActionChunk, CHUNK_TOPIC, self._on_chunk, CHUNK)
        self.create_subscription(Image, "front/image_raw", self._on_image, SENSOR, raw=True)
        self.create_subscription(PoseArray, "sim_node/cubes", self._on_cubes, SENSOR)
        self._instruction = self.create_publisher(String, "policy_node/instruction", INSTRUCTION)
        self.create_subscription(
            String, "policy_node/instruction", self._on_instruction, INSTRUCTION
        )
        self.create_subscription(
            GoalStatusArray,
            "task_node/run_policy/_action/status",
            self._on_goals,
            qos_profile_action_status_default,
        )
        self.create_subscription(PolicyStatus, "policy_node/status", self._on_policy, STATUS)
        self.create_subscription(ControlStatus, "control_node/status", self._on_control, STATUS)

    def start(self) -> None:
        """Record from now on."""
        self._recording = True

    def catch_up(self) -> None:
        """Wait for all messages that were sent, while another thread spins this node."""
        ends_at_s = time.monotonic() + CATCH_UP_S
        while self._received.wait(QUIET_S) and time.monotonic() < ends_at_s:
            self._received.clear()

    def pause(self) -> None:
        """The arm is stopped: what it was asked for is judged no further."""
        self.cubes.pause(self._now_s())

    def instruct(self, instruction: str) -> None:
        """Ask the arm to do something else."""
        self._instruction.publish(String(data=instruction))

    def ask(self, instruction: str) -> None:
        """Note that the arm is asked for something by the configuration of the policy node."""
        self.cubes.ask(named_colour(instruction), self._now_s())

    def _on_joints(self, message: JointState) -> None:
        self._received.set()
        if self._recording:
            self.measured.add(stamp_s(message), message.name, message.position)

    def _with_sent_s(self) -> Callable[..., None]:
        """`_on_command` as a callback; a command's own stamp is 0: from its arrival on."""
        if hasattr(rclpy.subscription, "MessageInfo"):
            return lambda message, info: self._on_command(message, 1e-9 * info["source_timestamp"])
        # Humble does not report when a message was sent: the time of its arrival is used instead.
        return lambda message: self._on_command(message, self._now_s())

    def _on_command(self, message: JointTrajectory, sent_s: float) -> None:
        self._received.set()
        if self._recording:
            self.commanded.add(sent_s, message.joint_names, message.points[0].positions)

    def _on_chunk(self, message: ActionChunk) -> None:
        if self._recording and not message.stop:
            self.round_trips_s.append(message.round_trip_s)

    def _on_cubes(self, message: PoseArray) -> None:
        points = [pose.position for pose in message.poses]
        positions = {
            name: (point.x, point.y, point.z)
            for name, point in zip(CUBE_NAMES, points, strict=True)
        }
        self.cubes.see(positions, self._now_s())

    def _on_image(self, serialized: bytes) -> None:
        """Keep the picture of the highest lift so far, a little apart from the last one kept."""
        height_m = max((z for _, _, z in self.cubes.positions.values()), default=0.0)
        if self._recording and height_m > self._highest_m + 0.005:
            self._highest_m = height_m
            message = deserialize_message(serialized, Image)
            self.lifted_picture = rgb_from_image(message).copy()
            self.lifted_at_s = stamp_s(message)

    def _on_instruction(self, message: String) -> None:
        self.ask(message.data)

    def _on_goals(self, message: GoalStatusArray) -> None:
        self.runs_task = any(status.status in RUNNING_GOAL for status in message.status_list)

    def _now_s(self) -> float:
        return float(1e-9 * self.get_clock().now().nanoseconds)

    def _on_policy(self, message: PolicyStatus) -> None:
        self.policy_status = message

    def _on_control(self, message: ControlStatus) -> None:
        before, self.control_status = self.control_status, message
        if before is None or not before.commands:
            return
        # Missed ticks are counted from 0 with each activation, commands are not.
        is_same_activation = message.ticks_missed >= before.ticks_missed
        self.ticks_missed += message.ticks_missed - is_same_activation * before.ticks_missed
        self.ticks += message.commands - before.commands


def named_colour(instruction: str) -> str:
    """The cube that an instruction names; empty where it names none, or several."""
    try:
        return colour_in(instruction)
    except SpecError:
        return ""


def stamp_s(message: Any) -> float:
    """The time in a message's header, s."""
    stamp = message.header.stamp
    return float(stamp.sec + stamp.nanosec * 1e-9)
