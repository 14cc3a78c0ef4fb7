# SPDX-License-Identifier: Apache-2.0
"""A state from tf through the node: the pose at the time of the observation, never a later one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf2_double
from helpers import wait_until
from nodes_for_tests import ACTIVATE, CONFIGURE, MakeNode, Operator
from rclpy.node import Node
from sensor_msgs.msg import JointState
from tf2_double import TransformPublisher, transform

from gr00t_policy_core import ModalityConfig, ModalityPolicy

HORIZON = 16
SPEED_M_S = 0.1
UNUSED = (
    "video__front__topic",
    "instruction",
    *(
        f"{kind}__gripper__{name}"
        for kind in ("state", "action")
        for name in ("type", "topic", "joints")
    ),
)
EEF = {
    "type": "end_effector",
    "source": "tf",
    "topic": "/tf",
    "base": "base",
    "tip": "tip",
    "representation": "xyz_quat",
}


class PosePolicy(ModalityPolicy):
    """Answers where it is, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[dict[str, np.ndarray]] = []

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return {
            "state": ModalityConfig([-1, 0], ["arm", "eef"]),
            "action": ModalityConfig(list(range(HORIZON)), ["arm"]),
        }

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return {"state": {"arm": 1, "eef": 7}, "action": {"arm": 1}}

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self.states.append(observation["state"])
        return {"arm": np.zeros((1, HORIZON, 1), np.float32)}, {}


class MovingTip:
    """A joint and a tip that are where the time says: both at SPEED_M_S from the start on.

    The tip comes at 20 Hz, the joint at 100 Hz: their stamps never agree.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._start_ns = node.get_clock().now().nanoseconds
        self._transforms = TransformPublisher(node)
        self._joints = node.create_publisher(JointState, "joint_states", 10)
        self._transforms.send(
            transform("base", "link", 0, np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0])),
            is_static=True,
        )
        self.tip_timer = node.create_timer(0.05, self.send_tip)
        node.create_timer(0.01, self._send_joint)

    def _now(self) -> tuple[int, float]:
        stamp_ns = self._node.get_clock().now().nanoseconds
        return stamp_ns, SPEED_M_S * (stamp_ns - self._start_ns) * 1e-9

    def send_tip(self, ahead_s: float = 0.0, parent: str = "link", child: str = "tip") -> None:
        """Send where the tip is, or would be at a later time."""
        stamp_ns, x = self._now()
        pose = np.array([x + SPEED_M_S * ahead_s, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        self._transforms.send(transform(parent, child, stamp_ns + round(ahead_s * 1e9), pose))

    def _send_joint(self) -> None:
        stamp_ns, x = self._now()
        message = JointState(name=["shoulder"], position=[x])
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        self._joints.publish(message)


@pytest.fixture
def policy() -> PosePolicy:
    return PosePolicy()


@pytest.fixture
def node_of(start_node: MakeNode, policy: PosePolicy, monkeypatch: pytest.MonkeyPatch) -> MakeNode:
    """Makes a policy node whose policy wants a joint and a pose, with two steps of history."""
    tf2_double.install(monkeypatch)

    def make(**changes: Any) -> Any:
        settings: dict[str, Any] = dict.fromkeys(UNUSED)
        settings |= {"state__arm__joints": ["shoulder"], "action__arm__joints": ["shoulder"]}
        settings |= {f"state__eef__{name}": value for name, value in EEF.items()}
        return start_node(lambda _: policy, **{**settings, **changes})

    return make


def started(node_of: MakeNode, operator: Operator, ros_node: Node) -> MovingTip:
    """A policy node that infers from a tip that moves; returns the tip."""
    node_of(max_skew_s=0.05, max_age_s=5.0)
    tip = MovingTip(ros_node)
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    assert operator.trigger("start").success
    return tip


def test_the_pose_is_that_of_the_time_of_the_observation(
    node_of: MakeNode, policy: PosePolicy, operator: Operator, ros_node: Node
) -> None:
    tip = started(node_of, operator, ros_node)
    wait_until(lambda: len(policy.states) > 5, what="observations")
    for state in policy.states:
        pose, joint = state["eef"][0], state["arm"][0, :, 0]
        assert np.allclose(pose[:, 1], 1.0)
        # The joint is the sample closest to the time, the tip is interpolated at it.
        assert np.abs(pose[:, 0] - joint).max() < SPEED_M_S * 0.05
        step = pose[1, 0] - pose[0, 0]
        assert step == pytest.approx(SPEED_M_S / 20.0, abs=1e-4)
    tip.tip_timer.cancel()
    operator.wait_for_reason("state.eef: stale on /tf")


def test_one_transform_that_is_stamped_ahead_does_not_blind_the_state(
    node_of: MakeNode, policy: PosePolicy, operator: Operator, ros_node: Node
) -> None:
    tip = started(node_of, operator, ros_node)
    wait_until(lambda: policy.states, what="an observation")
    tip.send_tip(ahead_s=1000.0)
    rejected = "state.eef: 1 message rejected, stamped ahead of this node's clock (the last: "
    status = operator.wait_for_reason(rejected)
    assert "tip in link, by " in status.reason
    seen = len(policy.states)
    wait_until(lambda: len(policy.states) > seen + 5, what="observations go on")
    assert max(state["eef"][..., 0].max() for state in policy.states) < 100.0


def test_transforms_of_other_frames_may_be_stamped_ahead(
    node_of: MakeNode, policy: PosePolicy, operator: Operator, ros_node: Node
) -> None:
    """As those of a localisation are, which are valid for some time to come."""
    tip = started(node_of, operator, ros_node)
    tip.send_tip(ahead_s=1000.0, parent="map", child="base")
    wait_until(lambda: len(policy.states) > 5, what="observations")
    assert not any("ahead of" in status.reason for status in operator.statuses)


def test_frames_that_tf_does_not_know_are_named(
    node_of: MakeNode, policy: PosePolicy, operator: Operator, ros_node: Node
) -> None:
    node_of(state__eef__tip="moon")
    MovingTip(ros_node)
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    assert operator.trigger("start").success
    status = operator.wait_for_reason("state.eef: tf has no such transform")
    assert "moon" in status.reason
    assert not policy.states


def test_another_topic_than_tf_is_refused(node_of: MakeNode, operator: Operator) -> None:
    node_of(state__eef__topic="/transforms")
    assert operator.change_state(CONFIGURE) == [False]
    operator.wait_for_reason("source tf listens to /tf")
