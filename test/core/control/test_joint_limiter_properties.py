# SPDX-License-Identifier: Apache-2.0
"""Whatever the path: a joint stays within its limits."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from limit_checks import PERIODS_S, require_within

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from motion_strategies import SETTINGS, reals  # noqa: E402

from gr00t_policy_core.control.joint_limiter import JointLimiter  # noqa: E402
from gr00t_policy_core.control.joint_limits import JointLimits  # noqa: E402

LIMITS = st.builds(
    JointLimits,
    lower=reals(-3.0, -0.1),
    upper=reals(0.1, 3.0),
    velocity=reals(0.1, 5.0),
    acceleration=reals(0.5, 50.0),
    jerk=reals(5.0, 2000.0),
)


# Stretches of a path: (ticks, speed in rad/s, jump before it in rad, whether to brake).
STRETCHES = st.lists(
    st.tuples(st.integers(1, 40), reals(-8.0, 8.0), reals(-1.0, 1.0), st.booleans()),
    min_size=1,
    max_size=8,
)


@SETTINGS
@given(LIMITS, STRETCHES, st.sampled_from(PERIODS_S), reals(-4.0, 4.0))
def test_no_path_and_no_braking_takes_a_joint_out_of_its_limits(
    limits: JointLimits,
    stretches: list[tuple[int, float, float, bool]],
    period_s: float,
    start: float,
) -> None:
    path = [start]
    braking = []
    for ticks, speed, jump, brakes in stretches:
        path.extend(path[-1] + jump + speed * period_s * np.arange(1, ticks + 1))
        braking.extend([brakes] * ticks)
    path.extend([path[-1]] * 10)
    limiter = JointLimiter(limits, period_s, start, Counter())
    commands = [limiter.position] * 3
    for tick, brakes in enumerate(braking, start=1):
        commands.append(
            limiter.brake() if brakes else limiter.follow(lambda n, t=tick: float(path[t + n]))
        )
    reach = dataclasses.replace(
        limits, lower=min(limits.lower, start), upper=max(limits.upper, start)
    )
    require_within(np.array(commands), reach, period_s)
    is_inside = (limits.lower <= np.array(commands)) & (np.array(commands) <= limits.upper)
    inside = np.array(commands)[np.argmax(is_inside) :] if is_inside.any() else np.empty(0)
    if len(inside) > 3:
        require_within(inside, limits, period_s)
