# SPDX-License-Identifier: Apache-2.0
"""A policy that takes longer than its chunks last: the arm holds safely, and the status says so."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field

import numpy as np
import pytest
from limit_checks import require_within

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import PlayerSettings
from gr00t_policy_core.control.replan import ReplanTimer

LIMITS = JointLimits(-40.0, 40.0, 3.0, 25.0, 500.0)
PERIOD_S, DT_S, HORIZON = 0.01, 0.05, 21  # a chunk lasts a second
CHUNK_S = DT_S * (HORIZON - 1)
SPEED = 0.5


@dataclass
class Loop:
    """A policy that sees where the arm is and climbs on from there; it answers after a latency."""

    latency_s: float
    sync: bool
    commands: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.player = MotionPlayer(
            ActionLayout({"arm": 1}), PlayerSettings(period_s=PERIOD_S, limits={0: LIMITS})
        )
        self.timer = ReplanTimer(chunk_s=CHUNK_S, step_s=DT_S, interval_s=None, sync=self.sync)
        self.accepted = 0
        self.reasons: set[str] = set()

    def run(self, seconds: float) -> None:
        due_s, asked_s, place = 0.0, None, 0.0
        for tick in range(round(seconds / PERIOD_S)):
            now_s = 100.0 + tick * PERIOD_S
            now_ns = round(now_s * 1e9)
            self.player.measure({0: self.arm}, now_ns)
            if asked_s is None and now_s >= due_s:
                asked_s, place = now_s, self.arm
            if asked_s is not None and now_s >= asked_s + self.latency_s:
                self._offer(place, round(asked_s * 1e9), now_ns)
                due_s = self.timer.next_s(observed_s=asked_s, asked_s=asked_s, answered_s=now_s)
                asked_s = None
            command = self.player.tick(now_ns)
            self.reasons.add(self.player.reason)
            if command is not None:
                self.commands.append(command)

    @property
    def arm(self) -> float:
        return float(self.commands[-1].values["arm"][0]) if self.commands else 0.0

    def require_smooth(self) -> None:
        path = [float(command.values["arm"][0]) for command in self.commands]
        require_within(np.array([path[0]] * 3 + path), LIMITS, PERIOD_S)

    def _offer(self, place: float, t0_ns: int, now_ns: int) -> None:
        rows = place + SPEED * DT_S * np.arange(HORIZON, dtype=np.float64)[:, None]
        with contextlib.suppress(ChunkRefusedError):
            self.player.offer(Chunk(self.accepted + 1, t0_ns, DT_S, {"arm": rows}), now_ns)
            self.accepted += 1


@pytest.mark.parametrize("latency_s", [0.3, 1.5, 4.0])
def test_in_turn_every_chunk_is_played_whole_however_long_it_took(latency_s: float) -> None:
    loop = Loop(latency_s, sync=True)
    loop.run(12 * (latency_s + 1.5))
    assert loop.player.counts.refused == 0
    assert loop.accepted >= 10
    assert loop.player.counts.steps_skipped == 0
    rested = loop.accepted - (not loop.commands[-1].at_rest)
    assert loop.arm >= rested * SPEED * CHUNK_S - 1e-6
    assert loop.timer.pace_problem == ""
    loop.require_smooth()


@pytest.mark.parametrize("latency_s", [1.2, 1.5, 4.0])
def test_played_while_the_next_is_computed_the_arm_holds_moves_and_says_why(
    latency_s: float,
) -> None:
    loop = Loop(latency_s, sync=False)
    loop.run(12 * latency_s)
    assert loop.commands[-1].chunk_id >= 4
    assert loop.arm > 3 * SPEED * CHUNK_S
    assert any("ended and no other came" in reason for reason in loop.reasons)
    pace_problem = loop.timer.pace_problem
    found = re.match(r"the policy takes (\d\.\d\d) s, a chunk lasts 1\.00 s", pace_problem)
    assert found is not None
    assert float(found[1]) == pytest.approx(latency_s, abs=0.011)
    assert "inference: sync" in pace_problem
    loop.require_smooth()


def test_a_policy_that_keeps_up_is_not_complained_of() -> None:
    loop = Loop(0.4, sync=False)
    loop.run(8.0)
    assert loop.timer.pace_problem == ""
    assert loop.player.counts.holds == 0
    assert loop.player.counts.refused == 0
    loop.require_smooth()
