# SPDX-License-Identifier: Apache-2.0
"""Steps of a recording: on a grid, each value at its time, or a reason that names the stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from demonstration_bags import (
    START_NS,
    Recorded,
    command,
    interventions,
    joints,
    picture,
    position,
    recording,
    trajectory,
)
from policies_for_tests import parameters
from std_msgs.msg import Float64MultiArray

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.convert.actions import action_source
from gr00t_ros.convert.interventions import Interventions
from gr00t_ros.convert.robot import with_full_names
from gr00t_ros.convert.steps import Dropped, Event, Step, StepBuilder, TimedMessage
from gr00t_ros.policy.stream_buffers import StreamBuffers

RATE_HZ = 20.0


def robot(**changes: Any) -> Contract:
    return with_full_names(parse_contract(parameters(**{"max_skew_s": 0.03, **changes})))


def events_of(
    messages: Iterable[Recorded], *, lead_steps: int | None = None, **changes: Any
) -> list[Event]:
    """The events of a recording of the robot of `policies_for_tests`."""
    contract = robot(**changes)
    received = StreamBuffers(contract)
    actions = action_source(lead_steps, contract, received)
    builder = StepBuilder(contract, received, actions, Interventions("/intervention"))
    timed = (TimedMessage(m.topic, m.message, START_NS + round(m.time_s * 1e9)) for m in messages)
    return list(builder.events(timed))


def steps_of(events: Iterable[Event]) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


def dropped(events: Iterable[Event]) -> dict[str, int]:
    """The number of dropped steps by cause; 0 for interruptions."""
    counts: dict[str, int] = {}
    for event in events:
        if isinstance(event, Dropped):
            counts[event.cause] = counts.get(event.cause, 0) + event.count
    return counts


def seconds(step: Step) -> float:
    return (step.t0_ns - START_NS) * 1e-9


def test_a_step_has_each_value_at_its_time() -> None:
    events = events_of(recording(4.0))
    steps = steps_of(events)
    assert dropped(events) == {}
    np.testing.assert_allclose([seconds(s) for s in steps], np.arange(80) / RATE_HZ, atol=1e-9)
    for index, step in enumerate(steps):
        t = index / RATE_HZ
        np.testing.assert_allclose(step.state["arm"], [position(t, 0), position(t, 1)], atol=1e-6)
        np.testing.assert_array_equal(
            step.images["front"].ravel(), np.frombuffer(picture(t).data, np.uint8)
        )
        # The newest command until then; a trajectory has no stamp, so its reception counts.
        newest = np.floor(t * 50 + 1e-6) / 50
        np.testing.assert_allclose(step.action["gripper"], [command(newest, 2)], atol=1e-6)


def test_a_camera_of_another_rate_gives_the_closest_frame() -> None:
    steps = steps_of(events_of(recording(3.0, camera_hz=30.0)))
    assert len(steps) > 50
    frames = {bytes(picture(index / 30).data): index / 30 for index in range(90)}
    for step in steps:
        shown_s = frames[step.images["front"].tobytes()]
        assert abs(shown_s - seconds(step)) < 1 / 60 + 1e-6


def test_units_are_the_policys() -> None:
    degrees = 180 / np.pi
    changes = {"state__arm__scale": degrees, "action__arm__scale": 1 / degrees}
    (step, *_) = steps_of(events_of(recording(1.0), **changes))
    expected = [degrees * position(0, 0), degrees * position(0, 1)]
    np.testing.assert_allclose(step.state["arm"], expected, atol=1e-4)
    expected = [degrees * command(0, 0), degrees * command(0, 1)]
    np.testing.assert_allclose(step.action["arm"], expected, atol=1e-4)


def test_a_camera_that_starts_late_is_named_with_the_steps_that_it_costs() -> None:
    events = events_of(recording(4.0, camera_from_s=1.5))
    assert dropped(events) == {"video.front: nothing received on /front/image_raw yet": 30}
    assert seconds(steps_of(events)[0]) == pytest.approx(1.5)


def test_joints_that_start_late_are_named() -> None:
    late = [m for m in recording(4.0) if m.topic != "/joint_states" or m.time_s > 1.5]
    events = events_of(late)
    counts = dropped(events)
    assert counts["state.arm: nothing received on /joint_states yet"] > 15
    assert sum(counts.values()) + len(steps_of(events)) == 80


def test_a_stream_that_never_comes_leaves_no_step() -> None:
    events = events_of([m for m in recording(4.0) if m.topic != "/front/image_raw"])
    assert dropped(events) == {"video.front: nothing received on /front/image_raw yet": 79}
    assert steps_of(events) == []


def test_a_stalled_camera_costs_the_steps_of_its_gap_and_nothing_is_filled_in() -> None:
    stalled = [
        m for m in recording(4.0) if m.topic != "/front/image_raw" or not 1.0 < m.time_s < 2.6
    ]
    events = events_of(stalled)
    counts = dropped(events)
    assert set(counts) == {
        "video.front: stale on /front/image_raw",
        "video.front: no message at the required time",
    }
    assert sum(counts.values()) == 32
    times = [seconds(step) for step in steps_of(events)]
    assert all(t < 1.0 or t > 2.59 for t in times)
    assert len(times) == 48


def test_a_skewed_sample_is_not_taken() -> None:
    """The joints stop for 0.2 s, less than their max_age_s: closer samples are required."""
    gap = [m for m in recording(4.0) if m.topic != "/joint_states" or not 1.0 < m.time_s < 1.2]
    counts = dropped(events_of(gap))
    assert counts == {"state.arm: no message at the required time": 3}


def test_a_step_before_the_first_command_has_no_action() -> None:
    late = [m for m in recording(2.0) if m.topic != "/commands" or m.time_s >= 0.5]
    events = events_of(late)
    assert dropped(events) == {"action.arm: no command on /commands yet": 10}


def test_a_position_stays_commanded_until_the_next_command() -> None:
    once = [m for m in recording(2.0) if m.topic != "/commands" or m.time_s == 0.0]
    actions = {tuple(step.action["arm"].tolist()) for step in steps_of(events_of(once))}
    assert len(actions) == 1


def test_a_velocity_ends_when_nobody_repeats_it() -> None:
    velocity = {
        "action__gripper__type": "float64_multi_array",
        "action__gripper__topic": "velocity",
        "action__gripper__when_holding": "zero",
        "max_age_s": 0.5,
    }
    once = [Recorded("/velocity", Float64MultiArray(data=[0.5]), 0.0), *recording(2.0)]
    events = events_of(once, **velocity)
    assert dropped(events) == {"action.gripper: stale on /velocity": 29}


def test_a_damaged_command_is_counted_and_the_one_before_stays_in_force() -> None:
    contract = robot()
    received = StreamBuffers(contract)
    source = action_source(None, contract, received)
    source.receive("/commands", trajectory(0.0), START_NS)
    damaged = trajectory(0.1)
    damaged.points = [*damaged.points, *damaged.points]
    source.receive("/commands", damaged, START_NS + 100_000_000)
    assert source.at(START_NS + 200_000_000)["gripper"] == pytest.approx(command(0.0, 2))
    rejection = received.rejected.latest("action.arm")
    assert rejection is not None
    assert "2 points" in rejection.detail


def test_the_measured_state_is_the_action_of_its_own_time() -> None:
    changes = {"action__arm__scale": 0.5, "action__arm__offset": 0.1}
    steps = steps_of(events_of(recording(2.0), lead_steps=2, **changes))
    assert len(steps) == 40
    for step in steps:
        t = seconds(step)
        expected = [(position(t, 0) - 0.1) / 0.5, (position(t, 1) - 0.1) / 0.5]
        np.testing.assert_allclose(step.action["arm"], expected, atol=1e-5)


def test_the_measured_state_must_measure_what_is_commanded() -> None:
    changes = {"action__gripper__joints": ["thumb"], "action__gripper__unmeasured": True}
    with pytest.raises(SpecError, match=r"action\.gripper: no state measures \['thumb'\]"):
        events_of([], lead_steps=1, **changes)


def test_a_measured_pose_is_the_action_in_the_representation_of_the_action() -> None:
    from geometry_msgs.msg import PoseStamped

    def pose(time_s: float) -> PoseStamped:
        message = PoseStamped()
        message.header.frame_id = "base"
        message.header.stamp = joints(time_s).header.stamp
        message.pose.position.x = 0.1 + time_s
        message.pose.orientation.w = 1.0
        return message

    changes = {
        "state__arm__type": "pose_stamped",
        "state__arm__topic": "tool",
        "state__arm__joints": None,
        "state__arm__representation": "xyz_quat",
        "action__arm__type": "pose_stamped",
        "action__arm__topic": "target",
        "action__arm__joints": None,
        "action__arm__representation": "xyz_rot6d",
        "action__arm__frame_id": "base",
    }
    poses = [Recorded("/tool", pose(i / 100), i / 100 + 0.001) for i in range(200)]
    messages = sorted([*recording(2.0), *poses], key=lambda m: m.time_s)
    steps = steps_of(events_of(messages, lead_steps=1, **changes))
    assert len(steps) > 30
    x = 0.1 + seconds(steps[10])
    np.testing.assert_allclose(steps[10].action["arm"], [x, 0, 0, 1, 0, 0, 0, 1, 0], atol=1e-6)


def with_interventions(messages: list[Recorded], *spans: tuple[float, float]) -> list[Recorded]:
    said = interventions(4.0, *spans)
    return sorted([*messages, *said], key=lambda m: m.time_s)


def driven_s(events: Iterable[Event]) -> list[float]:
    return [round(seconds(step), 3) for step in steps_of(events) if step.intervention]


def test_a_step_knows_who_drove() -> None:
    events = events_of(with_interventions(recording(4.0), (1.02, 2.0), (3.0, 3.01)))
    assert dropped(events) == {}
    expected = [index / RATE_HZ for index in (*range(21, 40), 60)]
    np.testing.assert_allclose(driven_s(events), expected)


def test_a_recording_that_begins_in_an_intervention_has_it_from_its_first_step_on() -> None:
    messages = [m for m in with_interventions(recording(4.0), (0.0, 1.0)) if m.time_s >= 0.3]
    steps = steps_of(events_of(messages))
    first_said = next(m.time_s for m in messages if m.topic == "/intervention")
    assert seconds(steps[0]) < first_said + 1 / RATE_HZ
    assert [step.intervention for step in steps if seconds(step) < 1.0] == [True] * 14


def test_nobody_drives_once_the_control_node_is_silent() -> None:
    def until(time_s: float, *spans: tuple[float, float]) -> list[Event]:
        messages = with_interventions(recording(4.0), *spans)
        return events_of(m for m in messages if m.topic != "/intervention" or m.time_s < time_s)

    (cause,) = dropped(until(1.55, (1.0, 4.0)))
    assert cause == "intervention: stale on /intervention"
    assert max(driven_s(until(1.55, (1.0, 4.0)))) == 2.5
    assert dropped(until(1.55)) == {}


@pytest.mark.parametrize("set_by_s", [-30.0, -0.5])
def test_a_clock_that_is_set_back_begins_anew(set_by_s: float) -> None:
    messages = recording(4.0)
    before = [m for m in messages if m.time_s < 2.0]
    after = [m for m in recording(4.0 + set_by_s % 4.0) if m.time_s < 2.0]
    after = [Recorded(m.topic, m.message, m.time_s) for m in after]
    events = events_of([*before, *after])
    (cause,) = dropped(events)
    assert cause.startswith("the clock was set back by 1.9")
    times = [seconds(step) for step in steps_of(events)]
    assert times == sorted(times[: len(times) // 2]) * 2


def test_a_pause_is_an_interruption_and_no_thousand_missing_steps() -> None:
    def later(m: Recorded) -> Recorded:
        shift = 1e6
        moved = {
            "/front/image_raw": lambda: picture(m.time_s - 0.004 + shift),
            "/joint_states": lambda: joints(m.time_s - 0.001 + shift),
            "/commands": lambda: trajectory(m.time_s + shift),
        }[m.topic]()
        return Recorded(m.topic, moved, m.time_s + shift)

    first = recording(1.0)
    events = events_of([*first, *map(later, first)])
    (cause,) = dropped(events)
    assert cause.startswith("no message for 999999.0")
    assert len(steps_of(events)) == 40


def test_messages_ahead_of_the_clock_are_rejected_as_the_live_node_does() -> None:
    ahead = [Recorded(m.topic, m.message, m.time_s - 1.0) for m in recording(2.0)]
    contract = robot()
    received = StreamBuffers(contract)
    actions = action_source(None, contract, received)
    builder = StepBuilder(contract, received, actions, Interventions(None))
    timed = (TimedMessage(m.topic, m.message, START_NS + round(m.time_s * 1e9)) for m in ahead)
    assert steps_of(builder.events(timed)) == []
    assert received.rejected.count("video.front") == 40
