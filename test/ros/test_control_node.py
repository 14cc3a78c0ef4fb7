# SPDX-License-Identifier: Apache-2.0
"""The control node over real DDS: commands that belong to their instant, and none that must not be.

Chunks are ramps that climb by RATE a second, so that a commanded value tells the instant that it
belongs to: ``t0 + value / RATE``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TwistStamped
from helpers import wait_until
from nodes_for_tests import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    Operator,
    SimulatedTime,
    chunk_of,
    overrides,
    quiet_for,
)
from policies_for_tests import parameters
from rclpy.clock import ClockType
from rclpy.context import Context
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.control_node import ControlNode
from gr00t_ros.msg import ActionChunk, PolicyStatus
from gr00t_ros.node_parameters import declare_parameters

DT_S = 0.05
RATE = 1.0  # value per second
CONTROL_PERIOD_S = 0.01

MakeNode = Callable[..., ControlNode]


@pytest.fixture
def make_node(ros_context: Context, spin: Callable[[Node], Node]) -> Iterator[MakeNode]:
    nodes: list[ControlNode] = []

    def make(**changes: Any) -> ControlNode:
        node = ControlNode(
            context=ros_context, parameter_overrides=overrides(parameters(**changes))
        )
        nodes.append(node)
        spin(node)
        return node

    yield make
    while nodes:
        node = nodes.pop()
        node.executor.create_task(node.close)
        wait_until(lambda n=node: not n._is_active, what="the node is closed")


@pytest.fixture
def operator(ros_node: Node) -> Operator:
    return Operator(ros_node, "control_node")


@pytest.fixture
def chunks(ros_node: Node) -> Publisher:
    return ros_node.create_publisher(ActionChunk, "action_chunk", 5)


@pytest.fixture
def commands(ros_node: Node) -> list[tuple[int, JointTrajectory]]:
    """Each command on the topic `commands` with the time it came in, ns."""
    received: list[tuple[int, JointTrajectory]] = []
    ros_node.create_subscription(
        JointTrajectory, "commands", lambda m: received.append((now_ns(ros_node), m)), 100
    )
    return received


def now_ns(node: Node) -> int:
    return int(node.get_clock().now().nanoseconds)


def ramp(
    t0_ns: int, *, start: float = 0.0, horizon: int = 20, chunk_id: int = 1, **changes: np.ndarray
) -> ActionChunk:
    climb = start + RATE * DT_S * np.arange(horizon)[:, None]
    values = {"arm": np.hstack([climb, climb + 100.0]), "gripper": climb + 200.0, **changes}
    return chunk_of(values, t0_ns=t0_ns, dt_s=DT_S, chunk_id=chunk_id)


def activate(operator: Operator, chunks: Publisher) -> None:
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    wait_until(chunks.get_subscription_count, what="the node listens to chunks")


def first(command: JointTrajectory) -> float:
    return float(command.points[0].positions[0])


# Playing


def test_a_chunk_lands_within_half_a_control_period_of_where_time_says(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node
) -> None:
    """The commanded value as an instant, against the stamp of the message that carries it."""
    make_node(
        action__arm__interface="joint_state",
        action__gripper__interface="joint_state",
        control_rate_hz=1.0 / CONTROL_PERIOD_S,
    )
    received: list[JointState] = []
    ros_node.create_subscription(JointState, "commands", received.append, 200)
    activate(operator, chunks)
    chunks.publish(ramp(now_ns(ros_node)))  # begins whenever it comes: the robot stands
    wait_until(lambda: received, what="a command")
    t0_ns = now_ns(ros_node)
    chunks.publish(ramp(t0_ns, horizon=40, chunk_id=2))
    operator.wait_for_reason("chunk 2 ended and no other came")

    def stamp_ns(message: JointState) -> int:
        return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)

    # Then the seam is faded out, the start is caught up with; before the end it slows down.
    end_s, settled_s, slowing_s = 39 * DT_S, 0.8, 0.2
    until_end = takewhile(lambda m: m.position[0] / RATE < end_s - slowing_s, received)
    played = [m for m in until_end if settled_s < m.position[0] / RATE]
    errors_s = [
        abs(message.position[0] / RATE - (stamp_ns(message) - t0_ns) * 1e-9) for message in played
    ]
    assert len(played) > 20
    # The value is computed and stamped in one tick; a tick that the machine interrupted is rare.
    assert statistics.median(errors_s) < 0.5 * CONTROL_PERIOD_S
    assert sum(e < 0.5 * CONTROL_PERIOD_S for e in errors_s) >= 0.9 * len(errors_s)
    wait_until(lambda: received[-1].position[0] == pytest.approx(RATE * end_s), what="the end")


def test_joint_groups_on_one_topic_go_out_as_one_trajectory(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node, commands: list[Any]
) -> None:
    make_node()
    activate(operator, chunks)
    chunks.publish(ramp(now_ns(ros_node)))
    wait_until(lambda: commands, what="a command")
    message = commands[0][1]
    assert list(message.joint_names) == ["shoulder", "elbow", "finger"]
    (point,) = message.points
    start = point.positions[0]
    assert list(point.positions) == pytest.approx([start, start + 100.0, start + 200.0])
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 10_000_000)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)  # at once


def test_a_late_chunk_skips_what_has_passed(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node, commands: list[Any]
) -> None:
    make_node()
    activate(operator, chunks)
    chunks.publish(ramp(now_ns(ros_node) - 500_000_000, horizon=60))
    wait_until(lambda: commands, what="a command")
    assert first(commands[0][1]) < 0.05 * RATE  # a robot that has not moved begins at the beginning
    wait_until(lambda: first(commands[-1][1]) > 0.6 * RATE, what="it has moved for a while")
    chunks.publish(ramp(now_ns(ros_node) - 400_000_000, horizon=60, chunk_id=2))
    status = operator.wait_for_status(lambda s: s.chunks_received == 2, "the second chunk")
    assert 8 <= status.steps_skipped <= 12


def test_the_newest_chunk_takes_over(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node, commands: list[Any]
) -> None:
    make_node()
    activate(operator, chunks)
    chunks.publish(ramp(now_ns(ros_node), chunk_id=4))
    wait_until(lambda: commands, what="a command")
    chunks.publish(ramp(now_ns(ros_node), start=2.0, chunk_id=5))
    wait_until(lambda: first(commands[-1][1]) >= 2.0, what="commands of the second chunk")
    status = operator.wait_for_status(lambda s: s.chunk_id == 5, "the newer")
    assert status.chunks_received == 2
    assert status.seam_jump == pytest.approx(2.0, abs=0.3)


def test_a_used_up_chunk_is_held_at_control_rate_and_said(
    make_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    commands: list[Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_node()
    activate(operator, chunks)
    chunks.publish(ramp(now_ns(ros_node), horizon=11, chunk_id=3))
    status = operator.wait_for_reason("holding: chunk 3 ended and no other came")
    assert status.state == PolicyStatus.STATE_HOLDING
    assert (status.holds, status.steps_left) == (1, 0)
    wait_until(lambda: len({first(m) for _, m in commands[-20:]}) == 1, what="it comes to rest")
    count = len(commands)
    wait_until(lambda: len(commands) > count + 20, what="the hold goes on being commanded")
    (held,) = {first(message) for _, message in commands[count:]}
    assert held == pytest.approx(RATE * 10 * DT_S)
    operator.wait_for_status(lambda s: s.commands > status.commands, "the hold is counted")
    assert capfd.readouterr().err.count("chunk 3 ended and no other came") == 1

    chunks.publish(ramp(now_ns(ros_node), start=0.7, horizon=60, chunk_id=4))
    operator.wait_until_running()
    wait_until(lambda: first(commands[-1][1]) >= 0.7, what="it goes on from there")


def test_the_message_without_steps_stops_at_once(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node, commands: list[Any]
) -> None:
    make_node()
    activate(operator, chunks)
    chunks.publish(ramp(now_ns(ros_node), horizon=100))
    wait_until(lambda: len(commands) > 5, what="commands")
    chunks.publish(ActionChunk())
    status = operator.wait_for_reason("holding: told to stop")
    assert status.state == PolicyStatus.STATE_HOLDING
    stopped_at = first(commands[-1][1])
    assert stopped_at < RATE * 99 * DT_S
    count = len(commands)
    wait_until(lambda: len(commands) > count + 20, what="the hold goes on being commanded")
    assert {first(message) for _, message in commands[count:]} == {stopped_at}


# Refusing


def refused_chunks(t0_ns: int) -> dict[str, tuple[ActionChunk, str]]:
    nan, inf = np.zeros((20, 2)), np.zeros((20, 1))
    nan[7, 1], inf[3, 0] = np.nan, np.inf
    short = ramp(t0_ns)
    short.actions[0].values = short.actions[0].values[:-1]
    uneven = ramp(t0_ns)
    uneven.horizon = 19
    lacking = ramp(t0_ns)
    lacking.actions = lacking.actions[:1]
    without_dt = ramp(t0_ns)
    without_dt.dt = 0.0
    endless = ramp(t0_ns)
    endless.dt = 1e308
    return {
        "nan": (ramp(t0_ns, arm=nan), "arm: a value of step 7 is not finite"),
        "inf": (ramp(t0_ns, gripper=inf), "gripper: a value of step 3 is not finite"),
        "short": (short, "39 values are not 20 steps of 2"),
        "uneven": (uneven, "40 values are not 19 steps of 2"),
        "lacking": (lacking, "lacks action.gripper"),
        "wide": (ramp(t0_ns, arm=np.zeros((20, 3))), "answered 3 values per step"),
        "narrow": (ramp(t0_ns, arm=np.zeros((20, 1))), "answered 1 values per step"),
        "without dt": (without_dt, "dt must be"),
        "endless": (endless, "dt must be"),
        "old": (ramp(t0_ns - 100_000_000_000), "after its last step"),
        "future": (ramp(t0_ns + 100_000_000_000), "in the future: clocks differ"),
    }


def refused(node: ControlNode) -> int:
    player = node._player
    return node._unplayable + (player.counts.refused if player is not None else 0)


def test_chunks_that_must_not_move_the_robot_are_refused_and_the_old_one_plays_on(
    make_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    commands: list[Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    node = make_node()
    activate(operator, chunks)
    chunks.publish(ramp(now_ns(ros_node), start=5.0, horizon=400, chunk_id=9))
    wait_until(lambda: commands, what="a command")
    refusals = refused_chunks(now_ns(ros_node))
    for number, (message, _) in enumerate(refusals.values(), start=1):
        chunks.publish(message)
        wait_until(lambda n=number: refused(node) == n, what="it is refused")
    status = operator.wait_for_status(lambda s: s.chunks_refused == len(refusals), "the count")
    assert (status.state, status.chunk_id) == (PolicyStatus.STATE_RUNNING, 9)
    values = np.array([message.points[0].positions for _, message in commands])
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=0) >= 0.0).all()
    told = capfd.readouterr().err.count("refused: chunk 1")
    assert 1 <= told < len(refusals)  # said, and throttled


@pytest.mark.parametrize("name", ["nan", "lacking", "wide", "future"])
def test_a_refusal_says_why_and_nothing_is_commanded(
    make_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    commands: list[Any],
    name: str,
) -> None:
    make_node()
    activate(operator, chunks)
    message, why = refused_chunks(now_ns(ros_node))[name]
    chunks.publish(message)
    status = operator.wait_for_reason(why)
    assert status.state == PolicyStatus.STATE_WAITING
    assert commands == []


# Interfaces


def play_on(
    make_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    message_type: type,
    arm: np.ndarray,
    **changes: Any,
) -> list[Any]:
    """The messages on the topic `arm`, once some have come."""
    make_node(
        action__arm__topic="arm",
        action__arm__joints=None,
        action__arm__frame_id="base_link",
        **changes,
    )
    received: list[Any] = []
    ros_node.create_subscription(message_type, "arm", received.append, 100)
    activate(operator, chunks)
    values = {"arm": arm, "gripper": np.zeros((len(arm), 1))}
    chunks.publish(chunk_of(values, t0_ns=now_ns(ros_node), dt_s=DT_S))
    wait_until(lambda: len(received) > 5, what="commands")
    return received


def test_an_array_is_published_bare_in_the_robots_units(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node
) -> None:
    received = play_on(
        make_node,
        operator,
        chunks,
        ros_node,
        Float64MultiArray,
        np.full((5, 3), 2.0),
        action__arm__interface="float64_multi_array",
        action__arm__scale=[0.5, 1.0, 2.0],
        action__arm__offset=1.0,
    )
    assert list(received[-1].data) == [2.0, 3.0, 5.0]


def test_a_pose_is_stamped_framed_and_normalised(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node
) -> None:
    turning = np.array([[0.1, 0.2, 0.3, 0.0, 0.0, angle] for angle in np.linspace(0, 3.0, 20)])
    received = play_on(
        make_node,
        operator,
        chunks,
        ros_node,
        PoseStamped,
        turning,
        action__arm__interface="pose_stamped",
        action__arm__representation="xyz_rotvec",
    )
    operator.wait_for_reason("ended and no other came")
    for message in received:
        q = message.pose.orientation
        assert np.linalg.norm([q.x, q.y, q.z, q.w]) == pytest.approx(1.0, abs=1e-9)
    last = received[-1]
    assert last.header.frame_id == "base_link"
    assert Time.from_msg(last.header.stamp).nanoseconds <= now_ns(ros_node)
    position = last.pose.position
    assert [position.x, position.y, position.z] == pytest.approx([0.1, 0.2, 0.3])
    assert last.pose.orientation.z == pytest.approx(np.sin(1.5))


def test_a_twist_is_held_with_zeros(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node
) -> None:
    received = play_on(
        make_node,
        operator,
        chunks,
        ros_node,
        TwistStamped,
        np.tile([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], (6, 1)),
        action__arm__interface="twist_stamped",
    )
    twist = received[0].twist
    assert (twist.linear.y, twist.angular.z) == (pytest.approx(0.2), pytest.approx(0.6))
    assert received[0].header.frame_id == "base_link"
    operator.wait_for_reason("ended and no other came")
    wait_until(lambda: received[-1].twist.linear.x == 0.0, what="no velocity")
    last = received[-1].twist
    assert [last.linear.y, last.linear.z, last.angular.x, last.angular.z] == [0.0] * 4


def test_a_velocity_does_not_stay_commanded_when_the_node_is_deactivated(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node
) -> None:
    received = play_on(
        make_node,
        operator,
        chunks,
        ros_node,
        TwistStamped,
        np.full((400, 6), 0.5),
        action__arm__interface="twist_stamped",
    )
    assert received[-1].twist.linear.x == 0.5
    assert operator.change_state(DEACTIVATE) == [True]
    wait_until(lambda: received[-1].twist.linear.x == 0.0, what="a last command of no velocity")
    quiet_for(received)
    assert received[-1].twist.linear.x == 0.0


# Lifecycle


def test_nothing_is_published_before_a_chunk_nor_while_not_active(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node, commands: list[Any]
) -> None:
    make_node()
    wait_until(chunks.get_subscription_count)
    status = operator.wait_for_reason("the node is not active")
    assert status.state == PolicyStatus.STATE_STOPPED
    chunks.publish(ramp(now_ns(ros_node)))
    assert operator.change_state(CONFIGURE) == [True]
    chunks.publish(ramp(now_ns(ros_node), horizon=400))
    assert operator.change_state(ACTIVATE) == [True]
    status = operator.wait_for_reason("no chunk received yet")  # what came before is not played
    assert (status.state, status.chunks_received) == (PolicyStatus.STATE_WAITING, 0)
    assert commands == []

    chunks.publish(ramp(now_ns(ros_node), horizon=400))
    wait_until(lambda: commands, what="commands")
    assert operator.change_state(DEACTIVATE) == [True]
    quiet_for(commands)
    assert operator.change_state(ACTIVATE) == [True]
    operator.wait_for_reason("no chunk received yet")
    count = len(commands)
    quiet_for(commands)
    assert len(commands) == count


def test_a_whole_life_leaves_nothing_behind_and_can_be_lived_again(
    make_node: MakeNode, operator: Operator, chunks: Publisher, ros_node: Node, commands: list[Any]
) -> None:
    node = make_node()

    def entities() -> tuple[int, int, int]:
        return (
            len(list(node.subscriptions)),
            len(list(node.publishers)),
            len(list(node.timers)),
        )

    before = entities()
    for _ in range(2):
        activate(operator, chunks)
        count = len(commands)
        chunks.publish(ramp(now_ns(ros_node)))
        wait_until(lambda c=count: len(commands) > c, what="commands")
        assert operator.change_state(DEACTIVATE, CLEANUP) == [True, True]
        assert entities() == before
        quiet_for(commands)


def test_configure_fails_with_the_whole_list_and_works_once_all_is_right(
    make_node: MakeNode, operator: Operator, capfd: pytest.CaptureFixture[str]
) -> None:
    make_node(control_rate_hz=5000.0, action__gripper__interface="servo")
    assert operator.change_state(CONFIGURE) == [False]
    told = capfd.readouterr().err
    assert "- control_rate_hz: must be 1 to 1000, got 5000.0\n" in told
    assert "- action.gripper.interface: must be one of joint_trajectory |" in told
    assert all(
        operator.set_parameters(control_rate_hz=50.0, action__gripper__interface="joint_trajectory")
    )
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]


def test_every_parameter_is_described(make_node: MakeNode, operator: Operator) -> None:
    node = make_node()
    declare_parameters(node)  # once more changes nothing
    names = [n for n in operator.parameter_names() if n.startswith(("action", "control", "state"))]
    assert len(names) > 20
    assert all(described.description for described in operator.describe(names))


# Simulated time


@pytest.fixture
def sim_time(ros_node: Node) -> SimulatedTime:
    return SimulatedTime(ros_node)


def test_simulated_time_is_what_chunks_are_played_against(
    make_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    commands: list[Any],
    sim_time: SimulatedTime,
) -> None:
    node = make_node(use_sim_time=True)
    assert node.get_clock().clock_type == ClockType.ROS_TIME
    activate(operator, chunks)
    clock = node.get_clock()
    sim_time.run(lambda: clock.now().nanoseconds >= 1000 * 10**9, "the node has the time")
    t0_s = sim_time.now_s
    chunks.publish(ramp(sim_time.ns(), horizon=40))
    sim_time.run(lambda: len(commands) > 10, "commands")
    value = first(commands[-1][1])
    assert 0.0 <= value <= RATE * (sim_time.now_s - t0_s) + 1e-6

    # Paused: no time passes, nothing moves, and the status goes on.
    quiet_for(commands)
    paused_at = first(commands[-1][1])
    operator.wait_for_status(lambda s: True, "a status while time stands still")
    assert first(commands[-1][1]) == paused_at

    sim_time.run(lambda: first(commands[-1][1]) > paused_at + 0.1, "it goes on where it was")
    sim_time.run(lambda: first(commands[-1][1]) == pytest.approx(39 * DT_S), "the chunk's end")


def test_simulated_time_that_starts_again_is_survived(
    make_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    commands: list[Any],
    sim_time: SimulatedTime,
) -> None:
    node = make_node(use_sim_time=True)
    activate(operator, chunks)
    clock = node.get_clock()
    sim_time.run(lambda: clock.now().nanoseconds >= 1000 * 10**9, "the node has the time")
    chunks.publish(ramp(sim_time.ns(), horizon=400))
    sim_time.run(lambda: len(commands) > 10, "commands")
    held = first(commands[-1][1])

    sim_time.now_s = 3.0
    sim_time.run(lambda: clock.now().nanoseconds < 900 * 10**9, "time was set back")
    operator.wait_for_reason("holding: the clock was set back by 99")

    def stands_still() -> bool:
        return len({first(message) for _, message in commands[-10:]}) == 1

    sim_time.run(stands_still, "it comes to rest")
    assert first(commands[-1][1]) < held + RATE  # far from its end, at 20

    chunks.publish(ramp(sim_time.ns(), start=3.0, horizon=400, chunk_id=2))
    sim_time.run(lambda: first(commands[-1][1]) >= 3.0, "a chunk of the new time is played")
