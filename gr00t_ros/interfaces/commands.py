# SPDX-License-Identifier: Apache-2.0
"""Commands out: one sink per topic, its message made once and filled at every tick."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Duration as DurationMessage
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_policy_core.control.chunk import Row
from gr00t_ros.contract.contract import ActionOutput, Contract
from gr00t_ros.node.qos import COMMAND

# For the last command, which may be the zero of a velocity, to arrive before its publisher ends.
ACKNOWLEDGED = Duration(seconds=1.0)

Values = Mapping[str, Row]


class Sink(ABC):
    """Publishes the action keys that share one topic.

    Args:
        node: Owns the publisher, which is silent while the node is not active.
        outputs: The contract's entries for the topic, in order.
        period_s: Time between two commands, s.
    """

    message_type: type

    def __init__(
        self, node: LifecycleNode, outputs: Sequence[ActionOutput], period_s: float
    ) -> None:
        self._node = node
        self._keys = [output.key for output in outputs]
        self._message = self._make_message(outputs, period_s)
        self._publisher = node.create_lifecycle_publisher(
            self.message_type, outputs[0].topic, COMMAND
        )

    def publish(self, values: Values, stamp: Time) -> None:
        """Publish one command.

        Args:
            values: float64 (D,) by action key, in SI units and rad.
            stamp: The present.
        """
        rows = [values[key] for key in self._keys]
        self._fill(rows[0] if len(rows) == 1 else np.concatenate(rows), stamp)
        self._publisher.publish(self._message)

    @property
    def topic(self) -> str:
        """Where the commands go, resolved."""
        return str(self._publisher.topic_name)

    @property
    def subscribers(self) -> int:
        """Matched subscriptions: of this message type, and of a QoS that fits."""
        return int(self._publisher.get_subscription_count())

    def destroy(self) -> None:
        """End the publisher, once its last command has arrived or nobody acknowledges it."""
        self._publisher.wait_for_all_acked(ACKNOWLEDGED)
        self._node.destroy_lifecycle_publisher(self._publisher)

    @abstractmethod
    def _make_message(self, outputs: Sequence[ActionOutput], period_s: float) -> object: ...

    @abstractmethod
    def _fill(self, values: Row, stamp: Time) -> None: ...


class JointTrajectorySink(Sink):
    """One point to be reached within one control period, at once (stamp 0)."""

    message_type = JointTrajectory

    def _make_message(self, outputs: Sequence[ActionOutput], period_s: float) -> JointTrajectory:
        seconds, nanoseconds = divmod(round(period_s * 1e9), 1_000_000_000)
        self._point = JointTrajectoryPoint(
            time_from_start=DurationMessage(sec=seconds, nanosec=nanoseconds)
        )
        joints = [joint for output in outputs for joint in output.joints]
        return JointTrajectory(joint_names=joints, points=[self._point])

    def _fill(self, values: Row, stamp: Time) -> None:
        self._point.positions = array("d", values.tobytes())


class JointStateSink(Sink):
    """Positions by joint name, stamped with the present."""

    message_type = JointState

    def _make_message(self, outputs: Sequence[ActionOutput], period_s: float) -> JointState:
        return JointState(name=[joint for output in outputs for joint in output.joints])

    def _fill(self, values: Row, stamp: Time) -> None:
        self._message.header.stamp = stamp
        self._message.position = array("d", values.tobytes())


class ArraySink(Sink):
    """The bare values, in the policy's order."""

    message_type = Float64MultiArray

    def _make_message(self, outputs: Sequence[ActionOutput], period_s: float) -> Float64MultiArray:
        return Float64MultiArray()

    def _fill(self, values: Row, stamp: Time) -> None:
        self._message.data = array("d", values.tobytes())


class PoseSink(Sink):
    """x y z and a quaternion, normalised again after interpolation."""

    message_type = PoseStamped

    def _make_message(self, outputs: Sequence[ActionOutput], period_s: float) -> PoseStamped:
        message = PoseStamped()
        self._last_quaternion = np.zeros(4)
        message.header.frame_id = outputs[0].frame_id
        return message

    def _fill(self, values: Row, stamp: Time) -> None:
        pose = self._message.pose
        self._message.header.stamp = stamp
        quaternion = values[3:] / np.linalg.norm(values[3:])
        # q and -q are one rotation: a receiver that filters values would swing through zero.
        if quaternion @ self._last_quaternion < 0.0:
            quaternion = -quaternion
        self._last_quaternion = quaternion
        pose.position.x, pose.position.y, pose.position.z = values[:3].tolist()
        orientation = pose.orientation
        orientation.x, orientation.y, orientation.z, orientation.w = quaternion.tolist()


class TwistSink(Sink):
    """Velocities, m/s and rad/s, of which none is left at rest."""

    message_type = TwistStamped

    def _make_message(self, outputs: Sequence[ActionOutput], period_s: float) -> TwistStamped:
        message = TwistStamped()
        message.header.frame_id = outputs[0].frame_id
        return message

    def _fill(self, values: Row, stamp: Time) -> None:
        twist = self._message.twist
        self._message.header.stamp = stamp
        twist.linear.x, twist.linear.y, twist.linear.z = values[:3].tolist()
        twist.angular.x, twist.angular.y, twist.angular.z = values[3:].tolist()


SINKS: Mapping[str, Callable[..., Sink]] = {
    "joint_trajectory": JointTrajectorySink,
    "joint_state": JointStateSink,
    "float64_multi_array": ArraySink,
    "pose_stamped": PoseSink,
    "twist_stamped": TwistSink,
}


def make_sinks(node: LifecycleNode, contract: Contract) -> Iterator[Sink]:
    """The sinks of a contract, one by one: joint groups on one topic go out as one message."""
    period_s = 1.0 / contract.control_rate_hz
    topics = dict.fromkeys(output.topic for output in contract.action)
    for topic in topics:
        group = [output for output in contract.action if output.topic == topic]
        yield SINKS[group[0].interface](node, group, period_s)
