# SPDX-License-Identifier: Apache-2.0
"""Joints commanded in velocity: bounded in speed, acceleration and jerk, whatever is asked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk_checks import describe_jumps
from gr00t_policy_core.control.command_limiter import CommandLimiter
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.velocity_limiter import VelocityLimiter

PERIOD_S = 0.01
SPEED, ACCELERATION, JERK = 0.5, 4.0, 100.0
LIMITS = JointLimits(-math.inf, math.inf, SPEED, ACCELERATION, JERK)


def limiter(hits: Counter[str] | None = None, limits: JointLimits = LIMITS) -> VelocityLimiter:
    return VelocityLimiter(limits, PERIOD_S, Counter() if hits is None else hits)


def followed(one: VelocityLimiter, targets: Sequence[float]) -> np.ndarray:
    """The commands towards targets of which the last stays."""
    last = len(targets) - 1
    return np.array(
        [one.follow(lambda n, i=i: targets[min(i + n, last)]) for i in range(len(targets))]
    )


def require_within(commands: Sequence[float], limits: JointLimits = LIMITS) -> None:
    path = np.concatenate([[0.0, 0.0], commands])
    slack = 1.0 + 1e-6
    assert np.abs(path).max() <= limits.velocity * slack
    assert np.abs(np.diff(path)).max() <= limits.acceleration * PERIOD_S * slack
    assert np.abs(np.diff(path, 2)).max() <= limits.jerk * PERIOD_S**2 * slack + 1e-12


def test_a_velocity_beyond_the_limit_is_reached_no_faster_than_allowed_and_kept() -> None:
    hits: Counter[str] = Counter()
    commands = followed(limiter(hits), [2.0] * 60)
    require_within(commands)
    assert commands[-1] == SPEED
    # 0.04 s to build the acceleration up, as much to let it go, 0.5 / 4 s in all besides.
    assert np.argmax(commands >= SPEED - 1e-9) * PERIOD_S == pytest.approx(0.165, abs=0.02)
    assert hits["velocity"] == 60


def test_a_velocity_within_the_limits_passes_unchanged_and_is_no_hit() -> None:
    hits: Counter[str] = Counter()
    wanted = 0.4 * np.sin(np.linspace(0.0, 6.0, 400)) ** 2
    assert (followed(limiter(hits), wanted.tolist()) == wanted).all()
    assert hits.total() == 0


def test_a_moving_target_is_caught_up_with_and_followed_again() -> None:
    one = limiter()
    wanted = 0.3 + 0.15 * np.sin(np.linspace(0.0, 12.0, 600))
    commands = followed(one, wanted.tolist())
    require_within(commands)
    assert np.abs(commands[30:] - wanted[30:]).max() == 0.0
    assert one.is_following


def test_braking_ends_at_zero_and_never_turns_round() -> None:
    one = limiter()
    followed(one, [0.5] * 60)
    commands = [one.brake() for _ in range(40)]
    assert min(commands) == 0.0
    assert (np.diff(commands) <= 0.0).all()
    assert one.is_at_rest
    assert one.brake() == 0.0


def test_a_limiter_at_rest_stays_there() -> None:
    one = limiter()
    assert one.is_at_rest
    assert one.brake() == 0.0
    assert one.is_at_rest


@given(
    st.lists(
        st.one_of(st.floats(-1.0, 1.0), st.floats(-1e12, 1e12), st.just("brake")), max_size=80
    ),
    st.floats(0.01, 5.0),
    st.floats(0.1, 100.0),
    st.floats(1.0, 5000.0),
)
def test_no_limit_is_ever_broken(
    wanted: list[float | str], speed: float, acceleration: float, jerk: float
) -> None:
    limits = JointLimits(-math.inf, math.inf, speed, acceleration, jerk)
    one = limiter(limits=limits)
    commands = []
    for target in wanted:
        commands.append(
            one.brake() if isinstance(target, str) else one.follow(lambda _, to=target: to)
        )
    if commands:
        require_within(commands, limits)


@given(st.lists(st.floats(-1.0, 1.0), max_size=30))
def test_braking_always_ends_at_rest_in_the_time_that_the_limits_give(wanted: list[float]) -> None:
    one = limiter()
    for target in wanted:
        one.follow(lambda _, to=target: to)
    # From full acceleration at full speed: that gone (0.04 s), then the speed (0.125 + 0.04 s).
    for _ in range(25):
        one.brake()
    assert one.is_at_rest


def test_a_robot_limits_its_velocities_as_velocities() -> None:
    layout = ActionLayout({"arm": 1, "base": 2}, velocities=["base"])
    hits: Counter[str] = Counter()
    robot = CommandLimiter(
        layout,
        {0: LIMITS, 1: LIMITS},
        {},
        period_s=PERIOD_S,
        start=np.array([1.0, 2.0, 2.0]),
        limit_hits=hits,
    )
    path = np.array([1.0, 2.0, 2.0])
    commands = np.array([robot.follow(lambda _: path) for _ in range(60)])
    assert (commands[:, 0] == 1.0).all()
    require_within(commands[:, 1].tolist())
    assert commands[-1, 1] == SPEED
    assert (commands[:, 2] == 2.0).all()  # without limits
    assert robot.extrapolate(np.zeros(3), 0.005).tolist() == [0.0, SPEED, 0.0]
    assert not robot.is_at_rest
    braked = np.array([robot.brake(np.array([1.0, 0.0, 0.0])) for _ in range(30)])
    assert (np.diff(braked[:, 1]) <= 0.0).all()
    assert robot.is_at_rest
    assert (
        list(describe_jumps(layout, {0: LIMITS, 1: LIMITS}, np.zeros(3), np.array([0, 9, 9]), 0.5))
        == []
    )
