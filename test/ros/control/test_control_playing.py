# SPDX-License-Identifier: Apache-2.0
"""Commands that belong to their instant, by the system's clock and by simulated time."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from control_ramps import CONTROL_PERIOD_S, DT_S, RATE, MakeNode, first, now_ns, ramp
from helpers import require_within, wait_until
from nodes_for_tests import (
    DEACTIVATE,
    Operator,
    SimulatedTime,
    quiet_for,
)
from policies_for_tests import parameters
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.time import Time

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.recording import read_events, replay
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.control.command_topics import CommandTopics
from gr00t_ros.control.motion_setup import make_player
from gr00t_ros.interfaces.command_publisher import Values
from gr00t_ros.msg import ActionChunk, ControlStatus


def test_a_chunk_lands_within_a_control_period_of_where_time_says(
    activate_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The commanded value as an instant, against the time that it is stamped with."""
    node = activate_node(control_rate_hz=1.0 / CONTROL_PERIOD_S)
    played: list[tuple[float, int, int, int]] = []  # value, stamp, how long it stood in ns, chunks
    publish = CommandTopics.publish

    def keeping(output: CommandTopics, values: Values, now: Time) -> None:  # DDS may lose some
        publish(output, values, now)
        counts = node._motion.counts
        played.append((float(values["arm"][0]), now.nanoseconds, counts.stalled_ns, counts.chunks))

    monkeypatch.setattr(CommandTopics, "publish", keeping)
    chunks.publish(ramp(now_ns(ros_node), horizon=100))
    # A robot that is still being set going falls behind, and so does a chunk observed meanwhile.
    wait_until(lambda: played and played[-1][0] > 1.0 * RATE, what="it has moved for a while")
    value, t0_ns, stood_ns, _ = played[-1]
    start = value + 0.2
    chunks.publish(ramp(t0_ns, start=start, horizon=40, chunk_id=2))
    operator.wait_for_reason("chunk 2 ended and no other came")

    # A tick that takes back a part of a stall before it does not move a new chunk ahead.
    stood_ns = min(stood_ns, next(still_ns for *_, still_ns, count in played if count == 2))
    # The offset is blended away first; before the end it slows down.
    end_s, settled_s, slowing_s = 39 * DT_S, 0.8, 0.2
    errors_s = [
        abs((value - start) / RATE - (stamp_ns - t0_ns - (still_ns - stood_ns)) * 1e-9)
        for value, stamp_ns, still_ns, _ in played
        if stamp_ns > t0_ns and settled_s < (value - start) / RATE < end_s - slowing_s
    ]
    assert len(errors_s) > 20
    # On a busy machine a tick is late by up to a period before it counts as a stall.
    assert statistics.median(errors_s) < CONTROL_PERIOD_S
    wait_until(lambda: played[-1][0] == pytest.approx(start + RATE * end_s), what="the end")


def test_joint_groups_on_one_topic_go_out_as_one_trajectory(
    activate_node: MakeNode, chunks: Publisher, ros_node: Node, commands: list[Any]
) -> None:
    activate_node()
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
    activate_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    commands: list[Any],
) -> None:
    activate_node()
    chunks.publish(ramp(now_ns(ros_node) - 500_000_000, horizon=100))
    wait_until(lambda: commands, what="a command")
    assert first(commands[0][1]) < 0.05 * RATE  # a robot that has not moved begins at the beginning
    wait_until(lambda: first(commands[-1][1]) > 1.0 * RATE, what="it has moved for a while")
    chunks.publish(ramp(now_ns(ros_node) - 800_000_000, horizon=60, chunk_id=2))
    status = operator.wait_for_status(lambda s: s.chunks_accepted == 2, "the second chunk")
    # Of 16; more where the chunk was late on its way, fewer where the loop stood still meanwhile.
    assert 14 - status.stalled_s / DT_S <= status.steps_skipped <= 40


def test_the_newest_chunk_takes_over(
    activate_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    commands: list[Any],
) -> None:
    activate_node()
    chunks.publish(ramp(now_ns(ros_node), chunk_id=4))
    wait_until(lambda: commands, what="a command")
    chunks.publish(ramp(now_ns(ros_node), start=2.0, chunk_id=5))
    wait_until(lambda: first(commands[-1][1]) >= 2.0, what="commands of the second chunk")
    status = operator.wait_for_status(lambda s: s.chunk_id == 5, "the newer")
    assert status.chunks_accepted == 2
    assert status.blend_offset == pytest.approx(2.0, abs=0.3)


def test_a_used_up_chunk_is_held_at_control_rate_and_said(
    activate_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    commands: list[Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    activate_node()
    chunks.publish(ramp(now_ns(ros_node), horizon=11, chunk_id=3))
    status = operator.wait_for_reason("holding: chunk 3 ended and no other came")
    assert status.state == ControlStatus.STATE_HOLDING
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
    activate_node: MakeNode,
    operator: Operator,
    chunks: Publisher,
    ros_node: Node,
    commands: list[Any],
) -> None:
    activate_node()
    chunks.publish(ramp(now_ns(ros_node), horizon=100))
    wait_until(lambda: len(commands) > 5, what="commands")
    chunks.publish(ActionChunk(stop=True, stop_reason="~/stop was called"))
    status = operator.wait_for_reason("holding: stopped by the policy node: ~/stop was called")
    assert status.state == ControlStatus.STATE_HOLDING

    def stands_still() -> bool:
        return len(commands) > 20 and len({first(message) for _, message in commands[-20:]}) == 1

    wait_until(stands_still, what="it comes to rest")
    stopped_at = first(commands[-1][1])
    assert stopped_at < RATE * 99 * DT_S
    count = len(commands)
    wait_until(lambda: len(commands) > count + 20, what="the hold goes on being commanded")
    assert {first(message) for _, message in commands[count:]} == {stopped_at}


# Simulated time


def test_simulated_time_is_what_chunks_are_played_against(
    activate_in_sim_time: MakeNode,
    operator: Operator,
    chunks: Publisher,
    commands: list[Any],
    sim_time: SimulatedTime,
) -> None:
    clock = activate_in_sim_time().get_clock()
    assert clock.clock_type == ClockType.ROS_TIME
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
    activate_in_sim_time: MakeNode,
    operator: Operator,
    chunks: Publisher,
    commands: list[Any],
    sim_time: SimulatedTime,
) -> None:
    clock = activate_in_sim_time().get_clock()
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


@pytest.mark.parametrize("jump_s", [-997.0, 60.0])
def test_no_clock_jump_takes_the_arm_out_of_its_limits(
    activate_in_sim_time: MakeNode,
    operator: Operator,
    chunks: Publisher,
    commands: list[Any],
    sim_time: SimulatedTime,
    tmp_path: Path,
    jump_s: float,
) -> None:
    """By the record of the run: every command that was made is in it."""
    path = tmp_path / "run.jsonl"
    clock = activate_in_sim_time(record_path=str(path)).get_clock()
    chunks.publish(ramp(sim_time.ns(), horizon=400))
    sim_time.run(lambda: commands and first(commands[-1][1]) > 0.5, "it moves")
    sim_time.now_s += jump_s
    jumped_ns = sim_time.ns()
    sim_time.run(lambda: abs(clock.now().nanoseconds - jumped_ns) < 30 * 10**9, "time has jumped")
    count = len(commands)
    sim_time.run(lambda: len(commands) > count + 60, "commands in the new time")
    chunks.publish(ramp(sim_time.ns(), start=first(commands[-1][1]), horizon=400, chunk_id=2))
    operator.wait_for_status(lambda s: s.chunks_accepted == 2, "a chunk of the new time")
    count = len(commands)
    sim_time.run(lambda: len(commands) > count + 30, "commands of it")
    assert operator.change_state(DEACTIVATE) == [True]

    contract = parse_contract(parameters(record_path=str(path)))
    player = make_player(contract, ActionLayout({"arm": 2, "gripper": 1}), {})
    played = [c for c in replay(read_events(path), player) if c is not None]
    arm = np.array([command.values["arm"] for command in played])
    assert len(np.unique(arm[:, 0])) > 50  # it moved
    limits = {"velocity": 3.0, "acceleration": 25.0, "jerk": 500.0}  # the defaults
    for joint in (0, 1):
        require_within(arm[:, joint], period_s=CONTROL_PERIOD_S, **limits)
