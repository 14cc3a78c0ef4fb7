# SPDX-License-Identifier: Apache-2.0
"""One episode in which a person corrects the policy, in virtual time.

Chunks, the button and the leader arm go through the control node's own parts: `Supervision` and
`MotionControl`. The button is pressed, and the leader arm commands, at any time between two ticks.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from bench.motion_parts import (
    DIMENSIONS,
    LIMIT_S,
    SETTLE_S,
    Case,
    VirtualPolicyNode,
    VirtualRobot,
    demo_contract,
)
from bench.scripted_person import RATE_HZ, ScriptedPerson, wants_to_take_over
from gr00t_policy_core.control.chunk import Chunk, ChunkRefusedError
from gr00t_policy_core.control.command import Command
from gr00t_policy_core.control.motion_gate import MotionGate
from gr00t_ros.control.motion_control import MotionControl
from gr00t_ros.control.supervision import Supervision
from gr00t_ros.interfaces.command_path import CommandPath
from gr00t_ros.msg import ActionChunk
from gr00t_ros.policy.chunk_writer import chunk_message
from gr00t_ros.sim.feedback import FeedbackExpert
from gr00t_ros.sim.kinematics import JOINT_NAMES
from gr00t_ros.sim.world import CUBE_NAMES, SimulatedArm

START_S = 10.0  # of the virtual clock: a stamp of 0 means that there is none
HELD_S = 0.1  # the person holds the leader arm for so long before they press the button
LEADER = {f"action__{key}__teleop_topic": "leader" for key in DIMENSIONS}


@dataclass(frozen=True, slots=True)
class Handover:
    """One change of the driver.

    Attributes:
        tick: The first command after it was asked for.
        periods: Control periods until the first command of the new driver.
    """

    tick: int
    periods: float


@dataclass(frozen=True, slots=True)
class HandoverRecording:
    """What was commanded in one episode.

    Attributes:
        case: The episode.
        completion_s: When the cube that is meant was in the bin and let go, s; None where it was
            not.
        commands: float64 (ticks, 7), from the first command on: rad, the gripper in m.
        to_person, to_policy: The changes of the driver; None where there was none.
        limiter_hits: Ticks in which a limit bound a joint.
    """

    case: Case
    completion_s: float | None
    commands: NDArray[np.float64]
    to_person: Handover | None
    to_policy: Handover | None
    limiter_hits: int


def run_handover(arm: SimulatedArm, expert: FeedbackExpert, case: Case) -> HandoverRecording:
    """Run one episode to its end."""
    return HandoverEpisode(arm, expert, case).run()


class HandoverEpisode:
    """A policy that goes for the wrong cube, and a person who grasps the one that is meant.

    Args:
        arm: The simulated arm.
        expert: The policy.
        case: The episode; its seed decides over the scene and the person's timing.
    """

    def __init__(self, arm: SimulatedArm, expert: FeedbackExpert, case: Case) -> None:
        self._case = case
        self._wrong, self._meant = (CUBE_NAMES[(case.seed + i) % len(CUBE_NAMES)] for i in (0, 1))
        contract = self._contract = demo_contract(case.strategy.blend, **LEADER)
        self._period_s = 1.0 / contract.control_rate_hz
        arm.reset(case.seed)
        self._arm = arm
        self._robot = VirtualRobot(arm, self._period_s)
        self._policy = VirtualPolicyNode(expert, case, contract, self._wrong)
        self._now_ns = round(START_S * 1e9)
        gate = MotionGate()
        self._motion = MotionControl(contract, gate, self._clock)
        self._supervision = Supervision(contract, gate, self._motion, self._clock)
        self._supervision.begin_activation()
        self._device = self._supervision.devices[0]
        chance = random.Random(case.seed)
        self._button_phase, self._leader_phase = chance.random(), chance.random()
        self._person: ScriptedPerson | None = None
        self._pressed_s = self._let_go_s = np.inf
        self._commands: list[NDArray[np.float64]] = []
        self._handovers: dict[bool, Handover] = {}  # by whether the person is the new driver
        self._awaits: tuple[bool, float, int] | None = None

    def run(self) -> HandoverRecording:
        done_s: float | None = None
        tick = 0
        while (passed_s := tick * self._period_s) < LIMIT_S:
            self._tick(START_S + passed_s)
            self._robot.move()
            if done_s is None and self._robot.has_released(self._meant):
                done_s = passed_s
            if done_s is not None and passed_s >= done_s + SETTLE_S:
                break
            tick += 1
        in_bin = self._arm.cube_in_bin(self._meant)
        return HandoverRecording(
            case=self._case,
            completion_s=done_s if in_bin else None,
            commands=np.array(self._commands).reshape(-1, sum(DIMENSIONS.values())),
            to_person=self._handovers.get(True),
            to_policy=self._handovers.get(False),
            limiter_hits=sum(self._motion.counts.limit_hits.values()),
        )

    def _clock(self) -> int:
        return self._now_ns

    def _tick(self, now_s: float) -> None:
        """What came since the tick before, then one tick of both nodes."""
        self._let_person_act(now_s)
        self._now_ns = round(now_s * 1e9)
        self._motion.robot.measure_joints(JOINT_NAMES, self._arm.positions.tolist(), self._now_ns)
        if self._policy.wants_observation(now_s):
            self._policy.ask(self._robot.history(), self._arm.render("front"), now_s)
        chunk = self._policy.answer(now_s)
        if chunk is not None:
            self._accept(chunk)
        command = self._motion.tick(self._now_ns)
        if command is not None:
            self._arm.set_target_vector(_vector(command))
            self._note_driver(command, now_s)
            self._commands.append(_vector(command))

    def _accept(self, chunk: Chunk) -> None:
        try:
            self._supervision.accept(self._message(chunk), self._now_ns)
        except ChunkRefusedError:
            return  # counted by the player

    def _message(self, chunk: Chunk) -> ActionChunk:
        seconds, nanoseconds = divmod(chunk.t0_ns, 1_000_000_000)
        return chunk_message(
            self._contract,
            {key: CommandPath(rows) for key, rows in chunk.actions.items()},
            chunk_id=chunk.chunk_id,
            t0=Time(sec=seconds, nanosec=nanoseconds),
            round_trip_s=0.0,
        )

    # The person

    def _let_person_act(self, now_s: float) -> None:
        """Do what the person did since the tick before, in order."""
        if self._person is None:
            self._watch(now_s)
            return
        since_s = now_s - self._period_s
        acts: list[tuple[float, Callable[[float], None]]] = [
            (at_s, act)
            for at_s, act in (
                (self._leads_at(now_s), self._lead),
                (self._pressed_s, self._press),
                (self._let_go_s, self._let_go),
            )
            if since_s < at_s <= now_s
        ]
        for at_s, act in sorted(acts, key=lambda pair: pair[0]):
            self._now_ns = round(at_s * 1e9)
            act(at_s)

    def _watch(self, now_s: float) -> None:
        """Take hold of the leader arm once the hand is half-way down to the wrong cube."""
        arm = self._arm
        if not self._commands or not wants_to_take_over(arm.geometry, arm.positions.tolist()):
            return
        self._person = ScriptedPerson(
            arm.geometry,
            arm.positions.tolist(),
            cube_position=arm.cube_position(self._meant),
            cube_yaw_rad=arm.cube_yaw_rad(self._meant),
            bin_position=arm.bin_position,
        )
        self._pressed_s = now_s + HELD_S + self._button_phase * self._period_s
        self._let_go_s = self._pressed_s + self._person.duration_s

    def _leads_at(self, now_s: float) -> float:
        """When the leader arm commanded last."""
        offset_s = self._leader_phase / RATE_HZ
        return float(np.floor((now_s - offset_s) * RATE_HZ) / RATE_HZ + offset_s)

    def _lead(self, at_s: float) -> None:
        if self._person is not None and at_s < self._let_go_s:
            joints = self._person.joints_at(at_s - self._pressed_s)
            point = JointTrajectoryPoint(positions=joints.tolist())
            message = JointTrajectory(joint_names=list(JOINT_NAMES), points=[point])
            self._supervision.steer(self._device, message, self._now_ns)

    def _press(self, at_s: float) -> None:
        self._supervision.intervene(self._now_ns)
        self._awaits = (True, at_s, len(self._commands))

    def _let_go(self, at_s: float) -> None:
        self._policy.instruct(self._meant)
        self._supervision.hand_back(self._now_ns)
        self._policy.ask_anew(at_s)
        self._awaits = (False, at_s, len(self._commands))

    def _note_driver(self, command: Command, now_s: float) -> None:
        """Note the first command of a new driver."""
        if self._awaits is None:
            return
        is_person, since_s, tick = self._awaits
        if self._motion.is_steered == is_person and not command.holding:
            self._handovers[is_person] = Handover(tick, (now_s - since_s) / self._period_s)
            self._awaits = None


def _vector(command: Command) -> NDArray[np.float64]:
    return np.concatenate([command.values[key] for key in DIMENSIONS])
