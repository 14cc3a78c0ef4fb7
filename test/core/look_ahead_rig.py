# SPDX-License-Identifier: Apache-2.0
"""A robot that follows its commands exactly, and the player that looks ahead for it."""

from __future__ import annotations

import random

import numpy as np
from limit_checks import require_within

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.recording import (
    RecordingPlayer,
)
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.control.trajectory import Forecast, Trajectory

PERIOD_NS = 10_000_000


LEAD_TICKS = 10


STOP_TICKS = 2


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
        for _ in range(round(self.player.lead_s * 1e9 / PERIOD_NS) + 5):
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
    assert run.player.is_too_late(trajectory, run.now_ns)
    assert not run.player.is_too_late(trajectory, forecast.departure_ns)
    return run, forecast
