# SPDX-License-Identifier: Apache-2.0
"""One joint inside its limits, as the differences of its commands tell."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from limit_checks import PERIODS_S, require_within
from numpy.testing import assert_allclose

from gr00t_policy_core.control.joint_limiter import JointLimiter
from gr00t_policy_core.control.joint_limits import JointLimits

LIMITS = JointLimits(-2.0, 2.0, 3.0, 25.0, 500.0)


def run(
    path: Callable[[float], float],
    *,
    seconds: float = 3.0,
    period_s: float = 0.01,
    limits: JointLimits = LIMITS,
    position: float = 0.0,
    braking: tuple[float, float] = (math.inf, math.inf),
) -> tuple[np.ndarray, Counter[str]]:
    """The commands of following a path over time (s), with three of standing before them."""
    hits: Counter[str] = Counter()
    limiter = JointLimiter(limits, period_s, position, hits)
    commands = [limiter.position] * 3
    for tick in range(round(seconds / period_s)):
        brakes = braking[0] <= tick * period_s < braking[1]
        commands.append(
            limiter.brake()
            if brakes
            else limiter.follow(lambda n, t=tick: path((t + n) * period_s))
        )
    return np.array(commands), hits


def test_what_is_within_all_limits_passes_unchanged() -> None:
    commands, hits = run(lambda t: 0.5 - 0.5 * math.cos(2.0 * t))
    assert_allclose(commands[3:], 0.5 - 0.5 * np.cos(0.02 * np.arange(300)), rtol=0, atol=0)
    assert hits == Counter()


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_a_step_is_reached_inside_the_limits_without_overshoot(period_s: float) -> None:
    commands, hits = run(lambda t: 1.0, period_s=period_s)
    require_within(commands, LIMITS, period_s)
    assert commands[-1] == 1.0
    assert commands.max() <= 1.0 + 1e-9
    assert hits["velocity"] > 0


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_a_path_that_speeds_up_through_the_velocity_limit_does_not_break_it(
    period_s: float,
) -> None:
    """The acceleration has to be let go before the limit is reached: the jerk limit takes time."""
    limits = JointLimits(-math.inf, math.inf, 2.0, 20.0, 200.0)
    commands, hits = run(lambda t: 5.0 * t * t, period_s=period_s, limits=limits, seconds=1.0)
    require_within(commands, limits, period_s)
    assert hits["velocity"] > 0


def test_a_fast_path_that_slows_down_is_caught_up_with_and_then_followed_exactly() -> None:
    commands, _ = run(lambda t: min(6.0 * t, 1.5) + 0.1 * math.sin(t))
    require_within(commands, LIMITS, 0.01)
    ticks = np.arange(250, 300) * 0.01
    assert_allclose(commands[253:], 1.5 + 0.1 * np.sin(ticks), rtol=0, atol=0)


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_the_range_is_never_left_however_fast_the_path_runs_out_of_it(period_s: float) -> None:
    commands, hits = run(lambda t: 2.5 * math.sin(1.1 * t), period_s=period_s, seconds=6.0)
    require_within(commands, LIMITS, period_s)
    assert commands.max() > 1.9
    assert hits["position"] > 0


def test_a_target_out_of_range_is_approached_to_the_limit_and_held_there() -> None:
    commands, _ = run(lambda t: 40.0)
    require_within(commands, LIMITS, 0.01)
    assert_allclose(commands[-50:], 2.0, atol=1e-5)


@pytest.mark.parametrize("position", [-7.0, 2.5, 2.0 + 1e-6, 2.0])
@pytest.mark.parametrize("target", [0.0, -1.999, 9.0, -9.0])
def test_a_joint_that_starts_outside_its_range_comes_back_inside_its_other_limits(
    position: float, target: float
) -> None:
    commands, hits = run(lambda t: target, position=position, seconds=6.0)
    reach = dataclasses.replace(LIMITS, lower=min(-2.0, position), upper=max(2.0, position))
    require_within(commands, reach, 0.01)
    assert commands[2] == position
    assert_allclose(commands[-50:], min(max(target, -2.0), 2.0), atol=1e-5)
    inside = np.flatnonzero(np.abs(commands) <= 2.0)
    require_within(commands[inside[0] :], LIMITS, 0.01)
    assert (hits["position"] > 100) == (abs(target) > 2.0)


def test_a_joint_outside_its_range_goes_no_further_out_and_may_stop_on_its_way_back() -> None:
    commands, _ = run(lambda t: 3.0 + t, position=3.5, braking=(0.2, 1.0), seconds=4.0)
    require_within(commands, dataclasses.replace(LIMITS, upper=3.5), 0.01)
    assert len(set(commands[80:100])) == 1
    assert 2.0 < commands[90] < 3.5
    assert commands[-1] == 2.0


def test_a_limit_is_counted_only_where_it_changed_the_command() -> None:
    """A path that is back within the limits is caught up with, and then no limit binds."""
    commands, hits = run(lambda t: min(6.0 * t, 1.5))
    changed = np.abs(commands[3:] - np.minimum(6.0 * 0.01 * np.arange(300), 1.5)) > 1e-9
    assert hits.total() == changed.sum()
    assert not changed[-200:].any()


def test_the_time_to_brake_is_known_beforehand() -> None:
    limiter = JointLimiter(LIMITS, 0.01, 0.0, Counter())
    assert limiter.braking_s == 0.0
    for tick in range(1, 60):
        limiter.follow(lambda n, t=tick: 1.5 * math.sin((t + n) * 0.01))
    braking_s = limiter.braking_s
    ticks = 0
    while not limiter.is_at_rest:
        limiter.brake()
        ticks += 1
    assert braking_s <= ticks * 0.01 <= braking_s + 0.05


@pytest.mark.parametrize("begins_s", [0.05, 0.1, 0.35, 0.6])
def test_braking_is_the_fastest_stop_inside_the_limits_and_ends_in_a_standstill(
    begins_s: float,
) -> None:
    commands, _ = run(lambda t: 1.9 * math.sin(2.0 * t), seconds=2.0, braking=(begins_s, math.inf))
    require_within(commands, LIMITS, 0.01)
    # 3 rad/s take 0.12 s at 25 rad/s2, and 0.05 s to begin and to end at 500 rad/s3.
    assert len(set(commands[-round((2.0 - begins_s - 0.25) / 0.01) :])) == 1


def test_after_braking_the_path_is_joined_again_inside_the_limits() -> None:
    commands, _ = run(lambda t: 1.5 * math.sin(t), seconds=4.0, braking=(0.5, 1.2))
    require_within(commands, LIMITS, 0.01)
    assert commands[-1] == 1.5 * math.sin(399 * 0.01)


def test_rest_is_told_only_once_the_commands_stand_still() -> None:
    limiter = JointLimiter(LIMITS, 0.01, 0.0, Counter())
    assert limiter.is_at_rest
    for tick in range(20):
        limiter.follow(lambda n, t=tick: 0.005 * (t + n))
    commands = []
    while not limiter.is_at_rest:
        commands.append(limiter.brake())
        assert len(commands) < 100
    assert len(set(commands[-3:])) == 1
    assert limiter.brake() == commands[-1]


@pytest.mark.parametrize("rate_hz", [1.0, 5.0, 10.0, 20.0])
def test_a_low_control_rate_does_not_make_the_joint_swing(rate_hz: float) -> None:
    slow = JointLimits(-10.0, 10.0, 0.2, 0.5, 1.0)
    commands, _ = run(lambda t: 3.0, period_s=1.0 / rate_hz, limits=slow, seconds=60.0)
    require_within(commands, slow, 1.0 / rate_hz)
    assert commands[-1] == 3.0
    assert commands.max() < 3.05


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lower": 1.0, "upper": 1.0}, "lower limit 1.0 must be below upper limit 1.0"),
        ({"lower": math.nan}, "lower limit nan must be below"),
        ({"velocity": 0.0}, "velocity limit must be finite and > 0, got 0.0"),
        ({"acceleration": -1.0}, "acceleration limit must be finite and > 0, got -1.0"),
        ({"jerk": math.inf}, "jerk limit must be finite and > 0, got inf"),
    ],
)
def test_a_limit_that_is_none_is_refused(changes: dict[str, float], why: str) -> None:
    values = {"lower": -1.0, "upper": 1.0, "velocity": 1.0, "acceleration": 1.0, "jerk": 1.0}
    with pytest.raises(ValueError, match=why):
        JointLimits(**{**values, **changes})


def test_the_tighter_of_two_limits_holds_one_by_one() -> None:
    one = JointLimits(-1.0, 5.0, 1.0, 20.0, 300.0)
    other = JointLimits(-3.0, 2.0, 4.0, 10.0, 400.0)
    assert one.tighter(other) == JointLimits(-1.0, 2.0, 1.0, 10.0, 300.0)
    with pytest.raises(ValueError, match="must be below"):
        one.tighter(JointLimits(6.0, 7.0, 1.0, 1.0, 1.0))


def test_what_rounding_leaves_of_a_velocity_comes_to_rest_at_zero_too() -> None:
    """Near 0 a command changes by 1e-19 at every tick, which elsewhere is rounded away."""
    limiter = JointLimiter(LIMITS, 0.01, 0.0, Counter())
    limiter._state = dataclasses.replace(limiter._state, velocity=1.6e-17)
    limiter._commands = (3.2e-19, 1.6e-19, 0.0)
    for _ in range(5):
        limiter.brake()
    assert limiter.is_at_rest
