# SPDX-License-Identifier: Apache-2.0
"""Whatever chunks, joints, clocks and operators do: properties that no command may break."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from limit_checks import require_within
from numpy.testing import assert_allclose, assert_array_equal

hypothesis = pytest.importorskip("hypothesis", reason="makes up the runs of these tests")
from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from motion_strategies import DT_S, MS_NS, SETTINGS, T0_NS  # noqa: E402

from gr00t_policy_core.control.action_layout import ActionLayout  # noqa: E402
from gr00t_policy_core.control.blend import BlendMode  # noqa: E402
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError  # noqa: E402
from gr00t_policy_core.control.command import Command  # noqa: E402
from gr00t_policy_core.control.joint_limits import JointLimits  # noqa: E402
from gr00t_policy_core.control.measured_state import MOVED  # noqa: E402
from gr00t_policy_core.control.player import MotionPlayer  # noqa: E402
from gr00t_policy_core.control.player_settings import (  # noqa: E402
    ObservationAgeLimit,
    OutOfRange,
    PlayerSettings,
)
from gr00t_policy_core.control.recording import RecordingPlayer, replay  # noqa: E402
from gr00t_policy_core.control.schedule_settings import ScheduleSettings  # noqa: E402

PLAYER_LIMITS = {
    0: JointLimits(-1.5, 1.5, 2.0, 20.0, 400.0),
    1: JointLimits(-0.5, 2.5, 1.0, 8.0, 100.0),
}


PERIOD_S = 0.01


def make_player(
    kind: type[MotionPlayer], blend: BlendMode, max_jump: float, **changes: Any
) -> MotionPlayer:
    return kind(
        ActionLayout({"arm": 2, "hand": 7, "base": 1}, poses=["hand"], velocities=["base"]),
        PlayerSettings(
            period_s=PERIOD_S,
            schedule=ScheduleSettings(blend, cubic=True),
            limits=PLAYER_LIMITS,
            max_jump=max_jump,
            max_joint_ages_s={0: 0.2, 1: 0.2},
            **changes,
        ),
    )


@dataclass
class Run:
    """A player of an arm that may be blocked and pushed about, in ticks of the control period."""

    player: MotionPlayer
    follows: bool
    now_ns: int = T0_NS
    arm: tuple[float, float] = (0.0, 0.0)
    measured: tuple[float, float] = (np.nan, np.nan)
    first_measured: tuple[float, float] = (np.nan, np.nan)
    numbers: int = 0
    commands: list[Command] = field(default_factory=list)
    measured_at: list[tuple[float, float]] = field(default_factory=list)  # of each command
    joints_alive: bool = True

    def tick(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now_ns += round(PERIOD_S * 1e9)
            if self.joints_alive:
                self.measured = self.arm
                self.player.measure(dict(enumerate(self.arm)), self.now_ns)
            command = self.player.tick(self.now_ns)
            if command is None:
                continue
            if not self.commands:
                self.first_measured = self.measured  # a push may be unmeasured
            self.commands.append(command)
            self.measured_at.append(self.measured)
            if self.follows:
                self.arm = tuple(command.values["arm"].tolist())

    def chunk(self, seed: int, late_ms: int) -> None:
        self.numbers += 1
        rng = np.random.default_rng(seed)
        horizon = int(rng.integers(1, 25))
        arm = rng.uniform(-2.0, 2.0, 2) + np.cumsum(rng.normal(0, 0.1, (horizon, 2)), axis=0)
        quaternions = rng.normal(size=(horizon, 4))
        quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
        hand = np.hstack([rng.normal(size=(horizon, 3)), quaternions])
        actions = {"arm": arm, "hand": hand, "base": rng.normal(size=(horizon, 1))}
        t0_ns = self.now_ns - late_ms * MS_NS
        with contextlib.suppress(ChunkRefusedError):
            self.player.offer(Chunk(self.numbers, t0_ns, DT_S, actions), self.now_ns)

    def told(self) -> list[slice]:
        """The spans of commands that the robot is told: not those while somebody moves it."""
        withheld = [command.is_withheld for command in self.commands]
        bounds = [i for i in range(1, len(withheld)) if withheld[i] != withheld[i - 1]]
        edges = [0, *bounds, len(withheld)]
        return [slice(*pair) for pair in pairwise(edges) if not withheld[pair[0]]]

    def do(self, what: str, value: int) -> None:
        if what == "tick":
            self.tick(value % 60)
        elif what == "chunk":
            self.chunk(value, late_ms=value % 700 - 50)
        elif what == "burst":
            for late_ms in (900, 600, 300, 300, 0):
                self.chunk(value, late_ms)
        elif what == "clock":
            self.now_ns += (value % 7 - 3) * 400 * MS_NS
        elif what == "joints":
            self.joints_alive = bool(value % 2)
        elif what == "allow":
            self.player.inhibit("" if value % 2 else "the enable signal is off")
        elif what == "hold":
            self.player.hold(self.now_ns, "told to stop")
        elif what == "push":
            self.arm = self.arm[0] + (value % 401 - 200) / 100, self.arm[1] - value % 7 / 10
        elif what == "stall":
            self.now_ns += value * MS_NS
        elif what == "limits":
            self.player.change_limits(
                {0: PLAYER_LIMITS[0], 1: PLAYER_LIMITS[1 - value % 2]}
                if value % 3
                else PLAYER_LIMITS,
                self.now_ns,
            )


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("tick", "tick", "tick", "chunk", "chunk", "chunk", "burst", "clock", "joints"),
                *("allow", "hold", "push", "stall", "limits"),
            ]
        ),
        st.integers(0, 10_000),
    ),
    min_size=3,
    max_size=25,
)


WIDEST = JointLimits(-np.inf, np.inf, 2.0, 20.0, 400.0)


@settings(SETTINGS, max_examples=100)
@given(
    ACTIONS,
    st.sampled_from(BlendMode),
    st.booleans(),
    st.sampled_from([0.3, np.inf]),
    st.sampled_from(OutOfRange),
    st.sampled_from([0.2, np.inf]),
)
@example(
    [("chunk", 0), ("joints", 0), ("push", 0)],
    BlendMode.REPLACE,
    False,
    np.inf,
    OutOfRange.REFUSE,
    0.2,
)
@example(  # somebody moves the stopped robot: it is told nothing until it stands still
    [("chunk", 9114), ("allow", 1762), ("tick", 6632), ("push", 9370), ("tick", 1299)],
    BlendMode.REPLACE,
    False,
    np.inf,
    OutOfRange.RETURN,
    0.2,
)
def test_whatever_happens_in_whatever_order_the_commands_stay_within_the_limits(
    actions: list[tuple[str, int]],
    blend: BlendMode,
    follows: bool,
    max_jump: float,
    out_of_range: OutOfRange,
    max_following_error: float,
) -> None:
    player = make_player(
        MotionPlayer,
        blend,
        max_jump,
        out_of_range=out_of_range,
        max_following_errors=dict.fromkeys(PLAYER_LIMITS, max_following_error),
        observation_age=ObservationAgeLimit(None),
    )
    run = Run(player, follows)
    run.tick(1)
    for what, value in actions:
        run.do(what, value)
    run.tick(5)
    if len(run.commands) < 4:
        return
    vectors = np.array([np.concatenate(list(c.values.values())) for c in run.commands])
    assert np.isfinite(vectors).all()
    assert_allclose(vectors[0, :2], run.first_measured, rtol=0.0, atol=MOVED)
    is_left_alone = not any(what in ("push", "limits") for what, _ in actions)
    for span in run.told():
        begun_at = run.measured_at[span.start]
        assert_allclose(vectors[span][0, :2], begun_at, rtol=0.0, atol=MOVED)
        if is_left_alone:
            steps = np.abs(vectors[span][0, :2] - begun_at)
            assert (
                steps <= [limits.velocity * PERIOD_S for limits in PLAYER_LIMITS.values()]
            ).all()
        for index, limits in PLAYER_LIMITS.items():
            if span.stop - span.start > 3:
                bounds = limits if is_left_alone else WIDEST
                require_within(vectors[span, index], bounds, PERIOD_S)
    assert_allclose(np.linalg.norm(vectors[:, 5:9], axis=1), 1.0, atol=1e-9)
    assert (vectors[[c.holding for c in run.commands], 9] == 0.0).all()


@SETTINGS
@given(ACTIONS, st.sampled_from(BlendMode))
def test_a_player_left_alone_comes_to_rest_and_stays_there(
    actions: list[tuple[str, int]], blend: BlendMode
) -> None:
    run = Run(make_player(MotionPlayer, blend, np.inf), follows=True)
    for what, value in actions:
        run.do(what, value)
    run.tick(1500)
    if not run.commands:
        return
    assert run.commands[-1].at_rest
    assert run.player.reason
    still = [np.concatenate(list(c.values.values())) for c in run.commands[-200:]]
    assert_array_equal(still, [still[0]] * 200)


@SETTINGS
@given(ACTIONS, st.sampled_from(BlendMode))
def test_a_recorded_run_gives_the_same_commands_again_bit_for_bit(
    actions: list[tuple[str, int]], blend: BlendMode
) -> None:
    recorder = make_player(RecordingPlayer, blend, 0.3)
    assert isinstance(recorder, RecordingPlayer)
    run = Run(recorder, follows=True)
    for what, value in actions:
        run.do(what, value)
    again = [c for c in replay(recorder.events, make_player(MotionPlayer, blend, 0.3)) if c]
    assert len(again) == len(run.commands)
    for new, old in zip(again, run.commands, strict=True):
        assert (new.chunk_id, new.holding, new.at_rest) == (old.chunk_id, old.holding, old.at_rest)
        assert_array_equal(new.values["arm"], old.values["arm"])
        assert_array_equal(new.values["hand"], old.values["hand"])
