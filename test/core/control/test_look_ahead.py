# SPDX-License-Identifier: Apache-2.0
"""A player ahead of the present: what it forecasts is what it commands, one lead later."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from limit_checks import require_within

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import ObservationAgeLimit, PlayerSettings
from gr00t_policy_core.control.recording import (
    RecordingPlayer,
    read_events,
    replay,
    write_events,
)
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.control.trajectory import Forecast, Trajectory

PERIOD_NS, LEAD_TICKS, STOP_TICKS = 10_000_000, 10, 2
START_NS = 10**12
LIMITS = JointLimits(-3.0, 3.0, 3.0, 25.0, 500.0)
JOINTS = 3


class Run:
    """A robot that follows its commands exactly, ticked with the jitter of a real loop."""

    def __init__(self, *, is_recorded: bool = False, **settings: object) -> None:
        self.layout = ActionLayout({"arm": JOINTS}, names={"arm": ["a", "b", "c"]})
        self.settings = PlayerSettings(
            period_s=PERIOD_NS * 1e-9,
            schedule=ScheduleSettings(cubic=True),
            limits=dict.fromkeys(range(JOINTS), LIMITS),
            **{
                "max_joint_ages_s": dict.fromkeys(range(JOINTS), 0.5),
                "max_following_errors": dict.fromkeys(range(JOINTS), 0.05),
                **settings,
            },
        )
        kind = RecordingPlayer if is_recorded else MotionPlayer
        self.inner = kind(self.layout, self.settings)
        self.player = LookAheadPlayer(
            self.inner,
            self.layout,
            period_s=PERIOD_NS * 1e-9,
            lead_s=LEAD_TICKS * PERIOD_NS * 1e-9,
            forecast_keys=("arm",),
            silent_at_rest=self.settings.silent_at_rest,
        )
        self.random = random.Random(1)
        self.tick_number = 0
        self.commands: list[Command] = []
        self.sent: list[tuple[int, Trajectory]] = []  # the tick, and what was sent then
        self.measured = np.zeros(JOINTS)
        self.is_measured = True

    @property
    def now_ns(self) -> int:
        return START_NS + self.tick_number * PERIOD_NS

    def tick(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            self.tick_number += 1
            self._tick_once(self.now_ns + self.random.randint(-2_000_000, 2_000_000))

    def _tick_once(self, now_ns: int) -> None:
        if self.is_measured:
            self.player.measure(dict(enumerate(self.measured.tolist())), now_ns - 5_000_000)
        command = self.player.tick(now_ns)
        forecast = self.player.take_forecast()
        if forecast is not None:
            trajectory = forecast.run()
            assert trajectory is not None
            self.sent.append((self.tick_number, trajectory))
            self.player.finish_forecast(forecast, trajectory)
        if command is not None:
            self.commands.append(command)
            self.measured = command.vector

    def begin_late_forecast(self) -> Forecast | None:
        """Tick on without the result of the forecast, until the robot should have departed."""
        late: Forecast | None = None
        for _ in range(LEAD_TICKS + 5):
            self.tick_number += 1
            self.player.measure(dict(enumerate(self.measured.tolist())), self.now_ns)
            self.player.tick(self.now_ns)
            late = self.player.take_forecast() or late
            if self.sent:
                self.measured = self.sent[-1][1].row_at(self.now_ns)
        return late

    def offer(self, number: int = 1, *, amplitude: float = 0.5, age_s: float = 0.1) -> None:
        """A chunk of 0.75 s along sines that continue from chunk to chunk."""
        t0_ns = self.now_ns - round(age_s * 1e9)
        times_s = (t0_ns - START_NS) * 1e-9 + 0.05 * np.arange(16)
        rows = np.stack([amplitude * np.sin(times_s * (1 + 0.3 * n)) for n in range(JOINTS)], 1)
        self.player.offer(Chunk(number, t0_ns, 0.05, {"arm": rows}), self.now_ns)

    def path(self) -> np.ndarray:
        return np.stack([command.vector for command in self.commands])

    def tick_until_rest(self) -> None:
        for _ in range(1000):
            self.tick()
            if self.commands and self.commands[-1].at_rest:
                return
        raise AssertionError("it does not come to rest")


def moving_run(**settings: object) -> Run:
    run = Run(**settings)
    run.tick(3)
    run.offer()
    run.tick(40)
    return run


def test_a_trajectory_is_what_is_commanded_afterwards_to_the_bit() -> None:
    run = moving_run()
    run.tick_until_rest()
    [(tick, trajectory)] = run.sent  # nothing happened: it is sent once
    path = run.path()
    assert np.array_equal(path[: len(trajectory.rows)], trajectory.rows[: len(path)])
    assert (path[len(trajectory.rows) :] == trajectory.rows[-1]).all()
    assert trajectory.start_ns - (START_NS + tick * PERIOD_NS) <= LEAD_TICKS * PERIOD_NS + 2_000_000
    assert not trajectory.velocities()[-1].any()
    assert not trajectory.accelerations()[-1].any()


def test_each_chunk_sends_one_trajectory_that_begins_as_the_one_before_goes_on() -> None:
    run = moving_run()
    for number in range(2, 6):
        run.offer(number)
        run.tick(30)
    run.tick_until_rest()
    assert len(run.sent) == 5
    for (_, before), (_, after) in zip(run.sent, run.sent[1:], strict=False):
        for ticks in range(LEAD_TICKS):
            instant_ns = after.start_ns + ticks * PERIOD_NS
            assert np.allclose(after.row_at(instant_ns), before.row_at(instant_ns), atol=1e-12)


def test_all_trajectories_keep_the_limits_from_their_first_point_to_their_last() -> None:
    run = moving_run()
    for number in range(2, 8):
        run.offer(number, amplitude=0.5 + 0.3 * number)
        run.tick(20)
    run.tick_until_rest()
    for _, trajectory in run.sent:
        for joint in range(JOINTS):
            require_within(trajectory.rows[:, joint], LIMITS, PERIOD_NS * 1e-9)


def require_brake(run: Run, stopped_at: int, before: Trajectory) -> None:
    """The newest trajectory leaves the one before at the stop's lead, and comes to rest soon."""
    tick, braking = run.sent[-1]
    assert tick <= stopped_at + 1
    assert np.ptp(braking.rows[STOP_TICKS + 40 :], axis=0).max() == 0.0
    stopped_ns = START_NS + stopped_at * PERIOD_NS
    departs_ns = stopped_ns + (STOP_TICKS + 1) * PERIOD_NS
    for instant_ns in (departs_ns - 2 * PERIOD_NS, departs_ns - PERIOD_NS):
        assert np.allclose(braking.row_at(instant_ns), before.row_at(instant_ns), atol=1e-12)
    assert not np.array_equal(
        braking.row_at(departs_ns + 2 * PERIOD_NS), before.row_at(departs_ns + 2 * PERIOD_NS)
    )
    for joint in range(JOINTS):
        require_within(braking.rows[:, joint], LIMITS, PERIOD_NS * 1e-9)
    run.tick_until_rest()
    assert np.array_equal(run.commands[-1].vector, braking.rows[-1])


def test_a_stop_sends_a_braking_trajectory_at_once_and_does_not_wait_for_the_lead() -> None:
    run = moving_run()
    stopped_at = run.tick_number
    run.player.hold(run.now_ns, "enough")
    run.tick()
    assert len(run.sent) == 2
    require_brake(run, stopped_at, run.sent[0][1])
    assert run.player.reason == "enough"
    for joint in range(JOINTS):
        require_within(run.path()[:, joint], LIMITS, PERIOD_NS * 1e-9)


def test_an_inhibition_brakes_at_once_and_what_was_stopped_does_not_go_on_afterwards() -> None:
    run = moving_run()
    stopped_at = run.tick_number
    run.player.inhibit("emergency stop")
    run.tick()
    run.player.inhibit("")
    require_brake(run, stopped_at, run.sent[0][1])
    with pytest.raises(ChunkRefusedError, match="older observation"):
        run.offer(2, age_s=2.0)
    run.offer(3)
    run.tick(20)
    assert not run.commands[-1].holding


def test_a_chunk_that_is_stopped_before_the_robot_departs_is_never_played() -> None:
    run = moving_run()
    run.offer(2, amplitude=1.0)
    run.tick(3)
    before, sent = run.sent[0][1], len(run.sent)
    stopped_at = run.tick_number
    run.player.hold(run.now_ns, "enough")
    run.tick()
    assert len(run.sent) == sent + 1
    require_brake(run, stopped_at, before)
    assert {command.chunk_id for command in run.commands} == {1}


def test_a_second_stop_within_the_lead_does_not_undo_the_first() -> None:
    run = moving_run()
    run.player.hold(run.now_ns, "enough")
    run.tick()
    braking = run.sent[-1][1]
    run.tick()
    run.player.inhibit("emergency stop")
    run.tick_until_rest()
    assert np.array_equal(run.commands[-1].vector, braking.rows[-1])
    assert len(run.sent) == 2


def test_new_limits_bring_the_robot_to_rest_at_once_and_count_from_then_on() -> None:
    run = moving_run()
    stopped_at = run.tick_number
    slow = JointLimits(-3.0, 3.0, 0.2, 2.0, 50.0)
    run.player.change_limits(dict.fromkeys(range(JOINTS), slow), run.now_ns)
    run.tick()
    require_brake(run, stopped_at, run.sent[0][1])
    run.tick(20)
    begins = len(run.commands)
    run.offer(2)
    run.tick(60)
    require_within(run.path()[begins:, 0], slow, PERIOD_NS * 1e-9)


def test_motion_that_is_allowed_again_stays_allowed_when_a_late_trajectory_is_dropped() -> None:
    run = moving_run()
    run.player.inhibit("emergency stop")
    run.tick_until_rest()
    run.player.inhibit("")
    run.offer(2)
    late = run.begin_late_forecast()
    assert late is not None
    run.player.retry(late, run.now_ns)
    run.tick(LEAD_TICKS + 10)
    assert not run.commands[-1].holding
    assert not run.player.refusal


def test_a_short_stop_outlasts_its_way_to_the_controller() -> None:
    run = moving_run()
    run.player.hold(run.now_ns, "enough")
    run.tick()
    braking = run.sent[-1][1]
    assert len(braking.rows) * PERIOD_NS > 0.5e9
    assert np.ptp(braking.rows[-50:], axis=0).max() == 0.0


def test_the_counts_are_never_taken_back() -> None:
    run = moving_run()
    ticks, chunks = 0, 0
    for number in range(2, 8):
        run.offer(number)
        for _ in range(number):
            run.tick()
            counts = run.player.counts
            assert (counts.ticks, counts.chunks) >= (ticks, chunks)
            ticks, chunks = counts.ticks, counts.chunks
        run.player.hold(run.now_ns, "enough")
    run.tick_until_rest()
    assert run.player.counts.chunks < 7  # those of which nothing was played do not count


def late_run() -> tuple[Run, Forecast]:
    """A run whose second chunk is forecast for longer than the lead."""
    run = moving_run()
    run.offer(2, amplitude=1.0)
    forecast = run.begin_late_forecast()
    assert forecast is not None
    assert run.now_ns > forecast.departure_ns
    assert not forecast.is_stop
    trajectory = forecast.run()
    assert trajectory is not None
    assert run.player.would_step(trajectory, run.now_ns)
    assert not run.player.would_step(trajectory, forecast.departure_ns)
    return run, forecast


def test_a_late_trajectory_is_planned_again_from_where_the_robot_is() -> None:
    run, forecast = late_run()
    before = run.sent[0][1]
    run.measured = before.row_at(run.now_ns)
    run.player.retry(forecast, run.now_ns)
    run.tick()
    tick, after = run.sent[-1]
    assert tick == run.tick_number
    departs_ns = run.now_ns + LEAD_TICKS * PERIOD_NS
    for instant_ns in range(run.now_ns, departs_ns - PERIOD_NS, PERIOD_NS):
        assert np.allclose(after.row_at(instant_ns), before.row_at(instant_ns), atol=1e-9)
    for joint in range(JOINTS):
        require_within(after.rows[:, joint], LIMITS, PERIOD_NS * 1e-9)
    run.tick(20)
    assert run.commands[-1].chunk_id == 2
    assert not run.player.refusal


def test_a_chunk_that_is_late_a_second_time_is_refused_and_the_robot_stays_on_its_path() -> None:
    run, forecast = late_run()
    before = run.sent[0][1]
    run.player.retry(forecast, run.now_ns)
    again = run.begin_late_forecast()
    assert again is not None
    run.player.retry(again, run.now_ns)
    assert "chunk 2: its trajectory was ready after" in run.player.refusal
    assert "trajectory_lead_s 0.1 is too short" in run.player.refusal
    run.measured = before.row_at(run.now_ns)
    run.tick_until_rest()
    assert len(run.sent) == 1
    assert np.allclose(run.commands[-1].vector, before.rows[-1])
    assert not run.player.fault


def test_a_first_chunk_that_is_late_twice_leaves_the_robot_where_it_is() -> None:
    """The player is made with its first chunk: no tick comes before it."""
    run = Run()
    run.player.measure(dict(enumerate(run.measured.tolist())), run.now_ns)
    run.offer(age_s=0.0)
    for _ in range(2):
        late = run.begin_late_forecast()
        assert late is not None
        trajectory = late.run()
        assert trajectory is not None
        assert run.player.would_step(trajectory, run.now_ns)
        run.player.retry(late, run.now_ns)
    assert "its trajectory was ready after" in run.player.refusal
    run.tick(60)
    assert not run.sent
    assert not run.commands


def test_a_stop_cancels_the_forecast_under_way_and_brakes_on_the_path_that_was_sent() -> None:
    run, forecast = late_run()
    before = run.sent[0][1]
    run.measured = before.row_at(run.now_ns)
    stopped_at = run.tick_number
    run.player.hold(run.now_ns, "enough")
    assert not run.player.awaits(forecast)
    run.player.retry(forecast, run.now_ns)  # changes nothing
    run.tick()
    assert len(run.sent) == 2
    require_brake(run, stopped_at, before)


def test_a_person_steers_by_trajectories_that_keep_the_limits_and_blend_from_the_chunk() -> None:
    run = moving_run()
    for step in range(60):
        if step % 3 == 0:
            target = run.commands[-1].vector + 0.05 * np.array([1.0, -1.0, 0.5])
            run.player.steer(target, run.now_ns)
        run.tick()
    assert run.player.is_steered
    assert len(run.sent) >= 10
    for (_, before), (tick, after) in zip(run.sent, run.sent[1:], strict=False):
        for ticks in range(LEAD_TICKS - 1):
            instant_ns = START_NS + (tick + ticks) * PERIOD_NS
            assert np.allclose(after.row_at(instant_ns), before.row_at(instant_ns), atol=1e-3)
    stopped_at, before = run.tick_number, run.sent[-1][1]
    run.player.hold(run.now_ns, "the person has let go")
    run.tick()
    assert not run.player.is_steered
    require_brake(run, stopped_at, before)
    for _, trajectory in run.sent:
        for joint in range(JOINTS):
            require_within(trajectory.rows[:, joint], LIMITS, PERIOD_NS * 1e-9)


def test_a_person_who_falls_silent_is_in_the_trajectory_from_the_beginning() -> None:
    run = moving_run(steering_timeout_s=0.3)
    run.player.steer(run.commands[-1].vector + 0.2, run.now_ns)
    run.tick(2)
    sent = len(run.sent)
    run.tick_until_rest()
    assert len(run.sent) == sent
    assert "no teleoperation command came" in run.player.reason


def test_a_forecast_contains_the_stop_that_an_old_observation_will_cause() -> None:
    run = Run(observation_age=ObservationAgeLimit(0.4))
    run.tick(3)
    run.offer()
    run.tick(12)
    run.tick_until_rest()
    assert len(run.sent) == 1  # the stop was in the trajectory from the beginning
    assert "is 0.4" in run.player.reason


def test_measurements_are_compared_with_the_command_of_their_time() -> None:
    """The lead is 0.1 s: at 0.5 rad/s the newest command is 0.05 rad away from the robot."""
    run = moving_run(max_following_errors=dict.fromkeys(range(JOINTS), 0.02))
    run.tick_until_rest()
    assert not run.player.fault
    assert np.ptp(run.path()[:, 0]) > 0.2


def test_a_joint_that_does_not_follow_stops_the_robot_by_a_trajectory() -> None:
    run = moving_run()
    stuck = run.measured.copy()
    for _ in range(200):
        run.tick()
        run.measured = stuck
        if run.player.fault:
            break
    assert "does not follow" in run.player.fault
    stopped_at = run.tick_number
    run.tick(60)
    assert len(run.sent) == 2
    assert run.sent[1][0] == stopped_at
    assert run.commands[-1].at_rest
    braking = run.sent[1][1]
    assert np.ptp(braking.rows[STOP_TICKS + 40 :], axis=0).max() == 0.0


def test_measurements_that_stop_coming_stop_the_robot() -> None:
    run = moving_run(max_following_errors={}, observation_age=ObservationAgeLimit(60.0))
    run.is_measured = False
    run.tick_until_rest()
    assert "the limit is 0.5 s" in run.player.reason


def test_missed_ticks_are_made_up_for_since_the_controller_goes_on() -> None:
    run = moving_run()
    run.tick_number += 25  # the process was not running
    run.measured = run.sent[0][1].rows[len(run.commands) + 25]
    run.tick()
    expected = run.sent[0][1].rows[len(run.commands) - 1 + 25]
    assert np.array_equal(run.commands[-1].vector, expected)
    assert not run.player.fault
    assert run.player.counts.stalls == 0
    assert len(run.sent) == 1


def test_after_a_longer_pause_a_new_trajectory_is_sent() -> None:
    run = moving_run(observation_age=ObservationAgeLimit(60.0))
    run.offer(2)
    run.tick(5)
    sent = len(run.sent)
    run.tick_number += 300
    run.tick(3)
    run.tick_until_rest()
    assert len(run.sent) > sent or run.commands[-1].at_rest


def test_a_refused_chunk_changes_nothing() -> None:
    run = moving_run()
    with pytest.raises(ChunkRefusedError, match="older observation"):
        run.offer(2, age_s=0.9)
    run.tick_until_rest()
    assert len(run.sent) == 1
    assert run.player.counts.refused == 1


def test_the_fallback_goes_through_the_commands_to_come_and_then_brakes() -> None:
    run = moving_run()
    brake = run.player.fallback_brake()
    assert brake is not None
    planned = run.sent[0][1]
    here = len(run.commands)
    rows = []
    while not brake.is_at_rest:
        rows.append(brake.step())
    for ticks in range(STOP_TICKS):
        assert np.array_equal(rows[ticks], planned.rows[here + ticks])
    speeds = np.abs(np.diff(np.stack(rows), axis=0)).max(axis=1)
    assert (np.diff(speeds[STOP_TICKS:]) <= 1e-12).all()


def test_the_fallback_of_a_late_forecast_begins_on_the_path_that_was_sent() -> None:
    run, _ = late_run()
    brake = run.player.fallback_brake()
    assert brake is not None
    for ticks in range(1, STOP_TICKS + 1):
        expected = run.sent[0][1].row_at(run.now_ns + ticks * PERIOD_NS)
        assert np.allclose(brake.step(), expected, atol=1e-3)


def test_what_was_commanded_at_rest_is_left_out_where_it_was_not_published() -> None:
    run = Run(silent_at_rest=True)
    run.tick(3)
    run.offer()
    run.tick_until_rest()
    run.tick(50)
    run.measured = run.measured + 0.3  # somebody moves the silent robot
    run.tick(5)
    run.offer(2)
    run.tick(2)
    first = run.sent[-1][1].rows[0]
    assert np.allclose(first, run.measured, atol=0.01)


def test_the_report_is_of_the_present() -> None:
    run = moving_run()
    for joint, one in enumerate(run.player.report()):
        assert one.command == pytest.approx(run.commands[-1].vector[joint])
        assert one.measured == pytest.approx(run.commands[-2].vector[joint], abs=0.01)


def test_a_recorded_run_replays_on_a_player_without_a_lead(tmp_path: Path) -> None:
    run = Run(is_recorded=True)
    run.tick(3)
    run.offer()
    run.tick(60)
    run.player.hold(run.now_ns, "enough")
    run.tick(60)
    recorded = run.player.player
    assert isinstance(recorded, RecordingPlayer)
    write_events(tmp_path / "run", recorded.events)
    player = MotionPlayer(run.layout, run.settings)
    replayed = [c.vector for c in replay(read_events(tmp_path / "run"), player) if c is not None]
    assert np.array_equal(np.stack(replayed)[: len(run.commands)], run.path())
