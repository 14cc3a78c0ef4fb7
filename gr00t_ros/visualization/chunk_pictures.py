# SPDX-License-Identifier: Apache-2.0
"""The pictures of the newest chunk, each published while somebody subscribes to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameters import CHUNK_TOPIC
from gr00t_ros.control.chunk_reader import read_chunk
from gr00t_ros.interfaces.interface import ConversionError, StateInterface
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.qos import CHUNK, SENSOR, STATUS
from gr00t_ros.visualization.demanded_subscriptions import DemandedSubscriptions, Input
from gr00t_ros.visualization.joint_messages import (
    chunk_trajectory,
    ghost_joint_state,
    ghost_step,
)
from gr00t_ros.visualization.path_markers import no_markers, path_markers
from gr00t_ros.visualization.received_chunk import ReceivedChunk, commanded_positions, posture
from gr00t_ros.visualization.robot_view import RobotView
from gr00t_ros.visualization.tip_paths import joint_paths, pose_paths


class ChunkPictures:
    """Publishes `chunk_path`, `chunk_trajectory` and `ghost/joint_states`.

    Args:
        node: Owns publishers and subscriptions; its clock says when a chunk has arrived.
        contract: Names the actions, the states and the blend.
        robot: Receives the measured joints; has the kinematics.

    Attributes:
        problem: What is wrong with the newest chunk; empty where nothing is.
    """

    def __init__(self, node: Node, contract: Contract, robot: RobotView) -> None:
        self._node = node
        self._contract = contract
        self._robot = robot
        schedule = contract.motion.schedule
        self._blend_s = schedule.blend_s if schedule.blend.fades_offset else 0.0
        self._loops = contract.visualize.ghost_loops
        self._chunk: ReceivedChunk | None = None
        self._is_drawn = True  # whether the picture of the chunk, or of none, has been published
        self._path = node.create_publisher(MarkerArray, "chunk_path", STATUS)
        self._trajectory = node.create_publisher(JointTrajectory, "chunk_trajectory", STATUS)
        self._ghost = node.create_publisher(JointState, "ghost/joint_states", STATUS)
        chunks = Input(ActionChunk, CHUNK_TOPIC, self.receive, CHUNK)
        self._inputs = DemandedSubscriptions(node, [chunks])
        self._joints = DemandedSubscriptions(node, self._joint_inputs())
        self.problem = ""

    @property
    def publishers(self) -> Sequence[Publisher]:
        """Of the three pictures."""
        return self._path, self._trajectory, self._ghost

    @property
    def chunk_id(self) -> int:
        """The chunk that is drawn; 0 for none."""
        return self._chunk.chunk.chunk_id if self._chunk is not None else 0

    def demand(self, topics: Sequence[str]) -> None:
        """Subscribe to what the pictures that somebody looks at are made of.

        Args:
            topics: The topics of this node that somebody subscribes to.
        """
        is_demanded = any(p.topic_name in topics for p in self.publishers)
        if not is_demanded:
            self._chunk, self._is_drawn, self.problem = None, True, ""
        self._inputs.demand(is_demanded)
        self._joints.demand(any(p.topic_name in topics for p in (self._path, self._ghost)))

    def receive(self, message: ActionChunk) -> None:
        """Take a chunk, or the request to stop: nothing is drawn then."""
        self._is_drawn, self.problem = False, ""
        if message.stop:
            self._chunk = None
            return
        try:
            chunk = read_chunk(self._contract, message)
        except ChunkRefusedError as error:
            self._chunk, self.problem = None, str(error)
            return
        self._chunk = ReceivedChunk(chunk, self._now_ns())

    def publish(self) -> None:
        """Publish what is new."""
        if not self._is_drawn:
            self._is_drawn = True
            self._publish_path()
            self._publish_trajectory()
        if self._chunk is not None:
            self._publish_ghost(self._chunk)

    def why_no_path(self) -> str:
        """Why a path that the joints command is not drawn; empty where it is, or there is none."""
        commands_joints = any(output.commands_joint_positions for output in self._contract.action)
        is_looked_at = self._path.get_subscription_count() > 0
        return self._robot.problem if commands_joints and is_looked_at else ""

    def destroy(self) -> None:
        """End subscriptions and publishers."""
        self._inputs.destroy()
        self._joints.destroy()
        for publisher in self.publishers:
            self._node.destroy_publisher(publisher)

    def _publish_path(self) -> None:
        if not self._path.get_subscription_count():
            return
        if self._chunk is None:
            self._path.publish(no_markers())
            return
        contract, robot, chunk = self._contract, self._robot, self._chunk.chunk
        paths = list(pose_paths(contract, chunk))
        if robot.model is not None:
            paths += joint_paths(contract, chunk, robot.model, robot.tips, robot.positions)
        self._path.publish(path_markers(paths, self._chunk, self._blend_s))

    def _publish_trajectory(self) -> None:
        if self._chunk is None or not self._trajectory.get_subscription_count():
            return
        commanded = commanded_positions(self._contract, self._chunk.chunk)
        if commanded:
            self._trajectory.publish(chunk_trajectory(self._chunk.chunk, commanded))

    def _publish_ghost(self, received: ReceivedChunk) -> None:
        if not self._ghost.get_subscription_count():
            return
        now_ns = self._now_ns()
        step = ghost_step(received, now_ns, loops=self._loops)
        commanded = commanded_positions(self._contract, received.chunk)
        positions = posture(commanded, self._robot.positions, step)
        self._ghost.publish(ghost_joint_state(positions, now_ns))

    def _joint_inputs(self) -> list[Input]:
        """One for each topic that measures positions of joints."""
        interfaces: dict[str, list[StateInterface]] = {}
        for stream in self._contract.state_streams:
            if stream.interface.measured_joints:
                interfaces.setdefault(stream.topic, []).append(stream.interface)
        return [
            Input(of_topic[0].message_type, topic, partial(self._measure, of_topic), SENSOR)
            for topic, of_topic in interfaces.items()
        ]

    def _measure(self, interfaces: Sequence[StateInterface], message: Any) -> None:
        try:
            for interface in interfaces:
                self._robot.measure(*interface.joint_positions(message))
        except ConversionError as error:
            self.problem = str(error)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
