# SPDX-License-Identifier: Apache-2.0
"""The control node over real DDS: limits, seams, and every reason to come to rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from helpers import require_within, wait_until
from nodes_for_tests import ACTIVATE, CONFIGURE, DEACTIVATE, Operator, chunk_of, overrides
from policies_for_tests import parameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String

from gr00t_policy_core.control.layout import Layout
from gr00t_policy_core.control.recording import read_events, replay
from gr00t_ros.contract import parse_contract
from gr00t_ros.control_node import ControlNode
from gr00t_ros.motion import make_player
from gr00t_ros.msg import ActionChunk, PolicyStatus

PERIOD_S, DT_S = 0.01, 0.05
LIMITS = {"velocity": 3.0, "acceleration": 25.0, "jerk": 500.0}  # the defaults
NAMES = ("shoulder", "elbow", "finger")
HOLDING = PolicyStatus.STATE_HOLDING
BRAKING_S = 0.35  # more than enough to stop from any speed here


def urdf(**limits: str) -> str:
    joints = "".join(
        f'<joint name="{name}" type="revolute"><limit {attributes}/></joint>'
        for name, attributes in limits.items()
    )
    return f'<robot name="arm">{joints}</robot>'


class Rig:
    """An active control node, what it commands, and the robot and policy around it."""

    def __init__(self, context: Context, spin: Callable[[Node], Node], peer: Node) -> None:
        self._context, self._spin, self.peer = context, spin, peer
        self.operator = Operator(peer, "control_node")
        self.chunks = peer.create_publisher(ActionChunk, "action_chunk", 5)
        self._joint_states = peer.create_publisher(JointState, "joint_states", 10)
        self.received: list[JointState] = []
        self.node: ControlNode | None = None
        self.joints: list[float] | None = None
        self._number = 0
        peer.create_subscription(JointState, "commands", self.received.append, 500)
        peer.create_timer(0.02, self._publish_joints)

    def start(self, **changes: Any) -> ControlNode:
        interfaces = {
            f"action__{key}__interface": "joint_state"
            for key in ("arm", "gripper")
            if f"action__{key}__interface" not in changes
        }
        self.values = parameters(**{**interfaces, **changes})
        self.node = ControlNode(context=self._context, parameter_overrides=overrides(self.values))
        self._spin(self.node)
        assert self.operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
        wait_until(self.chunks.get_subscription_count, what="the node listens to chunks")
        if self.joints is not None:
            wait_until(lambda: self._joint_states.get_subscription_count() > 0, what="it sees them")
            wait_until(lambda: len(self.node._joints._known) == 3, what="it knows its joints")
        return self.node

    def play(
        self, start: float = 0.0, speed: float = 0.5, *, late_s: float = 0.0, horizon: int = 60
    ) -> None:
        """Publish a chunk in which every joint climbs from `start`, rad, at `speed`, rad/s."""
        self._number += 1
        climb = start + speed * DT_S * np.arange(horizon)[:, None]
        values = {"arm": np.hstack([climb, climb]), "gripper": climb}
        t0_ns = self.now_ns() - round(late_s * 1e9)
        self.chunks.publish(chunk_of(values, t0_ns=t0_ns, dt_s=DT_S, chunk_id=self._number))

    def now_ns(self) -> int:
        return int(self.peer.get_clock().now().nanoseconds)

    def wait_for_commands(self, more: int) -> None:
        wanted = len(self.received) + more
        wait_until(lambda: len(self.received) >= wanted, what="commands")

    def wait_for_rest(self) -> float:
        """Where it rests."""

        def stands_still() -> bool:
            path = self.path()
            return len(path) > 20 and bool((path[-15:] == path[-1]).all())

        wait_until(stands_still, what="rest")
        return float(self.path()[-1, 0])

    def path(self) -> np.ndarray:
        """Every command so far, float64 (n, 3)."""
        return np.array([m.position for m in list(self.received)]).reshape(-1, 3)

    def require_smooth(self, **limits: float) -> None:
        """All commands keep the limits; where one was lost on the way, from there on again."""
        path = self.path()
        stamps_s = np.array([m.header.stamp.sec % 1000 + m.header.stamp.nanosec * 1e-9
                             for m in list(self.received)][: len(path)])  # fmt: skip
        losses = np.flatnonzero(np.diff(stamps_s) > 1.5 * PERIOD_S) + 1
        stretches = np.split(path, losses)
        assert max(map(len, stretches)) > 20
        for stretch in stretches:
            for joint in range(3):
                require_within(stretch[:, joint], period_s=PERIOD_S, **{**LIMITS, **limits})

    def _publish_joints(self) -> None:
        if self.joints is not None:
            message = JointState(name=list(NAMES), position=self.joints)
            message.header.stamp = self.peer.get_clock().now().to_msg()
            self._joint_states.publish(message)


@pytest.fixture
def rig(ros_context: Context, spin: Callable[[Node], Node], ros_node: Node) -> Iterator[Rig]:
    rig = Rig(ros_context, spin, ros_node)
    yield rig
    node, rig.node = rig.node, None  # it is to be collected, and pytest keeps the rig
    if node is not None and node.executor is not None:
        node.executor.create_task(node.close)
        wait_until(lambda: not node._is_active, what="the node is closed")


# The start


def test_a_robot_at_rest_begins_at_the_beginning_from_where_its_joints_are(rig: Rig) -> None:
    rig.joints = [0.3, 0.3, 0.3]
    rig.start(max_jump=0.15)
    rig.play(start=0.2, speed=1.0, late_s=0.4)  # its step of now lies at 0.6: too far
    status = rig.operator.wait_until_running()
    assert (status.steps_skipped, status.chunks_refused) == (0, 0)
    assert rig.path()[0, 0] == pytest.approx(0.3, abs=0.01)
    rig.require_smooth()


def test_a_chunk_too_far_from_the_joints_is_refused_by_name(rig: Rig) -> None:
    rig.joints = [0.0, 0.0, 0.0]
    rig.start(max_jump=0.5)
    rig.play(start=0.8)
    status = rig.operator.wait_for_reason("arm[0] would jump by 0.800, from 0.000 to 0.800")
    assert (status.state, status.chunks_refused) == (PolicyStatus.STATE_WAITING, 1)
    assert rig.received == []


# Seams and limits


@pytest.mark.parametrize("seam", ["replace", "offset_fade", "ensemble", "rtc"])
def test_every_seam_stays_within_the_limits(rig: Rig, seam: str) -> None:
    rig.start(seam=seam)
    for number in range(6):
        rig.play(start=0.3 * (number % 2), speed=1.0 - 0.4 * number, late_s=0.05 * number)
        rig.wait_for_commands(25)
    status = rig.operator.wait_for_status(lambda s: s.chunks_received == 6, "all chunks")
    assert status.seam_jump > 0.0
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
    wait_until(lambda: node._urdf, what="the description")
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
    wait_until(lambda: node._urdf, what="the description")
    rig.play()
    rig.operator.wait_for_reason("the limits contradict each other: action.arm, joint shoulder")
    assert rig.received == []


def test_a_broken_description_is_told_and_a_late_one_waits_for_the_next_activation(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    node = rig.start()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    description = rig.peer.create_publisher(String, "robot_description", latched)
    wait_until(description.get_subscription_count, what="the node listens")
    description.publish(String(data="<robot"))
    told: list[str] = []

    def says(text: str) -> bool:
        told.append(capfd.readouterr().err)
        return text in "".join(told)

    wait_until(lambda: says("limits of the robot description are not heeded"), what="an error")
    rig.play()
    rig.wait_for_commands(5)
    description.publish(String(data=urdf(shoulder='lower="-1" upper="1" velocity="1"')))
    wait_until(lambda: says("heeded from the next activation on"), what="a warning")
    assert node._urdf["shoulder"].velocity == 1.0


# Reasons to stop


def test_old_joint_positions_stop_the_arm_and_new_ones_let_it_go_on(rig: Rig) -> None:
    rig.joints = [0.0, 0.0, 0.0]
    rig.start(max_age_s=0.3)
    rig.play(speed=1.0, horizon=200)
    rig.wait_for_commands(30)
    rig.joints = None
    status = rig.operator.wait_for_reason("holding: the position of arm[0] is ")
    assert status.state == HOLDING
    rested = rig.wait_for_rest()
    rig.play(start=rested, speed=1.0)
    rig.operator.wait_for_status(lambda s: s.chunks_refused == 1, "a refusal")
    rig.joints = [rested] * 3
    rig.operator.wait_for_reason("holding: no chunk came after a stop")
    rig.play(start=rested + 0.1, speed=0.5)
    rig.operator.wait_until_running()
    wait_until(lambda: rig.path()[-1, 0] > rested + 0.2, what="it moves on")
    rig.require_smooth()


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
    rig.operator.wait_for_status(lambda s: s.chunks_refused == 1, "a refusal")
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
    rig.start(enable_topic="enable", enable_timeout_s=0.3)
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
    rig.operator.wait_for_reason("holding: the enable signal is 0.")
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
        action__arm__topic="twist",
        action__arm__interface="twist_stamped",
        action__arm__joints=None,
        action__arm__frame_id="base",
        action__gripper__joints=None,
        action__gripper__topic="grip",
        action__gripper__interface="float64_multi_array",
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


# What is told


def test_diagnostics_tell_the_state_and_the_numbers_once_a_second(rig: Rig) -> None:
    heard: list[tuple[float, DiagnosticStatus]] = []

    def hear(array: DiagnosticArray) -> None:
        stamp = array.header.stamp
        heard.extend((stamp.sec % 1000 + stamp.nanosec * 1e-9, one) for one in array.status)

    rig.peer.create_subscription(DiagnosticArray, "/diagnostics", hear, 10)
    rig.start()
    rig.play(horizon=60)
    rig.operator.wait_until_running()
    seen = len(heard)
    wait_until(lambda: len(heard) >= seen + 3, what="diagnostics")
    stamps_s, messages = zip(*heard[seen:], strict=True)
    assert 0.5 < np.median(np.diff(stamps_s)) < 2.0
    running = messages[0]
    assert running.name == "control_node"
    assert (running.level, running.message) == (DiagnosticStatus.OK, "running")
    values = {pair.key: float(pair.value) for pair in running.values}
    assert values["chunks_received"] == 1
    assert values["chunk_id"] == 1
    assert 0.0 < values["observation_age_s"] < 3.0
    assert {
        "seam_jump",
        "limiter_hits",
        "steps_skipped",
        "holds",
        "tick_lateness_s",
        "ticks_lost",
        "chunks_refused",
    } <= values.keys()
    rig.operator.wait_for_reason("ended and no other came")
    wait_until(lambda: heard[-1][1].message.startswith("holding: "), what="the hold")
    assert heard[-1][1].level == DiagnosticStatus.WARN


# The loop


def control_thread(node: ControlNode) -> int:
    assert node._loop is not None
    thread = node._loop._thread.native_id
    assert thread is not None
    return thread


def test_the_loop_is_real_time_where_that_is_permitted_and_says_where_it_is_not(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    cpu = min(os.sched_getaffinity(0))
    node = rig.start(realtime_priority=7, cpu_affinity=cpu)
    thread = control_thread(node)
    wait_until(lambda: os.sched_getaffinity(thread) == {cpu}, what="the CPU is kept")
    rig.play()
    rig.wait_for_commands(10)
    told = capfd.readouterr().err
    if "realtime_priority 7 is refused" in told:
        assert "CAP_SYS_NICE" in told
        assert os.sched_getscheduler(thread) == os.SCHED_OTHER
    else:
        assert os.sched_getscheduler(thread) == os.SCHED_FIFO
        assert os.sched_getparam(thread).sched_priority == 7
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # the loop only


def test_a_cpu_that_is_not_there_is_told_and_the_loop_runs(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.start(cpu_affinity=1023)
    rig.play()
    rig.wait_for_commands(10)
    assert "cpu_affinity 1023 is refused" in capfd.readouterr().err


# A run on record


def test_a_run_over_dds_is_played_again_bit_for_bit(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    rig.joints = [0.0, 0.0, 0.0]
    rig.start(record_path=str(path))
    for number in range(4):
        rig.play(start=0.2 * (number % 2), speed=1.5, late_s=0.03)
        rig.wait_for_commands(20)
    rig.operator.trigger("stop")
    rig.wait_for_rest()
    rig.operator.trigger("start")
    rig.play(start=rig.path()[-1, 0])
    rig.wait_for_commands(20)
    assert rig.operator.change_state(DEACTIVATE) == [True]
    player = make_player(parse_contract(rig.values), Layout({"arm": 2, "gripper": 1}), {})
    commands = [command for command in replay(read_events(path), player) if command is not None]
    again = [tuple(map(float, np.concatenate(list(c.values.values())))) for c in commands]
    wait_until(lambda: tuple(rig.path()[-1]) == again[-1], what="the last command")
    heard = [tuple(command) for command in rig.path()]
    assert len(again) > 100
    # Of what was published, everything that came is there, in its order, to the last bit.
    remaining = iter(again)
    assert all(command in remaining for command in heard)
    assert len(heard) > 0.8 * len(again)


def test_a_recording_that_cannot_be_written_is_told_and_the_node_goes_on(
    rig: Rig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.start(record_path=str(tmp_path / "nowhere" / "run.jsonl"))
    rig.play()
    rig.wait_for_commands(5)
    assert rig.operator.change_state(DEACTIVATE, ACTIVATE) == [True, True]
    assert "the run is not recorded" in capfd.readouterr().err
