# SPDX-License-Identifier: Apache-2.0
"""Whatever comes late, and whenever the robot is stopped: nothing streamed keeps a velocity."""

from __future__ import annotations

import contextlib
import random

import pytest
from streamed_rig import BASE, LIMITS, PERIOD_NS, PERIOD_S, Robot

from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.control.trajectory import Forecast

TICKS, QUIET_TICKS = 600, 300


class Planner:
    """Runs the forecasts of a robot, each of which takes its time."""

    def __init__(self, robot: Robot, draw: random.Random, *, takes_s: float) -> None:
        self._robot = robot
        self._draw = draw
        self._takes_s = takes_s  # on average
        self._forecast: Forecast | None = None
        self._ready_ns = 0

    def finish(self) -> None:
        """Send the trajectory of a forecast that has been run by now."""
        player, now_ns, forecast = self._robot.player, self._robot.now_ns, self._forecast
        if forecast is None or now_ns < self._ready_ns:
            return
        self._forecast = None
        trajectory = forecast.run()
        if trajectory is None or not player.awaits(forecast):
            return
        if player.is_too_late(trajectory, now_ns):
            player.retry(forecast, now_ns)
        else:
            player.finish_forecast(forecast, trajectory)

    def take(self) -> None:
        if self._forecast is None:
            self._forecast = self._robot.player.take_forecast()
            takes_s = self._draw.expovariate(1.0 / self._takes_s)
            self._ready_ns = self._robot.now_ns + round(takes_s * 1e9)


def disturb(robot: Robot, draw: random.Random) -> None:
    """A new chunk, a stop that lasts or not, a stall: each from time to time."""
    if draw.random() < 0.01:
        robot.stall(draw.randint(1, 60))
    if draw.random() < 0.03:
        start = robot.commands[-1].values["gripper"][0] if robot.commands else 0.0
        with contextlib.suppress(ChunkRefusedError):
            robot.offer(draw.randint(1, 10**6), speed=draw.uniform(-0.5, 0.5), start=start)
    if draw.random() < 0.02:
        robot.player.inhibit(draw.choice(["a stop", ""]))
    if draw.random() < 0.01:
        robot.player.hold(robot.now_ns, "enough")


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("takes_s", [0.1, 0.3])
def test_what_is_streamed_is_silent_only_at_rest(seed: int, takes_s: float) -> None:
    draw = random.Random(seed)
    robot = Robot()
    planner = Planner(robot, draw, takes_s=takes_s)
    speed, gripper = 0.0, None
    for tick in range(TICKS + QUIET_TICKS):
        robot.now_ns += PERIOD_NS
        planner.finish()
        if tick < TICKS:
            disturb(robot, draw)
        elif tick == TICKS:
            robot.player.inhibit("the end")
        command = robot.player.tick(robot.now_ns)
        planner.take()
        if command is None or command.is_withheld:
            assert speed == pytest.approx(0.0, abs=1e-9), tick
            continue
        robot.commands.append(command)
        before, speed = speed, float(command.values["base"][0])
        assert abs(speed - before) <= BASE.linear_acceleration * PERIOD_S + 1e-9, tick
        before, gripper = gripper, float(command.values["gripper"][0])
        assert before is None or abs(gripper - before) <= LIMITS.velocity * PERIOD_S + 1e-9, tick
    assert speed == pytest.approx(0.0, abs=1e-9)
    assert robot.player.is_at_rest
