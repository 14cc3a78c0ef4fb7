# SPDX-License-Identifier: Apache-2.0
"""A scripted expert that puts a cube into the bin: pure functions of scene and time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from gr00t_ros.sim.kinematics import HOME, ArmGeometry, HandPose, joint_targets

MAX_JOINT_SPEED_RAD_S = 1.3

GRASP_HEIGHT_M = 0.0125
TRAVEL_HEIGHT_M = 0.10
RELEASE_HEIGHT_M = 0.034
OPEN_M = 0.022
# 4.5 mm inside a cube of 25 mm: the gains turn that into about 3.6 N per jaw.
SQUEEZE_M = 0.008

_SAMPLES_PER_SEGMENT = 64


@dataclass(frozen=True, slots=True)
class Segment:
    """One move of the hand, at rest at both ends.

    Attributes:
        name: What the move is for.
        start, end: The hand before and after.
        duration_s: How long it takes.
    """

    name: str
    start: HandPose
    end: HandPose
    duration_s: float


Plan = tuple[Segment, ...]


def plan_pick_and_place(
    geometry: ArmGeometry,
    *,
    cube_position: Sequence[float] | NDArray[np.float64],
    cube_yaw_rad: float,
    bin_position: Sequence[float] | NDArray[np.float64],
    start: HandPose = HOME,
) -> Plan:
    """The moves that take a cube from the table into the bin and bring the arm home.

    Args:
        geometry: Lengths of the arm's links, m.
        cube_position: Centre of the cube, in the base frame, m; only x and y are used.
        cube_yaw_rad: Rotation of the cube about the vertical, rad.
        bin_position: Centre of the bin, m; only x and y are used.
        start: Pose of the hand before the first move.

    Returns:
        The segments in order. None moves a joint faster than ``MAX_JOINT_SPEED_RAD_S``.

    Raises:
        ValueError: If the cube or the bin is out of reach.
    """
    over_cube = pose_over(cube_position, yaw_rad=cube_yaw_rad)
    over_bin = pose_over(bin_position, yaw_rad=None)
    at_cube = replace(over_cube, height_m=GRASP_HEIGHT_M)
    holding = replace(at_cube, gripper_m=SQUEEZE_M)
    in_bin = replace(over_bin, height_m=RELEASE_HEIGHT_M, gripper_m=SQUEEZE_M)
    # Name, hand at the end, shortest time in s: a slow descent and a firm grasp, brisk otherwise.
    waypoints = (
        ("approach", over_cube, 1.0),
        ("descend", at_cube, 0.9),
        ("grasp", holding, 0.6),
        ("lift", replace(holding, height_m=TRAVEL_HEIGHT_M), 0.9),
        ("carry", replace(over_bin, gripper_m=SQUEEZE_M), 1.2),
        ("lower", in_bin, 0.7),
        ("release", replace(in_bin, gripper_m=OPEN_M), 0.5),
        ("retreat", over_bin, 0.6),
        ("return", HOME, 1.0),
    )
    starts = (start, *(pose for _, pose, _ in waypoints[:-1]))
    return tuple(
        Segment(name, begin, end, _duration_s(geometry, begin, end, shortest_s))
        for begin, (name, end, shortest_s) in zip(starts, waypoints, strict=True)
    )


def plan_duration_s(plan: Plan) -> float:
    """How long the whole plan takes, in s."""
    return sum(segment.duration_s for segment in plan)


def phase_at(plan: Plan, time_s: float) -> tuple[Segment, float]:
    """The segment that runs at ``time_s`` since the start of the plan, and its progress, 0 to 1."""
    ends = list(accumulate(segment.duration_s for segment in plan))
    index = min(bisect_right(ends, time_s), len(plan) - 1)
    segment = plan[index]
    begin = ends[index] - segment.duration_s
    return segment, min(max((time_s - begin) / segment.duration_s, 0.0), 1.0)


def targets_at(geometry: ArmGeometry, plan: Plan, time_s: float) -> NDArray[np.float64]:
    """Joint targets at a time since the start of the plan; before and after it, its ends.

    Returns:
        float64 (7,) in the order of ``JOINT_NAMES``: rad, the gripper in m.
    """
    segment, progress = phase_at(plan, time_s)
    return _targets_within(geometry, segment.start, segment.end, progress)


def minimum_jerk(progress: float) -> float:
    """Share of the way done after the share ``progress`` of the time, at rest at both ends.

    Flash and Hogan, The coordination of arm movements, J. Neuroscience 5 (1985), equation 3.
    """
    return progress**3 * (10 - 15 * progress + 6 * progress**2)


def pose_over(
    position: Sequence[float] | NDArray[np.float64], *, yaw_rad: float | None
) -> HandPose:
    """The open hand above a place, its jaws along the sides of a cube turned by ``yaw_rad``."""
    x, y = float(position[0]), float(position[1])
    azimuth = math.atan2(y, x)
    return HandPose(
        radius_m=math.hypot(x, y),
        azimuth_rad=azimuth,
        height_m=TRAVEL_HEIGHT_M,
        yaw_rad=0.0 if yaw_rad is None else _nearest_quarter_turn(yaw_rad - azimuth),
        gripper_m=OPEN_M,
    )


def _targets_within(
    geometry: ArmGeometry, start: HandPose, end: HandPose, progress: float
) -> NDArray[np.float64]:
    share = minimum_jerk(progress)
    blend = HandPose(
        radius_m=_blend(start.radius_m, end.radius_m, share),
        azimuth_rad=_blend(start.azimuth_rad, end.azimuth_rad, share),
        height_m=_blend(start.height_m, end.height_m, share),
        yaw_rad=_blend(start.yaw_rad, end.yaw_rad, share),
        gripper_m=_blend(start.gripper_m, end.gripper_m, share),
    )
    return np.array(joint_targets(geometry, blend))


def _blend(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _duration_s(geometry: ArmGeometry, start: HandPose, end: HandPose, shortest_s: float) -> float:
    """Time for a move that keeps every joint below the speed limit."""
    path = np.array(
        [
            _targets_within(geometry, start, end, progress)
            for progress in np.linspace(0.0, 1.0, _SAMPLES_PER_SEGMENT + 1)
        ]
    )
    fastest_per_unit_time = float(np.abs(np.diff(path, axis=0)).max()) * _SAMPLES_PER_SEGMENT
    return max(shortest_s, fastest_per_unit_time / MAX_JOINT_SPEED_RAD_S)


def _nearest_quarter_turn(angle_rad: float) -> float:
    """The like angle between -pi/4 and pi/4: a cube looks the same after a quarter turn."""
    quarter = math.pi / 2
    return angle_rad - quarter * round(angle_rad / quarter)
