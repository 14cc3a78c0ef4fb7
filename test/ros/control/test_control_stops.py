# SPDX-License-Identifier: Apache-2.0
"""Every reason to come to rest."""

from __future__ import annotations

import re

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TwistStamped
from helpers import wait_until
from motion_contracts import POSE
from motion_rig import BRAKING_S, DT_S, HOLDING, Rig
from nodes_for_tests import DEACTIVATE, chunk_of
from std_msgs.msg import Bool

from gr00t_ros.msg import ControlStatus

RUNNING = ControlStatus.STATE_RUNNING


def test_old_joint_positions_stop_the_arm_and_new_ones_let_it_go_on(rig: Rig) -> None:
    rig.start(max_age_s=2.0)
    rig.play(speed=1.0, horizon=200)
    rig.wait_for_commands(30)
    rig.joints = None
    status = rig.operator.wait_for_reason("holding: the position of shoulder is ")
    assert status.state == HOLDING
    rested = rig.wait_for_rest()
    rig.play(start=rested, speed=1.0)
    rig.operator.wait_for_status(lambda s: s.chunks_rejected == 1, "a refusal")
    rig.follow(rested, rested, rested)
    rig.operator.wait_for_reason("holding: no chunk came after a stop")
    rig.play(start=rested + 0.1, speed=0.5)
    rig.operator.wait_until_running()
    wait_until(lambda: rig.path()[-1, 0] > rested + 0.2, what="it moves on")
    rig.require_smooth()


def test_one_measurement_that_is_stamped_ahead_is_dropped_and_the_arm_moves_on(rig: Rig) -> None:
    rig.start(max_age_s=2.0)
    rig.play(horizon=400)
    rig.wait_for_commands(30)
    rig.measure_once([1.5, 1.5, 1.5], ahead_s=10.0)
    dropped = "joint_states: 1 message rejected, stamped ahead of this node's clock (the last: by "
    status = rig.operator.wait_for_reason(dropped)
    assert status.state == RUNNING
    rig.wait_for_commands(50)
    status = rig.operator.wait_for_status(lambda s: s.commands > 80, "commands")
    assert (status.state, status.holds) == (RUNNING, 0)
    rig.require_smooth()


def test_a_robot_whose_clock_is_ahead_is_held_and_its_clock_named(rig: Rig) -> None:
    rig.start(max_age_s=2.0)
    rig.play(horizon=400)
    rig.wait_for_commands(30)
    rig.ahead_s = 10.0
    status = rig.operator.wait_for_reason("holding: the position of shoulder is ")
    assert status.state == HOLDING
    assert "s old, the limit is 2 s; joint_states: " in status.reason
    assert "messages rejected, stamped ahead of this node's clock (the last: by " in status.reason
    rig.ahead_s = 0.0
    rested = rig.wait_for_rest()
    rig.play_until(
        lambda: rig.path()[-1, 0] > rested + 0.1, "it moves on", start=rested, horizon=400
    )
    rig.require_smooth()


def test_a_pose_that_is_stamped_ahead_is_not_believed(rig: Rig) -> None:
    rig.start(**POSE)
    poses = rig.peer.create_publisher(PoseStamped, "tool", 10)
    wait_until(poses.get_subscription_count, what="the node listens")
    pose = PoseStamped()
    pose.header.frame_id, pose.pose.orientation.w = "base", 1.0
    pose.header.stamp.sec = rig.now_ns() // 10**9 + 10
    poses.publish(pose)
    rig.operator.wait_for_reason("tool: 1 message rejected, stamped ahead of this node's clock")
    assert rig.node._motion.robot.poses._known == {}


def test_stop_and_start(rig: Rig) -> None:
    rig.start()
    rig.play(speed=1.5, horizon=400)
    rig.wait_for_commands(50)
    assert rig.operator.trigger("stop").success
    at_stop = rig.path()[-1, 0]
    status = rig.operator.wait_for_reason("holding: stopped by ~/stop; ~/start allows motion")
    assert status.state == HOLDING
    rested = rig.wait_for_rest()
    assert rested - at_stop < 1.5 * BRAKING_S
    rig.play(start=rested)
    rig.operator.wait_for_status(lambda s: s.chunks_rejected == 1, "a refusal")
    assert rig.path()[-1, 0] == rested

    assert rig.operator.trigger("start").success
    rig.play(start=rested)
    rig.operator.wait_until_running()
    wait_until(lambda: rig.path()[-1, 0] > rested + 0.1, what="it moves on")
    rig.require_smooth()


def test_a_stop_before_the_first_chunk_keeps_the_robot_still(rig: Rig) -> None:
    rig.start()
    assert rig.operator.trigger("stop").success
    rig.play()
    rig.operator.wait_for_reason("stopped by ~/stop")
    assert rig.received == []


def test_a_dead_mans_switch_must_be_held(rig: Rig) -> None:
    rig.start(enable_topic="enable", enable_timeout_s=3.0)
    enable = rig.peer.create_publisher(Bool, "enable", 10)
    wait_until(enable.get_subscription_count, what="the node listens")
    rig.operator.wait_for_reason("the enable signal is off")
    assert not rig.operator.trigger("start").success
    held = [True]
    rig.peer.create_timer(0.02, lambda: enable.publish(Bool(data=True)) if held[0] else None)
    wait_until(lambda: rig.operator.trigger("start").success, what="it is enabled")
    rig.play(horizon=400)
    rig.wait_for_commands(50)

    held[0] = False  # the signal is lost: its last word was yes
    rig.operator.wait_for_status(
        lambda s: re.match(r"holding: the enable signal is \d", s.reason), "its age"
    )
    rested = rig.wait_for_rest()
    held[0] = True
    rig.operator.wait_for_reason("no chunk came after a stop: the enable signal is")
    rig.play(start=rested)
    rig.operator.wait_until_running()

    held[0] = False
    enable.publish(Bool(data=False))  # let go
    rig.operator.wait_for_reason("holding: the enable signal is off")
    rig.wait_for_rest()
    rig.require_smooth()


def test_starvation_may_end_the_commands_once_at_rest(rig: Rig) -> None:
    rig.start(on_starvation="stop_publishing")
    rig.play(speed=1.0, horizon=10)
    status = rig.operator.wait_for_reason("ended and no other came")
    assert status.state == HOLDING
    rig.operator.wait_for_status(
        lambda s: s.commands == rig.operator.statuses[-2].commands, "the commands end"
    )
    count = len(rig.received)
    rig.operator.wait_for_status(lambda s: True, "a status")
    assert len(rig.received) == count
    assert rig.path()[-1, 0] == pytest.approx(0.45)
    rig.play(start=0.5)
    rig.operator.wait_until_running()
    assert len(rig.received) > count


def test_where_publishing_stops_no_velocity_stays_commanded(rig: Rig) -> None:
    twists: list[TwistStamped] = []
    rig.peer.create_subscription(TwistStamped, "twist", twists.append, 100)
    rig.start(
        on_starvation="stop_publishing",
        require_subscribers=False,
        action__arm__topic="twist",
        action__arm__type="twist_stamped",
        action__arm__joints=None,
        action__arm__frame_id="base",
        action__gripper__joints=None,
        action__gripper__topic="grip",
        action__gripper__type="float64_multi_array",
        action__gripper__unmeasured=True,
    )
    values = {"arm": np.full((10, 6), 0.5), "gripper": np.zeros((10, 1))}
    rig.chunks.publish(chunk_of(values, t0_ns=rig.now_ns(), dt_s=DT_S))
    rig.operator.wait_for_reason("ended and no other came")
    wait_until(lambda: twists[-1].twist.linear.x == 0.0, what="no velocity")


def test_a_deactivation_brakes_first(rig: Rig) -> None:
    rig.start()
    rig.play(speed=2.5, horizon=400)
    rig.wait_for_commands(60)
    moving = rig.path()[-1, 0]
    assert rig.operator.change_state(DEACTIVATE) == [True]
    path = rig.path()[:, 0]
    wait_until(lambda: len(set(rig.path()[-3:, 0])) == 1, what="the last commands stand still")
    assert moving < path[-1] < moving + 2.5 * BRAKING_S
    rig.require_smooth()


def test_a_stopped_arm_that_another_controller_moves_is_not_sent_back(rig: Rig) -> None:
    """The controller that takes over again would jump to where the arm was held before."""
    rig.start()
    rig.play(horizon=100)
    wait_until(lambda: rig.path().size and rig.path()[-1, 0] > 0.1, what="it moves")
    assert rig.operator.trigger("stop").success
    rig.operator.wait_for_status(lambda s: s.at_rest, "rest")
    held, way = rig.path()[-1].tolist(), 0.0

    def is_told() -> bool:
        nonlocal way
        way += 0.001
        rig.joints = [held[0] + way, held[1], held[2]]
        return "the robot was moved since" in rig.operator.statuses[-1].reason

    wait_until(is_told, what="the status says that it is moved")
    count = len(rig.path())
    assert rig.operator.trigger("start").success
    rig.joints = home = [held[0] + way + 0.1, held[1], held[2]]
    wait_until(lambda: len(rig.path()) > count + 10, what="it is held where it is")
    assert np.allclose(rig.path()[count:], home, atol=1e-6)
