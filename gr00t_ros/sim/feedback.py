# SPDX-License-Identifier: Apache-2.0
"""The expert as a policy with feedback: each chunk from the observation alone."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ActionConfig, ModalityConfig
from gr00t_policy_core.policy import Action, Info, ModalityPolicy, Observation, Options
from gr00t_ros.sim.cube_finder import PinholeCamera, SeenCube, find_cube
from gr00t_ros.sim.expert import SQUEEZE_M
from gr00t_ros.sim.feedback_law import (
    CLEAR_M,
    CubeState,
    HandMotion,
    Task,
    distance_m,
    foreseen,
    ground_position,
    run_ahead,
)
from gr00t_ros.sim.feedback_rtc import Settled, read_rtc
from gr00t_ros.sim.kinematics import HandPose, hand_pose, joint_targets
from gr00t_ros.sim.world import CUBE_NAMES, CubePlacement, SimulatedArm

HORIZON = 30
STEP_S = 1 / 30
LANGUAGE_KEY = "annotation.human.task_description"
ARM_JOINTS = 6
ABSOLUTE = ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT")

# A servo follows its target late, by damping over stiffness in arm.xml: fitted to the recorded
# episodes, which it explains to 1 mrad.
SERVO_LAG_S = np.array([0.0228, 0.0228, 0.0228, 0.0201, 0.0201, 0.0201, 0.013])

_HELD_M = (0.0115, 0.0132)  # jaws around a cube stand at 0.0123
_EMPTY_M = 0.0105
_STILL_M_S = 0.008
_NEAR_HAND_PX = 45.0
_BIN_HALF_SIZE_M = 0.05
_DROP_PITCH_M = 0.03  # from the middle of one cube in the bin to the next, 25 mm wide
_UNDER_HAND_M = 0.02
_AWAY_M = 0.05  # of the hand from the cube: what is in the jaws then is another one
_FADE_STEPS = 10
_REACH_SHARE = 0.999  # of the stretched arm, where the elbow has no side to bend to


class FeedbackExpert(ModalityPolicy):
    """Picks the cube that the instruction names and puts it into the bin.

    It has no state: the same observation gives the same chunk. From the joints, now and one and
    two steps ago, follows the state of the commands; from the front picture and the jaws, where
    the cube is; from both, by `feedback_law`, the next moves. Calls for B > 1 are answered row by
    row. The wrist picture is required, as the recorded dataset has it, and is not used.

    ``options["rtc"]`` makes the chunk go on from the one that is being played, see
    `gr00t_ros.sim.feedback_rtc`: the law then runs on from the steps that are settled.

    Its info says with ``cube`` where the cube of each row is, and with ``done`` whether that is the
    bin.

    Args:
        arm: The simulated arm, for what anybody may know beforehand: lengths, camera, bin; None
            makes one.
        strict: Check every observation and every action against the modality configs.
    """

    def __init__(self, arm: SimulatedArm | None = None, strict: bool = True) -> None:
        super().__init__(strict)
        arm = arm or SimulatedArm()
        self._geometry = arm.geometry
        self._camera = PinholeCamera.of(arm.model, "front")
        self._bin = (float(arm.bin_position[0]), float(arm.bin_position[1]))
        self._drops = places_in_bin(*self._bin)

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        groups = ["single_arm", "gripper"]
        return {
            "video": ModalityConfig([0], ["front", "wrist"]),
            "state": ModalityConfig([-2, -1, 0], groups),
            "action": ModalityConfig(
                list(range(HORIZON)), groups, action_configs=[ABSOLUTE] * len(groups)
            ),
            "language": ModalityConfig([0], [LANGUAGE_KEY]),
        }

    def get_capabilities(self) -> tuple[str, ...]:
        return ("rtc",)

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        groups = {"single_arm": ARM_JOINTS, "gripper": 1}
        return {"state": dict(groups), "action": dict(groups)}

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        states = np.concatenate(
            [observation["state"]["single_arm"], observation["state"]["gripper"]], axis=-1
        ).astype(np.float64)
        settled = read_rtc(options, batch_size=len(states), horizon=HORIZON)
        rows, cube_states = [], []
        for row, history in enumerate(states):
            picture = observation["video"]["front"][row, 0]
            colour = colour_in(observation["language"][LANGUAGE_KEY][row][0])
            task = self._task(history, picture, colour)
            rows.append(self._chunk(history, task, settled[row] if settled else None))
            cube_states.append(task.cube.value)
        chunk = np.array(rows, dtype=np.float32)
        action = {"single_arm": chunk[..., :ARM_JOINTS], "gripper": chunk[..., ARM_JOINTS:]}
        done = [state == CubeState.BIN.value for state in cube_states]
        return action, {"cube": cube_states, "done": done}

    def _task(self, history: NDArray[np.float64], picture: NDArray[np.uint8], colour: str) -> Task:
        """Where the cube is, from what is seen of it and how the jaws stand."""
        hand = hand_pose(self._geometry, history[-1])
        seen = find_cube(picture, colour, self._camera)
        state, place = self._cube_state(hand, _speed(history)[-1], seen, picture.shape)
        held = self._other_in_jaws(hand, picture, colour) if state is CubeState.OTHER else colour
        return Task(state, place, *self._bin, *self._drops[held])

    def _other_in_jaws(self, hand: HandPose, picture: NDArray[np.uint8], colour: str) -> str:
        """The cube in the jaws that is not ``colour``: hidden by them, or seen next to them."""

        def away_px(other: str) -> float:
            seen = find_cube(picture, other, self._camera)
            return self._away_px(hand, seen, picture.shape) if seen else 0.0

        return min((name for name in CUBE_NAMES if name != colour), key=away_px)

    def _away_px(self, hand: HandPose, seen: SeenCube, shape: tuple[int, ...]) -> float:
        """How far from the grasp point a cube is seen in the picture."""
        grasp = np.array([*ground_position(hand), hand.height_m])
        return float(np.linalg.norm(self._camera.project(grasp, shape[:2]) - seen.pixel))

    def _cube_state(
        self,
        hand: HandPose,
        jaw_speed_m_s: float,
        seen: SeenCube | None,
        shape: tuple[int, ...],
    ) -> tuple[CubeState, CubePlacement]:
        x, y = ground_position(hand)
        under_hand = CubePlacement(x, y, hand.yaw_rad + hand.azimuth_rad)
        between_jaws = seen is None or self._away_px(hand, seen, shape) < _NEAR_HAND_PX
        stopped = _HELD_M[0] < hand.gripper_m < _HELD_M[1] and abs(jaw_speed_m_s) < _STILL_M_S
        if between_jaws and stopped:
            return CubeState.HELD, under_hand
        if seen is None:
            over_bin = distance_m(hand, *self._bin) < _BIN_HALF_SIZE_M
            return (CubeState.BIN if over_bin else CubeState.UNKNOWN), under_hand
        place = seen.place
        if stopped and distance_m(hand, place.x_m, place.y_m) > _AWAY_M:
            return CubeState.OTHER, place
        if max(abs(place.x_m - self._bin[0]), abs(place.y_m - self._bin[1])) < _BIN_HALF_SIZE_M:
            return CubeState.BIN, place
        if hand.height_m > CLEAR_M:
            return CubeState.TABLE, place
        if hand.gripper_m < _EMPTY_M:
            return CubeState.UNKNOWN, place  # closed on nothing: up again, and look anew
        # Low over the cube the jaws hide a part of it, and what is left does not tell its place.
        hidden = distance_m(hand, place.x_m, place.y_m) < _UNDER_HAND_M
        return CubeState.TABLE, (under_hand if hidden else place)

    def _chunk(
        self, history: NDArray[np.float64], task: Task, settled: Settled | None
    ) -> NDArray[np.float64]:
        """Joint targets, float64 (HORIZON, 7)."""
        if settled is None or settled.frozen_steps == 0:
            own = self._ahead(_commands_now(history, task), task, HORIZON)
            return settled.blended(own) if settled else own
        for joints in settled.frozen:
            task = foreseen(hand_pose(self._geometry, joints), task)
        own = self._ahead(settled.around_end(), task, HORIZON - settled.frozen_steps + 1)
        return settled.blended(np.concatenate([settled.frozen, own[1:]]))

    def _ahead(self, commands: NDArray[np.float64], task: Task, steps: int) -> NDArray[np.float64]:
        """Joint targets under the law, float64 (steps, 7).

        Args:
            commands: Targets one step ago, now and in one step, float64 (3, 7).
            task: The state of the cube, and where it and the bin are.
            steps: How many targets to return, the first one now.
        """
        hands = np.array([_vector(hand_pose(self._geometry, joints)) for joints in commands])
        start = HandMotion(
            position=hands[1],
            velocity=(hands[2] - hands[0]) / (2 * STEP_S),
            acceleration=(hands[2] - 2 * hands[1] + hands[0]) / STEP_S**2,
        )
        way = run_ahead(start, task, steps=steps, step_s=STEP_S)
        targets = np.array([self._joints_at(HandPose(*hand)) for hand in way])
        # What the joints are off a vertical hand is taken out little by little.
        fade = np.clip(1.0 - np.arange(steps) / _FADE_STEPS, 0.0, 1.0)
        return targets + fade[:, None] * (commands[1] - targets[0])

    def _joints_at(self, hand: HandPose) -> tuple[float, ...]:
        """The joints of a hand, which is drawn in where somebody has pushed it out of reach."""
        geometry = self._geometry
        rise_m = hand.height_m + geometry.hand_m - geometry.shoulder_height_m
        reach_m = _REACH_SHARE * (geometry.upper_arm_m + geometry.forearm_m)
        farthest_m = math.sqrt(max(reach_m**2 - rise_m**2, 0.0))
        return joint_targets(geometry, replace(hand, radius_m=min(hand.radius_m, farthest_m)))


def places_in_bin(bin_x_m: float, bin_y_m: float) -> dict[str, tuple[float, float]]:
    """A place in the bin for each of ``CUBE_NAMES``, x and y in m.

    They are a row that leads away from the base: the jaws open across it, clear of the neighbours.
    """
    middle_m, azimuth_rad = math.hypot(bin_x_m, bin_y_m), math.atan2(bin_y_m, bin_x_m)
    first_m = middle_m - _DROP_PITCH_M * (len(CUBE_NAMES) - 1) / 2
    return {
        name: (
            (first_m + index * _DROP_PITCH_M) * math.cos(azimuth_rad),
            (first_m + index * _DROP_PITCH_M) * math.sin(azimuth_rad),
        )
        for index, name in enumerate(CUBE_NAMES)
    }


def colour_in(instruction: str) -> str:
    """The cube that an instruction names.

    Raises:
        SpecError: It names none of ``CUBE_NAMES``, or several.
    """
    words = re.findall(r"\w+", instruction.lower())
    named = [name for name in CUBE_NAMES if name in words]
    if len(named) != 1:
        raise SpecError(
            "bad instruction",
            [f"it must name one cube of {', '.join(CUBE_NAMES)}, got {instruction!r}"],
        )
    return named[0]


def _speed(history: NDArray[np.float64]) -> NDArray[np.float64]:
    """Joint velocities at the newest of three states a step apart: of the parabola through them."""
    return (3 * history[2] - 4 * history[1] + history[0]) / (2 * STEP_S)


def _commands_now(history: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """Targets one step ago, now and in one step, from measured joints, float64 (3, 7) each.

    The servos' lag taken off, these are what the arm was told, to 1 mrad while it follows.
    """
    acceleration = (history[2] - 2 * history[1] + history[0]) / STEP_S**2
    velocity = _speed(history) + SERVO_LAG_S * acceleration
    now = history[2] + SERVO_LAG_S * _speed(history)
    step = STEP_S * velocity
    bend = 0.5 * STEP_S**2 * acceleration
    commands = np.stack([now - step + bend, now, now + step + bend])
    if task.cube in (CubeState.HELD, CubeState.OTHER):
        commands[:, ARM_JOINTS] = SQUEEZE_M  # the cube keeps the jaws from getting there
    return commands


def _vector(pose: HandPose) -> tuple[float, ...]:
    return (pose.radius_m, pose.azimuth_rad, pose.height_m, pose.yaw_rad, pose.gripper_m)
