# SPDX-License-Identifier: Apache-2.0
"""One episode of the simulated arm in virtual time, through the product's own control side.

One process and one clock, which stands still while the policy thinks: what an answer costs is what
the link says, not what this machine takes. The same case gives the same run on any machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bench.motion_link import Fate, fates
from bench.processes import ROOT
from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.replan import ReplanTimer
from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.contract.motion_parameters import BLEND_MODES
from gr00t_ros.control.motion_setup import make_player
from gr00t_ros.policy.continuation import Continuation
from gr00t_ros.policy.inference_worker import RETRY_S
from gr00t_ros.sim.feedback import HORIZON, LANGUAGE_KEY, STEP_S, FeedbackExpert
from gr00t_ros.sim.world import CUBE_NAMES, SimulatedArm

LIMIT_S = 30.0  # an episode that takes longer has failed
SETTLE_S = 0.5  # the cube must still be in the bin so long after it was let go
RELEASED_M = 0.018  # jaws this far open hold nothing
EXECUTED_STEPS = 8  # of each chunk, where it is asked for as often as in the demo
DIMENSIONS = {"single_arm": 6, "gripper": 1}
NO_PICTURE = np.zeros((1, 1, 2, 2, 3), np.uint8)  # of the wrist, which the expert does not look at


@dataclass(frozen=True, slots=True)
class Strategy:
    """How chunks are asked for and joined.

    Attributes:
        name: In the results.
        blend: The parameter `blend` of the control node.
        sync: Play the chunk, come to rest, ask, and wait for the answer.
        often: Ask every `EXECUTED_STEPS`, as the demo does, instead of as late as the measured
            latency allows, which is the default of `replan_interval_s`.
    """

    name: str
    blend: str
    sync: bool = False
    often: bool = False


STRATEGIES = (
    Strategy("sync+replace", "replace", sync=True),
    *(Strategy(f"async+{blend}", blend) for blend in BLEND_MODES),
    *(
        Strategy(f"async+{blend}, every {EXECUTED_STEPS} steps", blend, often=True)
        for blend in BLEND_MODES
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One episode to run; latency in s."""

    strategy: Strategy
    latency_s: float
    seed: int


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


def demo_contract(blend: str) -> Contract:
    """The demo's own configuration, with another blend mode."""
    content = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
    return parse_contract({**dict(_flat(content["/**"]["ros__parameters"])), "blend": blend})


def run_case(arm: SimulatedArm, expert: FeedbackExpert, case: Case) -> Recording:
    """Run one episode to its end."""
    return Episode(arm, expert, case).run()


class _Policy:
    """The policy node's part: asks in time, and has one request under way at most."""

    def __init__(self, expert: FeedbackExpert, case: Case, contract: Contract, cube: str) -> None:
        strategy = case.strategy
        self._expert = expert
        self._instruction = f"pick up the {cube} cube and put it into the bin"
        self._fates = fates(case.latency_s, case.seed)
        self._timer = ReplanTimer(
            chunk_s=(HORIZON - 1) * STEP_S,
            step_s=STEP_S,
            interval_s=EXECUTED_STEPS * STEP_S if strategy.often else None,
            sync=strategy.sync,
        )
        self._continuation = Continuation(step_s=STEP_S) if strategy.blend == "rtc" else None
        self._due_s = 0.0
        self._pending: tuple[Fate, Chunk, Mapping[str, Any], float] | None = None
        self.requests = self.lost = 0

    def wants_observation(self, now_s: float) -> bool:
        return self._pending is None and now_s >= self._due_s - 1e-9

    def ask(self, history: NDArray[np.float32], picture: NDArray[np.uint8], now_s: float) -> None:
        """Send an observation of the present."""
        observation = {
            "video": {"front": picture[None, None], "wrist": NO_PICTURE},
            "state": {"single_arm": history[None, :, :6], "gripper": history[None, :, 6:]},
            "language": {LANGUAGE_KEY: [[self._instruction]]},
        }
        t0_ns = round(now_s * 1e9)
        options = None
        if self._continuation is not None:
            latency_s = self._timer.latency.value_s
            options = self._continuation.options(t0_ns, latency_s=latency_s)
        action, _ = self._expert.get_action(observation, options)
        self.requests += 1
        rows = {key: values[0].astype(np.float64) for key, values in action.items()}
        chunk = Chunk(self.requests, t0_ns, STEP_S, rows)
        self._pending = (next(self._fates), chunk, action, now_s)

    def answer(self, now_s: float) -> Chunk | None:
        """The chunk that arrives now, if one does."""
        if self._pending is None:
            return None
        fate, chunk, action, asked_s = self._pending
        if now_s < asked_s + fate.delay_s - 1e-9:
            return None
        self._pending = None
        if fate.lost:
            self.lost += 1
            self._due_s = now_s + RETRY_S
            return None
        self._due_s = self._timer.next_s(observed_s=asked_s, asked_s=asked_s, answered_s=now_s)
        if self._continuation is not None:
            self._continuation.remember(action, chunk.t0_ns, now_ns=round(now_s * 1e9))
        return chunk


class Episode:
    def __init__(self, arm: SimulatedArm, expert: FeedbackExpert, case: Case) -> None:
        contract = demo_contract(case.strategy.blend)
        self._cube = CUBE_NAMES[case.seed % len(CUBE_NAMES)]
        self._arm, self._case = arm, case
        arm.reset(case.seed)
        self._player: MotionPlayer = make_player(contract, ActionLayout(DIMENSIONS), {})
        self._policy = _Policy(expert, case, contract, self._cube)
        self._period_s = 1.0 / contract.control_rate_hz
        self._steps_per_tick = round(self._period_s / arm.timestep_s)
        # Positions after each step of physics, as far back as the expert looks.
        self._past = deque([arm.positions], maxlen=round(2 * STEP_S / arm.timestep_s) + 2)
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
            released = self._arm.positions[6] > RELEASED_M and self._arm.cube_in_bin(self._cube)
            if done_s is None and released:
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
            self._policy.ask(self._history(), self._arm.render("front"), now_s)
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
        for _ in range(self._steps_per_tick):
            self._arm.step()
            self._past.append(self._arm.positions)

    def _history(self) -> NDArray[np.float32]:
        """Joints two steps ago, one step ago and now, float32 (3, 7), interpolated in time."""
        past = np.array(self._past)
        ages = np.arange(len(past))[::-1] * self._arm.timestep_s
        wanted = np.array([2 * STEP_S, STEP_S, 0.0])
        columns = [np.interp(-wanted, -ages, column) for column in past.T]
        return np.stack(columns, axis=-1).astype(np.float32)

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


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested YAML as ROS names parameters: joined by dots."""
    items: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            items += _flat(value, f"{prefix}{name}.")
        else:
            items.append((f"{prefix}{name}", value))
    return items
