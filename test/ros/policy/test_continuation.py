# SPDX-License-Identifier: Apache-2.0
"""What is left of the present chunk, for a policy that goes on from it."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gr00t_ros.policy.continuation import Continuation

S_NS = 1_000_000_000
T0_NS = 1_700_000_000 * S_NS
STEP_S = 0.05
HORIZON = 16
LATENCY_S = 0.12


def actions(horizon: int = HORIZON) -> dict[str, np.ndarray]:
    steps = np.arange(horizon, dtype=np.float32)[None, :, None]
    return {"arm": np.tile(steps, (1, 1, 2)), "gripper": steps}


def continuation() -> Continuation:
    return Continuation(step_s=STEP_S)


def prefix_of(rest: Continuation, t0_ns: int) -> np.ndarray:
    options = rest.options(t0_ns, latency_s=LATENCY_S)
    assert options is not None
    return options["rtc"]["prefix"]["gripper"][0, :, 0]


def test_before_the_first_chunk_there_is_nothing_to_go_on_from() -> None:
    assert continuation().options(T0_NS, latency_s=LATENCY_S) is None


def test_step_i_of_the_prefix_belongs_to_step_i_of_the_chunk_asked_for() -> None:
    rest = continuation()
    rest.remember(actions(), T0_NS)
    options = rest.options(T0_NS + round(0.4 * S_NS), latency_s=LATENCY_S)
    assert options is not None
    prefix = options["rtc"]["prefix"]
    assert_array_equal(prefix["gripper"][0, :, 0], np.arange(8, HORIZON))
    assert prefix["arm"].shape == (1, HORIZON - 8, 2)
    assert prefix["arm"].dtype == np.float32


@pytest.mark.parametrize(("latency_s", "frozen"), [(0.0, 0), (0.01, 1), (0.12, 3), (9.0, 8)])
def test_the_steps_played_before_the_answer_are_frozen(latency_s: float, frozen: int) -> None:
    rest = continuation()
    rest.remember(actions(), T0_NS)
    options = rest.options(T0_NS + round(0.4 * S_NS), latency_s=latency_s)
    assert options is not None
    assert options["rtc"]["frozen_steps"] == frozen


def test_a_chunk_that_is_used_up_has_no_rest() -> None:
    rest = continuation()
    rest.remember(actions(), T0_NS)
    assert prefix_of(rest, T0_NS + round(0.75 * S_NS)).tolist() == [15.0]
    assert rest.options(T0_NS + round(0.8 * S_NS), latency_s=LATENCY_S) is None


def test_the_first_chunk_is_played_from_when_it_came() -> None:
    """As the control node does: a robot that has not moved begins at the first step."""
    rest = continuation()
    rest.remember(actions(), T0_NS, now_ns=T0_NS + round(0.3 * S_NS))
    assert prefix_of(rest, T0_NS + round(0.4 * S_NS))[0] == 2.0


def test_a_chunk_that_comes_in_time_is_played_by_its_time() -> None:
    rest = continuation()
    rest.remember(actions(), T0_NS, now_ns=T0_NS)
    t0_ns = T0_NS + round(0.3 * S_NS)
    rest.remember(actions(), t0_ns, now_ns=t0_ns + round(0.3 * S_NS))
    assert prefix_of(rest, t0_ns + round(0.4 * S_NS))[0] == 8.0


def test_only_the_time_of_standing_still_does_not_pass() -> None:
    rest = continuation()
    rest.remember(actions(), T0_NS, now_ns=T0_NS)  # ends at 0.75 s
    t0_ns = T0_NS + round(0.65 * S_NS)
    rest.remember(actions(), t0_ns, now_ns=T0_NS + round(0.95 * S_NS))  # 0.2 s too late
    assert prefix_of(rest, t0_ns + round(0.5 * S_NS))[0] == 6.0


def test_after_a_stop_nothing_is_gone_on_from_until_the_next_chunk() -> None:
    rest = continuation()
    rest.remember(actions(), T0_NS, now_ns=T0_NS)
    rest.forget(T0_NS + round(0.1 * S_NS))
    assert rest.options(T0_NS + round(0.2 * S_NS), latency_s=LATENCY_S) is None
    t0_ns = T0_NS + round(0.2 * S_NS)
    rest.remember(actions(), t0_ns, now_ns=t0_ns + round(0.1 * S_NS))
    assert prefix_of(rest, t0_ns + round(0.1 * S_NS))[0] == 0.0


def test_the_prefix_is_a_copy() -> None:
    rest, mine = continuation(), actions()
    rest.remember(mine, T0_NS)
    prefix_of(rest, T0_NS)[:] = 99.0
    assert_array_equal(mine["gripper"], actions()["gripper"])
