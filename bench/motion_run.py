# SPDX-License-Identifier: Apache-2.0
"""One episode of the simulated arm in virtual time, through the product's own control side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.motion_parts import (
    DIMENSIONS,
    LIMIT_S,
    SETTLE_S,
    Case,
    VirtualPolicyNode,
    VirtualRobot,
    demo_contract,
)
from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_ros.control.motion_setup import make_player
from gr00t_ros.sim.feedback import FeedbackExpert
from gr00t_ros.sim.world import CUBE_NAMES, SimulatedArm


@dataclass(frozen=True, slots=True)
class Recording:
    """What was commanded in one episode.

    Attributes:
        case: The episode.
        completion_s: When the cube was in the bin and let go, s; None where it was not.
        commands: float64 (ticks, 7), from the first command on: rad, the gripper in m.
        fresh: bool (ticks,): the command is from a chunk.
        ages_s: Age of the observation behind each fresh command, s.
        switches: Ticks at which another chunk took over from one in play, or from a standstill.
        chunk_jumps: How far the chunk was from the path there, rad or m.
        limiter_hits: Ticks in which a limit bound a joint.
        refused: Chunks that were refused.
        requests: How often the policy was asked.
        lost: How many of these were not answered.
    """

    case: Case
    completion_s: float | None
    commands: NDArray[np.float64]
    fresh: NDArray[np.bool_]
    ages_s: NDArray[np.float64]
    switches: NDArray[np.int64]
    chunk_jumps: NDArray[np.float64]
    limiter_hits: int
    refused: int
    requests: int
    lost: int


def run_case(arm: SimulatedArm, expert: FeedbackExpert, case: Case) -> Recording:
    """Run one episode to its end."""
    return Episode(arm, expert, case).run()


class Episode:
    def __init__(self, arm: SimulatedArm, expert: FeedbackExpert, case: Case) -> None:
        contract = demo_contract(case.strategy.blend)
        self._cube = CUBE_NAMES[case.seed % len(CUBE_NAMES)]
        self._arm, self._case = arm, case
        arm.reset(case.seed)
        self._player: MotionPlayer = make_player(contract, ActionLayout(DIMENSIONS), {})
        self._policy = VirtualPolicyNode(expert, case, contract, self._cube)
        self._period_s = 1.0 / contract.control_rate_hz
        self._robot = VirtualRobot(arm, self._period_s)
        self._commands: list[NDArray[np.float64]] = []
        self._fresh: list[bool] = []
        self._ages_s: list[float] = []
        self._switches: list[int] = []
        self._offsets: list[float] = []

    def run(self) -> Recording:
        done_s: float | None = None
        tick = 0
        while (now_s := tick * self._period_s) < LIMIT_S:
            self._control(now_s)
            self._move()
            if done_s is None and self._robot.has_released(self._cube):
                done_s = now_s
            if done_s is not None and now_s >= done_s + SETTLE_S:
                break
            tick += 1
        in_bin = self._arm.cube_in_bin(self._cube)
        return self._recording(done_s if in_bin else None)

    def _control(self, now_s: float) -> None:
        """One tick of both nodes: what is measured comes in, what is due goes out."""
        now_ns = round(now_s * 1e9)
        self._player.measure(dict(enumerate(self._arm.positions.tolist())), now_ns)
        if self._policy.wants_observation(now_s):
            self._policy.ask(self._robot.history(), self._arm.render("front"), now_s)
        chunk = self._policy.answer(now_s)
        if chunk is not None:
            self._offer(chunk, now_ns)
        command = self._player.tick(now_ns)
        if command is None:
            return
        vector = np.concatenate([command.values[key] for key in DIMENSIONS])
        self._arm.set_target_vector(vector)
        self._commands.append(vector)
        self._fresh.append(not command.holding)
        if command.observed_ns is not None:
            self._ages_s.append((now_ns - command.observed_ns) * 1e-9)

    def _offer(self, chunk: Chunk, now_ns: int) -> None:
        try:
            self._player.offer(chunk, now_ns)
        except ChunkRefusedError:
            return  # counted by the player
        if self._commands:
            self._switches.append(len(self._commands))
            self._offsets.append(self._player.chunk_jump)

    def _move(self) -> None:
        self._robot.move()

    def _recording(self, completion_s: float | None) -> Recording:
        counts = self._player.counts
        return Recording(
            case=replace(self._case),
            completion_s=completion_s,
            commands=np.array(self._commands).reshape(-1, sum(DIMENSIONS.values())),
            fresh=np.array(self._fresh, dtype=bool),
            ages_s=np.array(self._ages_s),
            switches=np.array(self._switches, dtype=np.int64),
            chunk_jumps=np.array(self._offsets),
            limiter_hits=sum(counts.limit_hits.values()),
            refused=counts.refused,
            requests=self._policy.requests,
            lost=self._policy.lost,
        )
