# SPDX-License-Identifier: Apache-2.0
"""Pick and place as a law of feedback: from where the hand and the cube are to the next move.

The law has no memory and no clock. What it does next follows from the states of the hand and
of the cube, so running it ahead from any state on its way gives the rest of the same way: chunks
computed one after the other agree, as far as the states that they are computed from do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from gr00t_ros.sim.expert import (
    GRASP_HEIGHT_M,
    OPEN_M,
    RELEASE_HEIGHT_M,
    SQUEEZE_M,
    TRAVEL_HEIGHT_M,
    pose_over,
)
from gr00t_ros.sim.kinematics import HOME, HandPose
from gr00t_ros.sim.world import CubePlacement

# Radius, azimuth, height, yaw and gripper: m, rad, m, rad, m, per s and per s^2. They keep every
# joint below 1.6 rad/s where cubes may lie.
_MAX_VELOCITY = np.array([0.18, 1.3, 0.15, 1.4, 0.06])
_MAX_ACCELERATION = np.array([0.7, 5.0, 0.55, 5.5, 0.6])

# The chain from distance to velocity to acceleration to jerk, each slow enough for the next one:
# no overshoot, and an error of the state that it starts from dies away.
_VELOCITY_PER_DISTANCE_HZ = 3.5
_ACCELERATION_PER_VELOCITY_HZ = 12.0
_ACCELERATION_LAG_S = 0.03
_SUBSTEPS = 8
_OVERSPEED = 1.25  # while it slows down, the law goes so much faster than it wants to

CLEAR_M = 0.06
"""Grasp point this high: jaws, and a cube between them, pass over cubes and the rim of the bin."""

_ALIGNED_M, _ALIGNED_RAD = 0.003, 0.05
_CAPTURED_M = 0.012  # a cube this near to the middle slides there when the jaws close
_AT_HEIGHT_M = 0.0025
_OPEN_ENOUGH_M = 0.018
_RELEASED_M = 0.0145
_NEAR_BIN_M = 0.09  # a hand so near cannot go down to the table


class CubeState(Enum):
    """Where the cube is, as far as the law distinguishes."""

    TABLE = "table"
    HELD = "held"
    BIN = "bin"
    OTHER = "other"  # it lies somewhere, and another cube is in the jaws
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Task:
    """What the law acts on besides the hand.

    Attributes:
        cube: Where the cube is.
        place: Where it lies on the table; of meaning with ``CubeState.TABLE`` only.
        bin_x_m, bin_y_m: Middle of the bin in the base frame.
        drop_x_m, drop_y_m: Where in the bin the cube belongs that is in the jaws, or was.
    """

    cube: CubeState
    place: CubePlacement
    bin_x_m: float
    bin_y_m: float
    drop_x_m: float
    drop_y_m: float


@dataclass(frozen=True, slots=True)
class HandMotion:
    """The hand's commanded state, float64 (5,) each: radius, azimuth, height, yaw, gripper.

    Attributes:
        position: m, rad, m, rad, m.
        velocity: The same per s.
        acceleration: The same per s^2.
    """

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    acceleration: NDArray[np.float64]


def next_goal(hand: HandPose, task: Task) -> HandPose:
    """Where the hand should go now."""
    if task.cube is CubeState.HELD:
        return _goal_holding(hand, task)
    if task.cube is CubeState.BIN:
        return _goal_done(hand, task)
    if task.cube is CubeState.OTHER:
        return _goal_putting_down(hand, task)
    if task.cube is CubeState.TABLE:
        return _goal_fetching(hand, task.place)
    return HOME if hand.height_m > CLEAR_M else _lifted(hand)


def run_ahead(start: HandMotion, task: Task, *, steps: int, step_s: float) -> NDArray[np.float64]:
    """The hand's way under the law.

    Args:
        start: The state at step 0.
        task: The state of the cube then; a grasp and a release ahead are foreseen.
        steps: How many states to return.
        step_s: Time between two of the states, s.

    Returns:
        float64 (steps, 5): radius, azimuth, height, yaw, gripper.
    """
    motion = _undisturbed(start, task)
    way = [start.position]
    for _ in range(1, steps):
        hand = HandPose(*motion.position)
        task = foreseen(hand, task)
        goal = np.array(_vector(next_goal(hand, task)))
        for _ in range(_SUBSTEPS):
            motion = _moved(motion, goal, step_s / _SUBSTEPS)
        way.append(motion.position)
    return np.array(way)


def _undisturbed(motion: HandMotion, task: Task) -> HandMotion:
    """The motion as far as it is the law's own.

    What goes faster than the law would, or another way, is what others have added (the blend of two
    chunks, a limiter that catches up, a push). Continued in the next chunk, which comes late, it
    would come back again and again.
    """
    hand = HandPose(*motion.position)
    goal = np.array(_vector(next_goal(hand, foreseen(hand, task))))
    velocity = _between_zero_and(_OVERSPEED * _wanted_velocity(motion, goal), motion.velocity)
    slowed = HandMotion(motion.position, velocity, motion.acceleration)
    acceleration = _between_zero_and(_wanted_acceleration(slowed, goal), motion.acceleration)
    return HandMotion(motion.position, velocity, acceleration)


def _moved(motion: HandMotion, goal: NDArray[np.float64], time_s: float) -> HandMotion:
    """A short time later: straight to the goal, the slowest coordinate setting the pace."""
    wanted = _wanted_acceleration(motion, goal)
    share = time_s / _ACCELERATION_LAG_S
    acceleration = motion.acceleration + share * (wanted - motion.acceleration)
    velocity = motion.velocity + acceleration * time_s
    return HandMotion(motion.position + velocity * time_s, velocity, acceleration)


def _wanted_velocity(motion: HandMotion, goal: NDArray[np.float64]) -> NDArray[np.float64]:
    to_go_s = (goal - motion.position) / _MAX_VELOCITY
    share = min(1.0 / max(float(np.abs(to_go_s).max()), 1e-9), _VELOCITY_PER_DISTANCE_HZ)
    return share * to_go_s * _MAX_VELOCITY


def _wanted_acceleration(motion: HandMotion, goal: NDArray[np.float64]) -> NDArray[np.float64]:
    missing = _wanted_velocity(motion, goal) - motion.velocity
    wanted = _ACCELERATION_PER_VELOCITY_HZ * missing
    return np.minimum(np.maximum(wanted, -_MAX_ACCELERATION), _MAX_ACCELERATION)


def _between_zero_and(
    bound: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.minimum(np.maximum(values, np.minimum(bound, 0.0)), np.maximum(bound, 0.0))


def foreseen(hand: HandPose, task: Task) -> Task:
    """The state of the cube once the hand is there: it follows the commands of the jaws."""
    if task.cube is CubeState.TABLE and _grasped(hand, task.place):
        return replace(task, cube=CubeState.HELD)
    if task.cube is CubeState.HELD and hand.gripper_m > _RELEASED_M:
        return replace(task, cube=CubeState.BIN)
    if task.cube is CubeState.OTHER and hand.gripper_m > _RELEASED_M:
        return replace(task, cube=CubeState.TABLE)
    return task


def _grasped(hand: HandPose, place: CubePlacement) -> bool:
    low = hand.height_m < GRASP_HEIGHT_M + 2 * _AT_HEIGHT_M
    closed = hand.gripper_m < SQUEEZE_M + 0.0005
    return low and closed and distance_m(hand, place.x_m, place.y_m) < _CAPTURED_M


def _goal_fetching(hand: HandPose, place: CubePlacement) -> HandPose:
    over = pose_over((place.x_m, place.y_m), yaw_rad=place.yaw_rad)
    over = replace(over, yaw_rad=_like_yaw(over.yaw_rad, hand.yaw_rad))
    away_m = distance_m(hand, place.x_m, place.y_m)
    if hand.height_m < CLEAR_M and away_m > _CAPTURED_M:
        return _lifted(hand)
    if away_m < _CAPTURED_M and hand.height_m < GRASP_HEIGHT_M + _AT_HEIGHT_M:
        return replace(over, height_m=GRASP_HEIGHT_M, gripper_m=SQUEEZE_M)
    turned_rad = abs(hand.yaw_rad - over.yaw_rad)
    aligned = away_m < _ALIGNED_M and turned_rad < _ALIGNED_RAD
    if hand.gripper_m > _OPEN_ENOUGH_M and (aligned or hand.height_m < CLEAR_M):
        return replace(over, height_m=GRASP_HEIGHT_M)
    return over


def _goal_holding(hand: HandPose, task: Task) -> HandPose:
    over = replace(pose_over((task.drop_x_m, task.drop_y_m), yaw_rad=None), gripper_m=SQUEEZE_M)
    if distance_m(hand, task.drop_x_m, task.drop_y_m) > _CAPTURED_M:
        return _lifted(hand) if hand.height_m < CLEAR_M else over
    lowered = hand.height_m < RELEASE_HEIGHT_M + _AT_HEIGHT_M
    return replace(over, height_m=RELEASE_HEIGHT_M, gripper_m=OPEN_M if lowered else SQUEEZE_M)


def _goal_putting_down(hand: HandPose, task: Task) -> HandPose:
    """Down to the table with what is in the jaws, and open them; near the bin, into that."""
    if distance_m(hand, task.bin_x_m, task.bin_y_m) < _NEAR_BIN_M:
        return _goal_holding(hand, task)
    low = replace(hand, height_m=GRASP_HEIGHT_M)
    lowered = hand.height_m < GRASP_HEIGHT_M + _AT_HEIGHT_M
    return replace(low, gripper_m=OPEN_M if lowered else SQUEEZE_M)


def _goal_done(hand: HandPose, task: Task) -> HandPose:
    if hand.height_m > CLEAR_M:
        return HOME
    if distance_m(hand, task.drop_x_m, task.drop_y_m) > 2 * _CAPTURED_M:
        return _lifted(hand)
    over = pose_over((task.drop_x_m, task.drop_y_m), yaw_rad=None)
    if hand.gripper_m < _OPEN_ENOUGH_M:
        return replace(over, height_m=RELEASE_HEIGHT_M)
    return over


def _like_yaw(yaw_rad: float, near_rad: float) -> float:
    """The yaw nearest to ``near_rad`` that grasps the same way: the jaws fit every quarter turn."""
    quarter = math.pi / 2
    turned = yaw_rad + quarter * round((near_rad - yaw_rad) / quarter)
    return turned if abs(turned) <= quarter else yaw_rad


def _lifted(hand: HandPose) -> HandPose:
    """Straight up, the jaws as they are."""
    return replace(hand, height_m=TRAVEL_HEIGHT_M)


def distance_m(hand: HandPose, x_m: float, y_m: float) -> float:
    """Horizontal distance of the grasp point from a place in the base frame."""
    x, y = ground_position(hand)
    return math.hypot(x - x_m, y - y_m)


def ground_position(hand: HandPose) -> tuple[float, float]:
    """x and y of the grasp point in the base frame, m."""
    return (
        hand.radius_m * math.cos(hand.azimuth_rad),
        hand.radius_m * math.sin(hand.azimuth_rad),
    )


def _vector(pose: HandPose) -> tuple[float, ...]:
    return (pose.radius_m, pose.azimuth_rad, pose.height_m, pose.yaw_rad, pose.gripper_m)
