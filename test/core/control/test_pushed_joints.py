# SPDX-License-Identifier: Apache-2.0
"""What somebody pushes while the robot is stopped does not keep all else from its stop."""

from __future__ import annotations

import numpy as np
import pytest
from limit_checks import require_within
from look_ahead_rig import LIMITS, PERIOD_NS
from two_arms import KEYS, RIGHT, Robot

STOP_TICKS = 40  # a way to rest takes no longer, at the speed of these chunks


def about_to_move(**settings: float) -> Robot:
    """A robot at rest that was sent a motion which it has not begun yet."""
    robot = Robot(**settings)
    robot.tick(3)
    robot.offer(1, speed=0.0)
    robot.tick(40)
    robot.player.hold(robot.now_ns, "enough")
    robot.tick(100)
    robot.offer(2)
    robot.tick(3)
    assert np.ptp(robot.sent["right"][-1].rows[:, RIGHT]) > 0.5
    return robot


def stop(robot: Robot, ticks: int = 0) -> None:
    """Stop it, with forecasts that take so many ticks."""
    robot.forecast_ticks = ticks
    robot.player.inhibit("stopped by ~/stop")


@pytest.mark.parametrize("pushed", KEYS)
@pytest.mark.parametrize("pushed_after", [0, 1, 2, 3])
@pytest.mark.parametrize("forecast_ticks", [0, 1, 3])
def test_a_stop_reaches_all_joints_before_they_set_out_whichever_is_pushed(
    pushed: str, pushed_after: int, forecast_ticks: int
) -> None:
    robot = about_to_move()
    stop(robot, forecast_ticks)
    robot.tick(pushed_after)
    robot.push(pushed, 0.1)
    robot.tick(STOP_TICKS)
    for key in ("left", "right"):
        assert abs(robot.sent[key][-1].rows[-1, robot.layout.slices[key].start]) < 0.02
    robot.tick(400)
    if pushed != "right":
        assert abs(robot.arms["right"]) < 0.02
