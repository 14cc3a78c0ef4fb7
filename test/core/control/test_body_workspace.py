# SPDX-License-Identifier: Apache-2.0
"""Whatever chunks ask for and whoever stops the robot: a commanded pose stays inside its box."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from limit_checks import PERIODS_S

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from gr00t_policy_core.control.action_layout import ActionLayout  # noqa: E402
from gr00t_policy_core.control.body_limits import BodyLimits  # noqa: E402
from gr00t_policy_core.control.body_workspace import BodyWorkspace  # noqa: E402
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError  # noqa: E402
from gr00t_policy_core.control.player import MotionPlayer  # noqa: E402
from gr00t_policy_core.control.player_settings import (  # noqa: E402
    ObservationAgeLimit,
    OutOfRange,
    PlayerSettings,
)
from gr00t_policy_core.control.workspace import box_sides, floor_side  # noqa: E402

T0_NS = 1_700_000_000_000_000_000
DT_S = 0.05
START = np.array([0.5, 0.0, 0.3, 0.0, 0.0, 0.0, 1.0])
LAYOUT = ActionLayout({"eef": 7}, ["eef"])
SIDES = (*box_sides((0.3, -0.2, 0.0), (0.8, 0.2, 0.6)), floor_side(0.0, 0.0, 1.0, 0.1))
SLOW = BodyLimits(0.5, 2.0, 1.0, 5.0)


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


LIMITS = st.builds(BodyLimits, reals(0.1, 2.0), reals(0.5, 20.0), reals(0.5, 3.0), reals(2.0, 20.0))
# Chunks: (ticks until the next one, velocity in m/s, what happens after it).
CHUNKS = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.tuples(reals(-3.0, 3.0), reals(-3.0, 3.0), reals(-3.0, 3.0)),
        st.sampled_from(["play", "hold", "inhibit"]),
    ),
    min_size=1,
    max_size=6,
)


def player_of(limits: BodyLimits, period_s: float, **changes: object) -> MotionPlayer:
    return MotionPlayer(
        LAYOUT,
        PlayerSettings(
            period_s=period_s,
            bodies={"eef": limits},
            body_workspaces=(BodyWorkspace("action.eef", "eef", LAYOUT.slices["eef"], SIDES),),
            observation_age=ObservationAgeLimit(60.0),
            **changes,
        ),
    )


def chunk_of(start: np.ndarray, velocity: np.ndarray, now_ns: int, number: int) -> Chunk:
    rows = np.repeat(start[None], 20, axis=0)
    rows[:, :3] += np.arange(20)[:, None] * DT_S * velocity
    return Chunk(number, now_ns, DT_S, {"eef": rows})


def depths(poses: np.ndarray) -> np.ndarray:
    """How far inside each side every pose is, (n, sides), m."""
    normals = np.array([side.normal for side in SIDES])
    return poses[:, :3] @ normals.T - [side.offset_m for side in SIDES]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(LIMITS, CHUNKS, st.sampled_from(PERIODS_S))
def test_no_command_leaves_the_box(
    limits: BodyLimits, chunks: list[tuple[int, tuple[float, float, float], str]], period_s: float
) -> None:
    player = player_of(limits, period_s)
    player.measure(dict(enumerate(START.tolist())), T0_NS)
    now_ns, last = T0_NS, START
    commands = []
    for number, (ticks, velocity, after) in enumerate(chunks, start=1):
        with contextlib.suppress(ChunkRefusedError):
            player.offer(chunk_of(last, np.array(velocity), now_ns, number), now_ns)
        for tick in range(ticks + 30):
            if tick == ticks and after == "hold":
                player.hold(now_ns, "somebody said so")
            player.inhibit("somebody says so" if tick >= ticks and after == "inhibit" else "")
            command = player.tick(now_ns)
            now_ns += round(period_s * 1e9)
            if command is not None:
                last = command.values["eef"]
                commands.append(last)
                player.measure(dict(enumerate(last.tolist())), now_ns)
    assert depths(np.array(commands or [START])).min() >= 0.0


def driven(player: MotionPlayer, ticks: int, now_ns: int = T0_NS) -> np.ndarray:
    commands = []
    for _ in range(ticks):
        command = player.tick(now_ns)
        now_ns += 10_000_000
        assert command is not None
        commands.append(command.values["eef"])
        player.measure(dict(enumerate(command.values["eef"].tolist())), now_ns)
    return np.array(commands)


def test_it_comes_to_rest_close_to_the_side_and_names_it() -> None:
    player = player_of(SLOW, 0.01)
    player.measure(dict(enumerate(START.tolist())), T0_NS)
    player.offer(chunk_of(START, np.array([0.0, 0.0, -0.4]), T0_NS, 1), T0_NS)
    commands = driven(player, 130)
    assert 0.1 <= commands[:, 2].min() < 0.1 + 0.005
    assert np.ptp(commands[-5:, 2]) == 0.0
    assert "the pose of action.eef cannot go further: it would cross floor (0.100 m)" in (
        player.reason
    )
    steps = np.linalg.norm(np.diff(commands[:, :3], axis=0), axis=1) / 0.01
    assert steps.max() <= SLOW.linear_velocity + 1e-9
    assert np.abs(np.diff(steps)).max() <= SLOW.linear_acceleration * 0.01 + 1e-6


def test_a_pose_outside_is_not_moved_or_only_back_inside() -> None:
    outside = START - [0.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0]
    down, up = np.array([0.0, 0.0, -0.3]), np.array([0.0, 0.0, 0.3])
    player = player_of(SLOW, 0.01)
    player.measure(dict(enumerate(outside.tolist())), T0_NS)
    with pytest.raises(ChunkRefusedError, match=r"action\.eef is 0\.050 m outside, beyond floor"):
        player.offer(chunk_of(outside, up, T0_NS, 1), T0_NS)

    player = player_of(SLOW, 0.01, out_of_range=OutOfRange.RETURN)
    player.measure(dict(enumerate(outside.tolist())), T0_NS)
    player.offer(chunk_of(outside, down, T0_NS, 1), T0_NS)
    assert driven(player, 30)[:, 2].min() > outside[2] - 1e-5
    now_ns = T0_NS + 300_000_000
    player.offer(chunk_of(outside, up, now_ns, 2), now_ns)
    assert driven(player, 95, now_ns)[-1, 2] > 0.2


def test_a_pose_that_is_pushed_against_a_side_again_and_again_stays_inside() -> None:
    player = player_of(SLOW, 0.01)
    start = START - [0.0, 0.0, 0.199, 0.0, 0.0, 0.0, 0.0]
    player.measure(dict(enumerate(start.tolist())), T0_NS)
    now_ns, last = T0_NS, start
    for number in range(1, 41):
        speed = 0.02 if number < 10 else 2e-5
        player.offer(chunk_of(last, np.array([0.0, 0.0, -speed]), now_ns, number), now_ns)
        last = driven(player, 60, now_ns)[-1]
        now_ns += 60 * 10_000_000
        assert depths(last[None]).min() >= 0.0
