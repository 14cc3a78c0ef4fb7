# SPDX-License-Identifier: Apache-2.0
"""Where a chunk ends in motion and no other comes: the arm rests at its last step, not beyond."""

from __future__ import annotations

import numpy as np
import pytest
from limit_checks import PERIODS_S, require_within

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from gr00t_policy_core.control.action_layout import ActionLayout  # noqa: E402
from gr00t_policy_core.control.blend import BlendMode  # noqa: E402
from gr00t_policy_core.control.chunk import Chunk  # noqa: E402
from gr00t_policy_core.control.joint_limits import JointLimits  # noqa: E402
from gr00t_policy_core.control.player import MotionPlayer  # noqa: E402
from gr00t_policy_core.control.player_settings import PlayerSettings  # noqa: E402
from gr00t_policy_core.control.schedule_settings import ScheduleSettings  # noqa: E402

SETTINGS = settings(deadline=None, max_examples=80, derandomize=True)
T0_NS = 1_700_000_000_000_000_000
FADED = (BlendMode.OFFSET_FADE, BlendMode.RTC)


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


LIMITS = st.builds(
    JointLimits,
    lower=st.just(-100.0),
    upper=st.just(100.0),
    velocity=reals(0.5, 4.0),
    acceleration=reals(2.0, 50.0),
    jerk=reals(50.0, 2000.0),
)


def played(
    limits: JointLimits, rows: np.ndarray, *, dt_s: float, period_s: float, how: ScheduleSettings
) -> np.ndarray:
    """The commands of one chunk, from rest at its first step until the arm rests again."""
    player = MotionPlayer(
        ActionLayout({"arm": 1}),
        PlayerSettings(period_s=period_s, schedule=how, limits={0: limits}),
    )
    player.measure({0: float(rows[0, 0])}, T0_NS)
    player.offer(Chunk(1, T0_NS, dt_s, {"arm": rows}), T0_NS)
    commands = []
    for tick in range(1, round(20.0 / period_s)):
        command = player.tick(T0_NS + round(tick * period_s * 1e9))
        assert command is not None
        commands.append(float(command.values["arm"][0]))
        if command.at_rest:
            break
    else:
        pytest.fail("it never came to rest")
    return np.array(commands)


@SETTINGS
@given(
    limits=LIMITS,
    share=reals(0.05, 0.9),
    horizon=st.integers(2, 50),
    dt_s=st.sampled_from([1 / 30, 0.05, 0.1]),
    period_s=st.sampled_from(PERIODS_S),
    how=st.builds(
        ScheduleSettings, blend=st.sampled_from(FADED), blend_s=reals(0.1, 0.5), cubic=st.booleans()
    ),
)
def test_a_chunk_that_ends_at_speed_is_not_overshot(
    limits: JointLimits,
    share: float,
    horizon: int,
    dt_s: float,
    period_s: float,
    how: ScheduleSettings,
) -> None:
    """However short the climb is: no command lies beyond the last step, by more than rounding."""
    rows = share * limits.velocity * dt_s * np.arange(horizon, dtype=np.float64)[:, None]
    commands = played(limits, rows, dt_s=dt_s, period_s=period_s, how=how)
    require_within(np.concatenate([np.full(3, rows[0, 0]), commands]), limits, period_s)
    last = float(rows[-1, 0])
    assert commands.max() <= last + 1e-9
    assert commands[-1] == pytest.approx(last, abs=1e-9)
