# SPDX-License-Identifier: Apache-2.0
"""What an episode of the motion benchmark is made of: the case, the robot, and who asks the policy.

One process and one clock, which stands still while the policy thinks: what an answer costs is what
the link says, not what this machine takes. The same case gives the same run on any machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bench.motion_link import Fate, fates
from bench.processes import ROOT
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.replan import ReplanTimer
from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.contract.motion_parameters import BLEND_MODES
from gr00t_ros.policy.continuation import Continuation
from gr00t_ros.policy.inference_worker import RETRY_S
from gr00t_ros.sim.feedback import HORIZON, LANGUAGE_KEY, STEP_S, FeedbackExpert
from gr00t_ros.sim.world import SimulatedArm

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


def demo_contract(blend: str, **changes: Any) -> Contract:
    """The demo's own configuration, with another blend mode and other changes."""
    content = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
    values = {**dict(_flat(content["/**"]["ros__parameters"])), "blend": blend}
    return parse_contract(values | {name.replace("__", "."): v for name, v in changes.items()})


class VirtualRobot:
    """The simulated arm with its cameras, stepped from tick to tick.

    Args:
        arm: The arm, in the scene to begin with.
        period_s: Time between two ticks, s.
    """

    def __init__(self, arm: SimulatedArm, period_s: float) -> None:
        self.arm = arm
        self._steps_per_tick = round(period_s / arm.timestep_s)
        # Positions after each step of physics, as far back as the expert looks.
        self._past = deque([arm.positions], maxlen=round(2 * STEP_S / arm.timestep_s) + 2)

    def move(self) -> None:
        """Let a tick's time pass."""
        for _ in range(self._steps_per_tick):
            self.arm.step()
            self._past.append(self.arm.positions)

    def history(self) -> NDArray[np.float32]:
        """Joints two steps ago, one step ago and now, float32 (3, 7), interpolated in time."""
        past = np.array(self._past)
        ages = np.arange(len(past))[::-1] * self.arm.timestep_s
        wanted = np.array([2 * STEP_S, STEP_S, 0.0])
        columns = [np.interp(-wanted, -ages, column) for column in past.T]
        return np.stack(columns, axis=-1).astype(np.float32)

    def has_released(self, cube: str) -> bool:
        """Whether the cube lies in the bin, and the jaws are open."""
        return bool(self.arm.positions[6] > RELEASED_M and self.arm.cube_in_bin(cube))


class VirtualPolicyNode:
    """The policy node's part: asks in time, and has one request under way at most.

    Args:
        expert: The policy.
        case: How it is asked, and how long that takes.
        contract: The demo's.
        cube: The colour of the cube that the instruction names.
    """

    def __init__(self, expert: FeedbackExpert, case: Case, contract: Contract, cube: str) -> None:
        strategy = case.strategy
        self._expert = expert
        self.instruct(cube)
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

    def instruct(self, cube: str) -> None:
        """Ask for another cube from now on."""
        self._instruction = f"pick up the {cube} cube and put it into the bin"

    def ask_anew(self, now_s: float) -> None:
        """Ask at once, and drop the answer that is on its way."""
        self._pending, self._due_s = None, now_s
        if self._continuation is not None:
            self._continuation.forget(round(now_s * 1e9))

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


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested YAML as ROS names parameters: joined by dots."""
    items: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            items += _flat(value, f"{prefix}{name}.")
        else:
            items.append((f"{prefix}{name}", value))
    return items
