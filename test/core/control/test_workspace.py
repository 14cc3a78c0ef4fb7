# SPDX-License-Identifier: Apache-2.0
"""Whatever chunks ask for and whoever stops the robot: the tip stays inside its workspace."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from limit_checks import PERIODS_S, require_within

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from bench.arms import seven_joint_arm  # noqa: E402
from gr00t_policy_core.control import workspace as workspace_module  # noqa: E402
from gr00t_policy_core.control.action_layout import ActionLayout  # noqa: E402
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError  # noqa: E402
from gr00t_policy_core.control.joint_limits import JointLimits  # noqa: E402
from gr00t_policy_core.control.player import MotionPlayer  # noqa: E402
from gr00t_policy_core.control.player_settings import (  # noqa: E402
    ObservationAgeLimit,
    OutOfRange,
    PlayerSettings,
)
from gr00t_policy_core.control.workspace import (  # noqa: E402
    OUTSIDE_TOLERANCE_M,
    Side,
    Workspace,
    box_sides,
    floor_side,
)
from gr00t_policy_core.kinematics.chain import Chain  # noqa: E402

SETTINGS = settings(deadline=None, max_examples=60, derandomize=True)
T0_NS = 1_700_000_000_000_000_000
DT_S = 0.05
LINKS_M = (0.4, 0.3, 0.2)
START = np.array([0.9, -1.2, 0.6])  # the tip is at x 0.72, z 0.28 m


class PlanarArm:
    """Three links that turn in the plane of x and z."""

    levers = np.array([0.9, 0.5, 0.2])

    def position(self, joints: np.ndarray) -> np.ndarray:
        angles = np.cumsum(joints)
        return np.array([LINKS_M @ np.cos(angles), 0.0, LINKS_M @ np.sin(angles)])


class FarReachingArm(PlanarArm):
    """The same arm, of which less is known: every way to rest has to be followed."""

    levers = np.full(3, 1e9)


class LostArm(PlanarArm):
    """The same arm, of which nobody knows where it is."""

    def position(self, joints: np.ndarray) -> np.ndarray:
        return np.full(3, np.nan)


BOX = tuple(box_sides((0.3, -1.0, 0.0), (0.8, 1.0, 0.6)))
FLOOR = floor_side(0.0, 0.0, 1.0, 0.1)


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


LIMITS = st.builds(
    JointLimits,
    lower=st.just(-3.0),
    upper=st.just(3.0),
    velocity=reals(0.2, 5.0),
    acceleration=reals(1.0, 50.0),
    jerk=reals(20.0, 2000.0),
)
# Chunks: (ticks until the next one, joint speeds in rad/s, what happens after it).
CHUNKS = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.tuples(reals(-4.0, 4.0), reals(-4.0, 4.0), reals(-4.0, 4.0)),
        st.sampled_from(["play", "hold", "inhibit", "wait"]),
    ),
    min_size=1,
    max_size=8,
)


def lowest_gap_m(commands: np.ndarray, sides: tuple[Side, ...]) -> float:
    """How far inside all sides the tips of commands (n, 3) stay, m."""
    tips = np.array([PlanarArm().position(command) for command in commands])
    return min(float((tips @ side.normal).min() - side.offset_m) for side in sides)


class Rig:
    """A player of the arm that follows its commands, on a clock that only `tick` moves."""

    def __init__(
        self,
        sides: tuple[Side, ...],
        limits: JointLimits,
        period_s: float = 0.01,
        *,
        start: np.ndarray = START,
        arm: type[PlanarArm] = PlanarArm,
        **changes: Any,
    ) -> None:
        workspace = Workspace("arm", (0, 1, 2), arm(), sides)
        self.period_ns = round(period_s * 1e9)
        self.player = MotionPlayer(
            ActionLayout({"arm": 3}, names={"arm": ("one", "two", "three")}),
            PlayerSettings(
                period_s=period_s,
                limits=dict.fromkeys(range(3), limits),
                workspaces=(workspace,),
                max_joint_ages_s=dict.fromkeys(range(3), 5.0),
                observation_age=ObservationAgeLimit(5.0),
                **changes,
            ),
        )
        self.now_ns = T0_NS
        self.joints = start
        self.commands: list[np.ndarray] = []
        self.chunk_id = 0
        self.measure()

    def measure(self) -> None:
        self.player.measure(dict(enumerate(self.joints.tolist())), self.now_ns)

    def offer(self, speeds: tuple[float, float, float], horizon: int = 20) -> None:
        self.chunk_id += 1
        rows = self.joints + DT_S * np.arange(horizon)[:, None] * np.array(speeds)
        self.player.offer(Chunk(self.chunk_id, self.now_ns, DT_S, {"arm": rows}), self.now_ns)

    def tick(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now_ns += self.period_ns
            self.measure()
            command = self.player.tick(self.now_ns)
            if command is not None:
                self.joints = np.array(command.values["arm"])
                self.commands.append(self.joints)


def run(rig: Rig, chunks: list[tuple[int, tuple[float, float, float], str]]) -> np.ndarray:
    """All commands of a run (n, 3)."""
    for ticks, speeds, after in chunks:
        with contextlib.suppress(ChunkRefusedError):
            rig.offer(speeds)
        rig.tick(ticks)
        if after == "hold":
            rig.player.hold(rig.now_ns, "stopped")
        rig.player.inhibit("not enabled" if after == "inhibit" else "")
        rig.tick(ticks if after == "wait" else 1)
    rig.tick(50)
    return np.array(rig.commands).reshape(-1, 3)


@SETTINGS
@given(chunks=CHUNKS, limits=LIMITS, period_s=st.sampled_from(PERIODS_S), with_floor=st.booleans())
def test_the_tip_never_leaves_and_no_limit_is_broken(
    chunks: list[tuple[int, tuple[float, float, float], str]],
    limits: JointLimits,
    period_s: float,
    with_floor: bool,
) -> None:
    sides = (*BOX, FLOOR) if with_floor else BOX
    commands = run(Rig(sides, limits, period_s), chunks)
    if len(commands):
        assert lowest_gap_m(commands, sides) >= 0.0
        series = np.concatenate([np.repeat(START[None], 3, axis=0), commands])
        for joint in range(3):
            require_within(series[:, joint], limits, period_s)


@settings(SETTINGS, max_examples=20)
@given(chunks=CHUNKS, limits=LIMITS)
def test_the_bound_by_levers_changes_no_command(
    chunks: list[tuple[int, tuple[float, float, float], str]], limits: JointLimits
) -> None:
    quick = run(Rig(BOX, limits), chunks)
    exact = run(Rig(BOX, limits, arm=FarReachingArm), chunks)
    np.testing.assert_array_equal(quick, exact)


@settings(SETTINGS, max_examples=20)
@given(chunks=CHUNKS, limits=LIMITS)
def test_a_workspace_out_of_reach_changes_no_command(
    chunks: list[tuple[int, tuple[float, float, float], str]], limits: JointLimits
) -> None:
    wide = tuple(box_sides((-9.0, -9.0, -9.0), (9.0, 9.0, 9.0)))
    np.testing.assert_array_equal(run(Rig(wide, limits), chunks), run(Rig((), limits), chunks))


QUICK = JointLimits(-3.0, 3.0, 3.0, 25.0, 500.0)


def test_a_chunk_that_leads_out_ends_near_the_side_with_its_name() -> None:
    rig = Rig((FLOOR,), QUICK)
    rig.offer((-0.8, 0.0, 0.0), horizon=40)
    rig.tick(150)

    tip = PlanarArm().position(rig.joints)
    assert 0.1 <= tip[2] < 0.11  # 1 cm: it braked late, and not early
    assert "the tip of arm cannot go further: it would cross floor (0.100 m)" in rig.player.reason
    assert rig.player.counts.limit_hits["workspace"] == 1
    rig.offer((0.5, 0.0, 0.0))
    rig.tick(30)
    assert rig.player.reason == ""
    assert PlanarArm().position(rig.joints)[2] > 0.15


def test_the_next_chunk_that_leads_out_moves_nothing_further() -> None:
    rig = Rig((FLOOR,), QUICK)
    for _ in range(6):
        rig.offer((-0.8, 0.0, 0.0), horizon=40)
        rig.tick(120)
    commands = np.array(rig.commands)
    assert lowest_gap_m(commands, (FLOOR,)) >= 0.0
    for joint in range(3):
        require_within(commands[:, joint], QUICK, 0.01)


def test_a_tip_that_is_pushed_against_a_side_again_and_again_stays_inside() -> None:
    rig = Rig((FLOOR,), QUICK)
    for push in range(120):
        rig.offer((-0.01 if push < 60 else -1e-4, 0.0, 0.0), horizon=10)
        rig.tick(60 if push < 60 else 20)
    assert lowest_gap_m(np.array(rig.commands), (FLOOR,)) >= 0.0


def test_a_tip_whose_place_is_not_a_number_does_not_move() -> None:
    rig = Rig((FLOOR,), QUICK, arm=LostArm)
    rig.offer((0.5, 0.0, 0.0))
    rig.tick(20)
    np.testing.assert_array_equal(rig.commands, np.repeat(START[None], 20, axis=0))


def test_a_way_to_rest_that_is_too_long_to_follow_counts_as_leaving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workspace_module, "MAX_TICKS", 10)
    rig = Rig(BOX, QUICK, arm=FarReachingArm)
    rig.offer((0.0, 2.0, -2.0))
    longest_s = 0.0
    for _ in range(40):
        rig.tick(1)
        longest_s = max(longest_s, rig.player.braking_s)
    assert 0.05 < longest_s <= 10 * 0.01
    assert rig.player.counts.limit_hits["workspace"] == 1


def test_a_tip_that_is_measured_outside_is_not_moved() -> None:
    below = np.array([0.2, -0.3, -0.2])  # the tip is at z 0.01 m
    rig = Rig((FLOOR,), QUICK, start=below)
    with pytest.raises(ChunkRefusedError, match=r"tip of arm is 0\.\d+ m outside, beyond floor"):
        rig.offer((0.5, 0.0, 0.0))
    rig.tick(5)
    assert rig.commands == []


def test_a_tip_that_sags_out_a_little_is_moved_back_and_no_further_out() -> None:
    height = PlanarArm().position(START)[2]
    floor = floor_side(0.0, 0.0, 1.0, height + 0.5 * OUTSIDE_TOLERANCE_M)
    rig = Rig((floor,), QUICK)
    rig.offer((-0.5, 0.0, 0.0))
    rig.tick(40)
    lowest = PlanarArm().position(rig.joints)[2]
    assert lowest >= height - 1e-5

    rig.offer((0.5, 0.0, 0.0))
    rig.tick(60)
    rig.offer((-0.5, 0.0, 0.0), horizon=60)
    rig.tick(200)
    assert PlanarArm().position(rig.joints)[2] >= floor.offset_m  # for good


def test_a_tip_outside_returns_where_that_is_asked_for() -> None:
    below = np.array([0.2, -0.3, -0.2])
    rig = Rig((FLOOR,), QUICK, start=below, out_of_range=OutOfRange.RETURN)
    rig.offer((0.6, 0.0, 0.0), horizon=40)
    rig.tick(150)
    heights = [PlanarArm().position(command)[2] for command in rig.commands]
    assert min(heights) >= PlanarArm().position(below)[2] - 1e-5
    assert heights[-1] > FLOOR.offset_m


def test_a_robot_that_is_moved_outside_by_hand_is_held_there() -> None:
    rig = Rig((FLOOR,), QUICK)
    rig.offer((0.1, 0.0, 0.0), horizon=5)
    rig.tick(80)
    rig.player.inhibit("not enabled")
    moved = np.array([0.2, -0.3, -0.2])
    for _ in range(200):
        rig.joints = moved
        rig.now_ns += rig.period_ns
        rig.measure()
        command = rig.player.tick(rig.now_ns)
        assert command is not None
    np.testing.assert_allclose(command.values["arm"], moved, atol=1e-6)


def test_the_copy_that_looks_ahead_stops_at_the_same_side() -> None:
    pytest.importorskip("pinocchio", reason="computes the kinematics")
    arm = seven_joint_arm()
    chain = Chain(arm.urdf, arm.base, arm.tip)
    home = np.array(arm.home)
    floor = floor_side(0.0, 0.0, 1.0, float(chain.position(home)[2]) - 0.05)
    player = MotionPlayer(
        ActionLayout({"arm": chain.size}),
        PlayerSettings(
            period_s=0.01,
            limits=dict.fromkeys(range(chain.size), QUICK),
            workspaces=(Workspace("arm", tuple(range(chain.size)), chain, (floor,)),),
        ),
    )
    player.measure(dict(enumerate(home.tolist())), T0_NS)
    rows = home + np.arange(20)[:, None] * DT_S * np.eye(chain.size)[1]
    player.offer(Chunk(1, T0_NS, DT_S, {"arm": rows}), T0_NS)
    copy = player.copy_ahead()

    paths = []
    for one in (copy, player):
        commands = [one.tick(T0_NS + tick * 10_000_000) for tick in range(1, 100)]
        assert "would cross floor" in one.reason
        paths.append([command.vector for command in commands if command is not None])
    np.testing.assert_array_equal(*paths)


def test_a_tilted_floor_counts_along_its_own_normal() -> None:
    side = floor_side(0.0, 3.0, 4.0, 0.5)
    assert side == Side("floor", (0.0, 0.6, 0.8), 0.1)
    with pytest.raises(ValueError, match="length 0"):
        floor_side(0.0, 0.0, 0.0, 1.0)


def test_a_box_without_a_bound_has_no_side_there() -> None:
    inf = float("inf")
    assert [side.name for side in box_sides((-inf, 0.0, 0.0), (inf, inf, 1.0))] == [
        "y_min",
        "z_min",
        "z_max",
    ]
