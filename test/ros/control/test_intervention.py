# SPDX-License-Identifier: Apache-2.0
"""A person takes over in mid-motion, drives with a teleoperation device, and hands back."""

from __future__ import annotations

import numpy as np
from helpers import wait_until
from motion_rig import Rig
from nodes_for_tests import ACTIVATE, DEACTIVATE
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from gr00t_ros.msg import ControlStatus

TELEOP = {"action__arm__teleop_topic": "leader", "action__gripper__teleop_topic": "leader"}
NAMES = ["finger", "elbow", "shoulder"]  # in the device's own order


class Leader:
    """A leader arm at 50 Hz: every joint at `target`, rad, climbing by `speed`, rad/s."""

    def __init__(self, peer: Node) -> None:
        self.target, self.speed, self.is_on = 0.0, 0.0, False
        self._peer = peer
        self._publisher = peer.create_publisher(JointState, "leader", 10)
        peer.create_timer(0.02, self._publish)

    def drive(self, start: float, speed: float) -> None:
        self.target, self.speed, self.is_on = start, speed, True

    def wait_for_listener(self) -> None:
        wait_until(self._publisher.get_subscription_count, what="the node listens to the leader")

    def _publish(self) -> None:
        if self.is_on:
            self.target += 0.02 * self.speed
            self._publisher.publish(JointState(name=NAMES, position=[self.target] * 3))


def intervene(rig: Rig, wanted: bool) -> SetBool.Response:
    return rig.operator.call("intervene", SetBool, SetBool.Request(data=wanted))


def where(rig: Rig) -> float:
    return float(rig.path()[-1, 0])


def test_a_person_takes_over_drives_and_hands_back_inside_the_limits(rig: Rig) -> None:
    leader = Leader(rig.peer)
    told: list[bool] = []
    rig.peer.create_subscription(Bool, "intervention", lambda m: told.append(m.data), 10)
    rig.start(teleop_timeout_s=2.0, **TELEOP)
    leader.wait_for_listener()
    rig.play(speed=0.8, horizon=400)
    wait_until(lambda: len(rig.path()) and where(rig) > 0.3, what="the policy drives")

    leader.drive(where(rig) + 0.05, -0.3)
    ticks = len(rig.path())
    response = intervene(rig, True)
    assert (response.success, response.message) == (True, "a person drives")
    status = rig.operator.wait_for_status(
        lambda s: s.state == ControlStatus.STATE_INTERVENTION and not s.reason, "a person drives"
    )
    assert status.intervention
    wait_until(lambda: True in told, what="the topic says so")
    wait_until(lambda: where(rig) < 0.1, what="the robot follows the leader")
    behind = leader.target - where(rig)
    assert abs(behind) < 0.3 * 0.3, "behind by less than 0.3 s"

    rig.play(start=where(rig), speed=0.5)  # what the policy says meanwhile is not played
    rig.operator.wait_for_status(lambda s: s.chunks_not_played > 0, "the chunk is left out")
    assert intervene(rig, False).success
    leader.is_on = False
    rig.operator.wait_for_reason("the person let go; waiting for a chunk that was observed since")
    rig.play(start=where(rig), speed=0.5, late_s=30.0)  # observed while the person drove
    rig.operator.wait_for_status(lambda s: s.chunks_not_played > 1, "the old chunk is left out")
    handed_back_at = where(rig)
    rig.play(start=handed_back_at, speed=0.5)
    rig.operator.wait_until_running()
    wait_until(lambda: where(rig) > handed_back_at + 0.2, what="the policy drives again")
    assert not rig.operator.statuses[-1].intervention
    rig.require_smooth()
    assert len(rig.path()) > ticks


def test_nobody_drives_a_node_that_is_not_active(rig: Rig) -> None:
    """Neither by the service nor by the pedal: the robot would set out on its activation."""
    leader = Leader(rig.peer)
    pedal = rig.peer.create_publisher(Bool, "pedal", 10)
    told: list[bool] = []
    rig.peer.create_subscription(Bool, "intervention", lambda m: told.append(m.data), 10)
    rig.start(intervene_topic="pedal", **TELEOP)
    leader.wait_for_listener()
    wait_until(pedal.get_subscription_count, what="the node listens to the pedal")
    assert rig.operator.change_state(DEACTIVATE) == [True]
    assert not intervene(rig, True).success
    leader.drive(0.0, 0.1)
    pedal.publish(Bool(data=True))
    supervision = rig.node._supervision
    wait_until(lambda: supervision._was_pressed, what="the pedal is pressed")
    since = len(told)
    wait_until(lambda: len(told) > since + 3, what="the node says who drives")
    assert not any(told)
    assert rig.operator.change_state(ACTIVATE) == [True]
    since = len(told)
    wait_until(lambda: len(told) > since + 3, what="the node says who drives")
    assert not any(told)
    assert len(rig.path()) == 0
    pedal.publish(Bool(data=False))
    wait_until(lambda: not supervision._was_pressed, what="the pedal is released")
    pedal.publish(Bool(data=True))
    wait_until(lambda: any(told), what="a person drives")


def test_a_pedal_takes_over_and_a_silent_leader_leaves_the_robot_at_rest(rig: Rig) -> None:
    leader = Leader(rig.peer)
    pedal = rig.peer.create_publisher(Bool, "pedal", 10)
    rig.start(teleop_timeout_s=0.5, max_jump=0.5, intervene_topic="pedal", **TELEOP)
    leader.wait_for_listener()
    wait_until(pedal.get_subscription_count, what="the node listens to the pedal")
    rig.play(speed=0.8, horizon=400)
    wait_until(lambda: len(rig.path()) and where(rig) > 0.2, what="the policy drives")

    pedal.publish(Bool(data=True))  # and nobody holds the leader
    rig.operator.wait_for_status(
        lambda s: (
            s.state == ControlStatus.STATE_INTERVENTION
            and "no teleoperation command came on leader yet" in s.reason
        ),
        "it waits for the leader",
    )
    rested = rig.wait_for_rest()
    leader.drive(rested + 2.0, 0.0)
    rig.operator.wait_for_reason("would jump by 2.0")
    assert where(rig) == rested
    leader.drive(rested, 0.4)
    wait_until(lambda: where(rig) > rested + 0.2, what="it follows the leader")
    leader.is_on = False
    rig.operator.wait_for_reason("no teleoperation command came for 0.5")
    rig.wait_for_rest()

    pedal.publish(Bool(data=False))
    rig.operator.wait_for_status(lambda s: not s.intervention, "the policy may drive")
    rig.require_smooth()


def test_a_person_moves_a_robot_that_no_chunk_has_moved(rig: Rig) -> None:
    leader = Leader(rig.peer)
    rig.follow(0.2, 0.2, 0.2)
    rig.start(teleop_timeout_s=2.0, **TELEOP)
    leader.wait_for_listener()
    leader.drive(0.2, 0.3)
    assert intervene(rig, True).success
    wait_until(lambda: len(rig.path()) and where(rig) > 0.4, what="it follows the leader")
    np.testing.assert_allclose(rig.path()[0], 0.2, atol=0.05)
    assert rig.operator.trigger("stop").success
    rig.wait_for_rest()
    rig.operator.wait_for_reason("stopped by ~/stop")
    rig.require_smooth()


def test_nobody_takes_over_without_a_device(rig: Rig) -> None:
    rig.start()
    response = intervene(rig, True)
    assert not response.success
    assert "set action.<key>.teleop_topic" in response.message


def test_the_next_command_after_the_button_is_the_persons(rig: Rig) -> None:
    leader = Leader(rig.peer)
    node = rig.start(teleop_timeout_s=5.0, **TELEOP)
    leader.wait_for_listener()
    rig.play(speed=0.0, horizon=400)
    rig.operator.wait_until_running()
    leader.drive(0.1, 0.0)
    intervention = node._supervision._intervention
    wait_until(lambda: intervention.is_commanded(rig.now_ns()), what="the leader is heard")
    assert intervene(rig, True).success
    assert node._motion.is_steered, "at the answer of the service the robot follows already"
    wait_until(lambda: where(rig) > 0.09, what="it is where the leader is")
    rig.require_smooth()


def test_a_joint_outside_its_range_does_not_leave_the_person_who_takes_over(rig: Rig) -> None:
    leader = Leader(rig.peer)
    rig.follow(1.5, 0.0, 0.0)
    rig.start(max_jump=2.0, action__arm__max_position=0.5, teleop_timeout_s=5.0, **TELEOP)
    leader.wait_for_listener()
    leader.drive(1.4, 0.0)
    assert intervene(rig, True).success
    rig.operator.wait_for_reason("shoulder is at 1.500, outside its range")
    assert rig.received == []
    rig.follow(0.4, 0.0, 0.0)
    leader.drive(0.3, 0.0)
    wait_until(lambda: len(rig.path()) and where(rig) == 0.3, what="it follows the leader")
    rig.require_smooth()
