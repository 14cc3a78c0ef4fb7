# SPDX-License-Identifier: Apache-2.0
"""Faults of the robot and of the policy: the arm comes to rest, or does not move, and says why."""

from __future__ import annotations

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from helpers import call_in_its_thread, wait_until
from motion_rig import DT_S, HOLDING, Rig
from nodes_for_tests import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, chunk_of
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import JointState

from gr00t_ros.msg import ActionChunk, ControlStatus, PolicyStatus

# Where motion begins


@pytest.mark.parametrize("measured", [1.5, -0.7])
def test_a_joint_outside_its_range_is_refused_by_name_and_not_moved(
    rig: Rig, measured: float
) -> None:
    rig.follow(measured, 0.0, 0.0)
    rig.start(action__arm__min_position=-0.5, action__arm__max_position=0.5)
    rig.play(start=measured)
    rig.operator.wait_for_reason(f"shoulder is at {measured:.3f}, outside its range -0.500 to 0.5")
    assert rig.received == []


def test_a_joint_outside_its_range_returns_within_its_limits_where_that_is_asked_for(
    rig: Rig,
) -> None:
    rig.follow(1.5, 0.0, 0.0)
    rig.start(action__arm__max_position=0.5, out_of_range="return")
    rig.play(start=0.0, speed=0.0, horizon=100)
    wait_until(lambda: rig.path().size and rig.path()[-1, 0] < 0.4, what="it returns")
    assert rig.path()[0, 0] == 1.5
    rig.require_smooth()


def test_an_arm_moved_while_nothing_is_published_is_begun_from_where_it_is(rig: Rig) -> None:
    rig.start(on_starvation="stop_publishing", max_jump=0.5)
    rig.play(horizon=5)
    rig.operator.wait_for_reason("ended and no other came")
    wait_until(lambda: rig.node._motion.is_at_rest, what="rest")
    rested = float(rig.path()[-1, 0])
    rig.follow(rested + 0.4, rested, rested)
    measured = rig.node._motion.robot.joints
    wait_until(lambda: measured._known["shoulder"][0] == rested + 0.4, what="it is seen")
    count = len(rig.path())
    rig.play(start=rested + 0.1)
    wait_until(lambda: len(rig.path()) > count, what="a command")
    assert rig.path()[count, 0] == rested + 0.4


# Nobody listens, nobody follows


def test_nothing_moves_before_every_command_topic_has_a_subscriber(rig: Rig) -> None:
    rig.start(action__arm__topic="deaf")
    rig.play()
    status = rig.operator.wait_for_reason("nobody subscribes to /deaf")
    counts = {topic.topic: topic.subscription_count for topic in status.command_topics}
    assert counts == {"/deaf": 0, "/commands": 1}
    assert rig.received == []
    rig.peer.create_subscription(JointState, "deaf", lambda _: None, 10)
    rig.operator.wait_for_status(
        lambda s: [topic.subscription_count for topic in s.command_topics] == [1, 1], "it is heard"
    )
    rig.play()
    rig.operator.wait_until_running()


def test_a_subscriber_of_another_type_does_not_count(rig: Rig) -> None:
    rig.start(action__arm__topic="deaf")
    context = Context()  # the middleware allows one type a topic within a process's participant
    rclpy.init(context=context)
    try:
        other = Node("other_peer", context=context)
        other.create_subscription(TwistStamped, "/deaf", lambda _: None, 10)
        wait_until(lambda: rig.node.count_subscribers("/deaf"), what="it is in the graph")
        rig.play()
        rig.operator.wait_for_reason("nobody subscribes to /deaf")
        other.destroy_node()
    finally:
        rclpy.shutdown(context=context)


def test_an_arm_whose_listener_is_gone_in_motion_holds_until_somebody_listens_again(
    rig: Rig,
) -> None:
    listener = rig.peer.create_subscription(JointState, "arm_commands", lambda _: None, 10)
    rig.start(action__arm__topic="arm_commands")
    rig.play(horizon=400)
    rig.operator.wait_until_running()
    call_in_its_thread(rig.peer, lambda: rig.peer.destroy_subscription(listener))
    status = rig.operator.wait_for_status(lambda s: s.state == HOLDING, "a hold")
    assert "nobody subscribes to /arm_commands" in status.reason
    wait_until(lambda: rig.node._motion.is_at_rest, what="rest")
    rig.peer.create_subscription(JointState, "arm_commands", lambda _: None, 10)
    rig.operator.wait_for_status(
        lambda s: [topic.subscription_count for topic in s.command_topics] == [1, 1], "it is heard"
    )
    place = float(rig.node._motion.command.values["arm"][0])
    rig.play(start=place, horizon=400)
    rig.operator.wait_until_running()


def test_a_blocked_joint_stops_the_arm_until_start(rig: Rig) -> None:
    heard: list[DiagnosticStatus] = []
    rig.peer.create_subscription(
        DiagnosticArray, "/diagnostics", lambda m: heard.extend(m.status), 5
    )
    rig.joints = [0.0, 0.0, 0.0]
    rig.start(action__arm__max_following_error=0.3)
    rig.play(speed=1.0, horizon=200)
    status = rig.operator.wait_for_reason("does not follow: commanded 0.3")
    assert status.state == ControlStatus.STATE_ERROR
    assert "measured 0.000, max_following_error is 0.3" in status.reason
    rig.wait_for_rest()
    wait_until(lambda: any(d.level == DiagnosticStatus.ERROR for d in heard), what="an alarm")
    rig.play(start=0.0)
    rig.operator.wait_for_status(lambda s: s.chunks_rejected == 1, "a refusal")
    rig.follow(0.0, 0.0, 0.0)
    assert rig.operator.trigger("start").success
    rig.operator.wait_for_status(
        lambda s: s.state != ControlStatus.STATE_ERROR, "no error, also without a chunk"
    )
    rig.play(start=0.0)
    rig.operator.wait_until_running()
    rig.require_smooth()


def test_every_joint_is_told_with_its_limits_and_where_they_come_from(rig: Rig) -> None:
    rig.start(action__arm__max_velocity=[1.0, 2.0])
    status = rig.operator.wait_for_reason("no chunk received yet")
    assert [(j.name, j.max_velocity) for j in status.joints] == [
        ("shoulder", 1.0),
        ("elbow", 2.0),
        ("finger", 3.0),
    ]
    assert [joint.feedback for joint in status.joints] == [0.0, 0.0, 0.0]
    assert np.isnan(status.joints[0].command)
    assert "max_velocity: yaml, max_acceleration: default" in status.joints[0].limit_sources
    rig.play(horizon=100)
    rig.operator.wait_until_running()
    status = rig.operator.wait_for_status(lambda s: s.commands > 50, "commands")
    shoulder = status.joints[0]
    assert shoulder.command == pytest.approx(shoulder.reference, abs=0.05)
    assert shoulder.feedback == pytest.approx(shoulder.command, abs=0.5)
    assert status.limiter_hits == 0, dict(rig.node._motion.counts.limit_hits)


def test_the_limit_that_binds_a_joint_is_told(rig: Rig) -> None:
    rig.start(action__arm__max_velocity=[0.2, 2.0])
    rig.play(speed=1.0, horizon=100)
    status = rig.operator.wait_for_status(lambda s: s.joints[0].limited_by, "a limit that binds")
    assert [joint.limited_by for joint in status.joints] == ["velocity", "", ""]
    assert status.limiter_hits > 0


# A stop


def test_a_stop_is_in_force_over_every_transition_until_start(rig: Rig) -> None:
    rig.start()
    rig.play(horizon=200)
    rig.wait_for_commands(10)
    assert rig.operator.change_state(DEACTIVATE, CLEANUP) == [True, True]
    assert rig.operator.trigger("stop").message == "stopped"
    assert rig.operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    rig.operator.wait_for_reason("stopped by ~/stop")
    count = len(rig.path())
    rig.play(start=rig.path()[-1, 0])
    rig.operator.wait_for_status(lambda s: s.chunks_rejected == 1, "a refusal")
    assert len(rig.path()) == count
    assert rig.operator.trigger("start").success


def test_a_stop_in_motion_says_how_long_it_takes(rig: Rig) -> None:
    rig.start(action__arm__max_acceleration=0.5)
    rig.play(speed=0.6, horizon=200)
    rig.wait_for_commands(150)
    response = rig.operator.trigger("stop")
    assert response.success
    seconds = float(response.message.removeprefix("stopped: at rest within ").removesuffix(" s"))
    assert 0.05 < seconds < 3.0
    rig.wait_for_rest()
    rig.require_smooth(acceleration=25.0)


# Observations


def test_the_arm_stops_when_nobody_observes_any_more(rig: Rig) -> None:
    rig.start(max_observation_age_s=1.0)
    rig.play(speed=0.5, horizon=400)
    status = rig.operator.wait_for_reason("holding: the newest observation is 1.")
    assert "max_observation_age_s is 1" in status.reason
    assert rig.wait_for_rest() < 1.0
    rig.require_smooth()


def test_a_chunk_that_is_played_whole_ends_with_its_policy_node(rig: Rig) -> None:
    """It lasts 20 s, and the policy node falls silent in its middle."""
    rig.start(inference="sync", replan_interval_s=None, max_observation_age_s=0.0)
    statuses = rig.peer.create_publisher(PolicyStatus, "policy_node/status", 10)
    wait_until(statuses.get_subscription_count, what="the node listens to the policy node")
    life = rig.peer.create_timer(0.1, lambda: statuses.publish(PolicyStatus()))
    rig.play(speed=0.2, horizon=400)
    rig.wait_for_commands(350)
    rig.operator.wait_until_running()
    life.cancel()
    silent = "holding: policy_node has sent no status for "
    status = rig.operator.wait_for_reason(silent)
    assert status.state == HOLDING
    rested = rig.wait_for_rest()
    assert rested < 3.0
    rig.play(start=rested, speed=0.2, horizon=400)  # of a publisher that sends no status
    wait_until(lambda: rig.path()[-1, 0] > rested + 0.6, what="it moves on")
    assert rig.operator.wait_until_running().holds == status.holds
    rig.require_smooth()


def test_the_first_chunk_of_an_old_observation_is_refused(rig: Rig) -> None:
    rig.start(max_observation_age_s=0.0)
    rig.play(late_s=3600.0, horizon=100)
    rig.operator.wait_for_reason("its observation is 3600.")
    assert rig.received == []


# Two sources


def test_chunks_of_a_second_source_are_refused_by_name(rig: Rig) -> None:
    rig.start()
    other = rig.peer.create_publisher(ActionChunk, "action_chunk", 5)
    wait_until(other.get_subscription_count, what="the node listens")
    rig.play(horizon=200, source="/policy_node#1")
    rig.operator.wait_until_running()
    rig.play(start=0.4, horizon=200, source="/left/policy_node#2")
    status = rig.operator.wait_for_status(lambda s: s.chunks_rejected == 1, "a refusal")
    assert status.chunk_source == "/policy_node#1"
    assert "2 publishers of /action_chunk" in status.reason


# Absurd values


def test_a_value_that_no_robot_can_reach_is_refused_and_motion_goes_on(rig: Rig) -> None:
    rig.start()
    rig.play(horizon=200)
    rig.wait_for_commands(30)
    values = {"arm": np.full((20, 2), 1e9), "gripper": np.zeros((20, 1))}
    rig.chunks.publish(chunk_of(values, t0_ns=rig.now_ns(), dt_s=DT_S, chunk_id=9))
    rig.operator.wait_for_status(lambda s: s.chunks_rejected == 1, "a refusal")
    rig.wait_for_commands(30)
    rig.operator.wait_until_running()
    rig.require_smooth()


def test_degrees_are_asked_about(rig: Rig) -> None:
    rig.start(max_jump=0.5, action__arm__max_position=3.1, action__arm__min_position=-3.1)
    rig.play(start=29.0)
    rig.operator.wait_for_reason("rad of shoulder, whose range is ±3.1: degrees?")


def test_a_rate_that_is_too_high_is_asked_about_while_the_arm_moves(rig: Rig) -> None:
    rig.start()
    rig.play(speed=8.0, horizon=40)
    status = rig.operator.wait_for_status(
        lambda s: s.state == ControlStatus.STATE_RUNNING and s.reason, "a hint"
    )
    assert "the chunk moves shoulder at 8 rad/s, max_velocity is 3" in status.reason
    assert "is action_rate_hz (20) the rate of the training data?" in status.reason
