# SPDX-License-Identifier: Apache-2.0
"""How motion starts, blends, and limits from the parameters and from the robot description."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from helpers import wait_for_log, wait_until
from motion_rig import DT_S, PERIOD_S, Rig, urdf
from nodes_for_tests import CONFIGURE, Operator, chunk_of, overrides
from policies_for_tests import parameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from gr00t_ros.contract.motion_parameters import BLEND_MODES
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.msg import ControlStatus
from gr00t_ros.node.lifecycle import ManagedNode


def test_a_robot_at_rest_begins_at_the_beginning_from_where_its_joints_are(rig: Rig) -> None:
    rig.follow(0.3, 0.3, 0.3)
    rig.start(max_jump=0.15)
    rig.play(start=0.2, speed=1.0, late_s=0.4)  # its step of now lies at 0.6: too far
    status = rig.operator.wait_until_running()
    assert (status.steps_skipped, status.chunks_rejected) == (0, 0)
    rig.wait_for_commands(40)
    assert rig.path()[0, 0] == pytest.approx(0.3, abs=0.01)
    rig.require_smooth()


def test_a_chunk_too_far_from_the_joints_is_refused_by_name(rig: Rig) -> None:
    rig.joints = [0.0, 0.0, 0.0]
    rig.start(max_jump=0.5)
    rig.play(start=0.8)
    status = rig.operator.wait_for_reason("shoulder would jump by 0.800, from 0.000 to 0.800")
    assert (status.state, status.chunks_rejected) == (ControlStatus.STATE_WAITING, 1)
    assert rig.received == []


def test_a_chunk_too_far_from_the_measured_pose_is_refused(rig: Rig) -> None:
    tool = rig.peer.create_publisher(PoseStamped, "tool", 10)
    node = rig.start(
        require_subscribers=False,
        max_jump=0.3,
        state__arm__type="pose_stamped",
        state__arm__topic="tool",
        state__arm__joints=None,
        state__arm__representation="xyz_quat",
        action__arm__topic="goal",
        action__arm__joints=None,
        action__arm__type="pose_stamped",
        action__arm__representation="xyz_quat",
        action__arm__frame_id="base",
    )
    wait_until(tool.get_subscription_count, what="the node listens to poses")
    message = PoseStamped()
    message.header.frame_id = "base"
    message.pose.orientation.w = 1.0
    tool.publish(message)
    wait_until(lambda: node._motion.robot.poses._known, what="the pose is known")
    poses = np.tile([0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], (20, 1))
    values = {"arm": poses, "gripper": np.zeros((20, 1))}
    rig.chunks.publish(chunk_of(values, t0_ns=rig.now_ns(), dt_s=DT_S))
    rig.operator.wait_for_reason("arm would jump by 0.400 m; max_jump is 0.3")


# Seams and limits


@pytest.mark.parametrize("blend", BLEND_MODES)
def test_every_blend_mode_stays_within_the_limits(rig: Rig, blend: str) -> None:
    rig.start(blend=blend)
    for number in range(6):
        rig.play(start=0.3 * (number % 2), speed=1.0 - 0.4 * number, late_s=0.05 * number)
        rig.wait_for_commands(25)
    status = rig.operator.wait_for_status(lambda s: s.chunks_accepted == 6, "all chunks")
    assert status.blend_offset > 0.0
    rig.require_smooth()


def test_the_limits_of_the_contract_hold(rig: Rig) -> None:
    rig.start(
        action__arm__max_velocity=[0.4, 0.8],
        action__arm__max_position=[0.3, 9.0],
        action__gripper__max_velocity=0.2,
    )
    rig.play(speed=2.0, horizon=9)
    rig.operator.wait_for_reason("holding")
    rig.wait_for_rest()
    path = rig.path()
    speeds = np.abs(np.diff(path, axis=0)).max(axis=0) / PERIOD_S
    assert (speeds <= [0.4 + 1e-9, 0.8 + 1e-9, 0.2 + 1e-9]).all()
    assert (speeds >= [0.36, 0.72, 0.18]).all()
    assert path[:, 0].max() <= 0.3
    status = rig.operator.wait_for_status(lambda s: True, "a status")
    assert status.limiter_hits > 50


def test_of_contract_and_robot_description_the_tighter_limit_holds(rig: Rig) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    description = rig.peer.create_publisher(String, "robot_description", latched)
    text = urdf(
        shoulder='lower="-1" upper="0.25" velocity="0.5"', elbow='lower="-9" upper="9" velocity="9"'
    )
    description.publish(String(data=text))
    node = rig.start(action__arm__max_velocity=1.0)
    wait_until(lambda: node._inputs.description.limits, what="the description")
    rig.play(speed=2.0, horizon=20)
    rig.operator.wait_for_reason("holding")
    rig.wait_for_rest()
    path = rig.path()
    speeds = np.abs(np.diff(path, axis=0)).max(axis=0) / PERIOD_S
    assert (speeds[:2] <= [0.5 + 1e-9, 1.0 + 1e-9]).all()
    assert (speeds[:2] >= [0.45, 0.9]).all()
    assert 0.2 < path[:, 0].max() <= 0.25
    assert path[-1, 1] == pytest.approx(1.9)


def test_limits_that_contradict_the_contract_stop_every_chunk(rig: Rig) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    description = rig.peer.create_publisher(String, "robot_description", latched)
    description.publish(String(data=urdf(shoulder='lower="2" upper="3" velocity="1"')))
    node = rig.start(action__arm__max_position=1.0)
    wait_until(lambda: node._inputs.description.limits, what="the description")
    rig.play()
    rig.operator.wait_for_reason("the limits contradict each other: action.arm, joint shoulder")
    assert rig.received == []


def test_a_joint_whose_range_has_no_width_moves_and_is_named(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    description = rig.peer.create_publisher(String, "robot_description", latched)
    careless = 'lower="0" upper="0" velocity="1"'
    description.publish(String(data=urdf(shoulder=careless, wheel=careless)))
    node = rig.start()
    wait_until(lambda: node._inputs.description.limits, what="the description")
    rig.play(speed=0.5, horizon=9)
    rig.operator.wait_for_reason("ended and no other came")
    assert rig.wait_for_rest() == pytest.approx(0.5 * 8 * DT_S)
    told = capfd.readouterr().err
    assert "joint shoulder: its range from 0 to 0 is ignored" in told
    assert "joint wheel" not in told  # nobody commands it


def test_a_broken_description_is_told_and_a_late_one_is_in_force_after_a_rest(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.start()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    description = rig.peer.create_publisher(String, "robot_description", latched)
    wait_until(description.get_subscription_count, what="the node listens")
    description.publish(String(data="<robot"))
    wait_for_log(capfd, "limits of the robot description on robot_description are not used")
    rig.play(speed=1.0, horizon=400)
    rig.wait_for_commands(30)
    description.publish(String(data=urdf(shoulder='lower="-9" upper="9" velocity="0.2"')))
    rig.operator.wait_for_reason("the limits have changed: the robot comes to rest")
    rested = rig.wait_for_rest()
    rig.play(start=rested, speed=1.0, horizon=60)
    status = rig.operator.wait_until_running()
    (shoulder,) = (joint for joint in status.joints if joint.name == "shoulder")
    assert (shoulder.max_velocity, shoulder.max_position) == (0.2, 9.0)
    assert "max_velocity: urdf, max_acceleration: default" in shoulder.limit_sources
    rig.wait_for_commands(60)
    after = rig.path()[np.flatnonzero(rig.path()[:, 0] == rested)[-1] :, 0]
    assert 0.1 * PERIOD_S < np.abs(np.diff(after)).max() <= 0.2 * PERIOD_S + 1e-9
    rig.require_smooth()


LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LIMIT = 'lower="-1" upper="1" velocity="1"'


def test_without_a_description_that_has_every_joint_nothing_moves_where_one_is_required(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    node = rig.start(require_urdf=True)
    rig.play()
    rig.operator.wait_for_reason(
        "require_urdf: no robot description has arrived on robot_description"
    )
    description = rig.peer.create_publisher(String, "robot_description", LATCHED)
    description.publish(String(data=urdf(left_shoulder=LIMIT, elbow=LIMIT, finger=LIMIT)))
    lacking = "has no joint shoulder (did you mean left_shoulder?)"
    rig.operator.wait_for_reason(
        f"require_urdf: the robot description on robot_description {lacking}"
    )
    wait_for_log(capfd, f"action.arm: the robot description {lacking}: it sets no limits for it")
    rig.play()
    rig.operator.wait_for_status(lambda s: s.chunks_rejected >= 2, "a refusal")
    assert rig.received == []
    description.publish(String(data=urdf(shoulder=LIMIT, elbow=LIMIT, finger=LIMIT)))
    wait_until(lambda: "shoulder" in node._inputs.description.limits, what="the whole description")
    rig.play(speed=3.0)
    rig.operator.wait_until_running()
    rig.wait_for_commands(40)
    assert np.abs(np.diff(rig.path(), axis=0)).max() <= 1.0 * PERIOD_S + 1e-9


def test_a_node_in_a_namespace_takes_the_description_of_the_lone_robot_until_its_own_comes(
    ros_context: Context,
    live: Callable[[ManagedNode], None],
    ros_node: Node,
    capfd: pytest.CaptureFixture[str],
) -> None:
    node = ControlNode(
        context=ros_context, namespace="left", parameter_overrides=overrides(parameters())
    )
    live(node)
    of_the_robot = ros_node.create_publisher(String, "/robot_description", LATCHED)
    of_the_arm = ros_node.create_publisher(String, "/left/robot_description", LATCHED)
    operator = Operator(ros_node, "left/control_node")
    assert operator.change_state(CONFIGURE) == [True]
    of_the_robot.publish(String(data=urdf(shoulder='lower="-1" upper="1" velocity="0.1"')))
    wait_for_log(capfd, "the limits of the robot description on /robot_description are used")
    assert node._inputs.description.limits["shoulder"].velocity == 0.1
    of_the_arm.publish(String(data=urdf(shoulder='lower="-1" upper="1" velocity="0.2"')))
    wait_for_log(capfd, "the limits of the robot description on robot_description are used")
    assert node._inputs.description.limits["shoulder"].velocity == 0.2
    of_the_robot.publish(String(data=urdf(shoulder='lower="-1" upper="1" velocity="0.3"')))
    wait_for_log(
        capfd, "the robot description on robot_description precedes the one on /robot_desc"
    )
    assert node._inputs.description.limits["shoulder"].velocity == 0.2
