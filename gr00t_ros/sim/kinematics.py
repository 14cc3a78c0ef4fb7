# SPDX-License-Identifier: Apache-2.0
"""Closed-form kinematics of the arm with its hand pointing straight down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

JOINT_NAMES = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_yaw",
    "wrist_roll",
    "gripper",
)
"""The order of every joint vector in ``gr00t_ros.sim``: six angles in rad, the gripper in m."""


@dataclass(frozen=True, slots=True)
class ArmGeometry:
    """Lengths of the arm in m.

    Attributes:
        shoulder_height_m: Axis of ``shoulder_lift`` above the table.
        upper_arm_m: ``shoulder_lift`` axis to ``elbow_flex`` axis.
        forearm_m: ``elbow_flex`` axis to ``wrist_flex`` axis.
        hand_m: ``wrist_flex`` axis to the grasp point between the jaws.
    """

    shoulder_height_m: float
    upper_arm_m: float
    forearm_m: float
    hand_m: float


@dataclass(frozen=True, slots=True)
class HandPose:
    """A pose of the hand pointing straight down, in cylinder coordinates around the base.

    A straight line in these coordinates keeps clear of the base and leaves no joint to jump, which
    a straight line in x, y does not.

    Attributes:
        radius_m: Horizontal distance of the grasp point from the ``shoulder_pan`` axis.
        azimuth_rad: Its direction, 0 forward (x), positive to the left (y).
        height_m: Its height above the table.
        yaw_rad: Direction in which the jaws open, relative to the tangent at ``azimuth_rad``.
        gripper_m: Distance of each jaw from the middle, 0 closed.
    """

    radius_m: float
    azimuth_rad: float
    height_m: float
    yaw_rad: float
    gripper_m: float


HOME = HandPose(radius_m=0.14, azimuth_rad=0.0, height_m=0.14, yaw_rad=0.0, gripper_m=0.0)
"""Where the arm waits: over the table in front of the base, gripper closed."""


def joint_targets(geometry: ArmGeometry, pose: HandPose) -> tuple[float, ...]:
    """The joint positions that bring the hand to ``pose``, elbow up.

    The two-link arm of upper arm and forearm by the law of cosines, see Lynch and Park, Modern
    Robotics, section 6.1.

    Returns:
        One value per joint in the order of ``JOINT_NAMES``; rad, the gripper in m.

    Raises:
        ValueError: If the pose is out of reach.
    """
    upper, fore = geometry.upper_arm_m, geometry.forearm_m
    rise = pose.height_m + geometry.hand_m - geometry.shoulder_height_m
    distance = math.hypot(pose.radius_m, rise)
    if not abs(upper - fore) < distance < upper + fore:
        raise ValueError(
            f"{pose} is out of reach: its wrist is {distance:.3f} m from the shoulder, "
            f"which must lie between {abs(upper - fore):.3f} and {upper + fore:.3f} m"
        )
    inner = math.acos((upper**2 + distance**2 - fore**2) / (2 * upper * distance))
    upper_elevation = math.atan2(rise, pose.radius_m) + inner
    fore_elevation = math.atan2(
        rise - upper * math.sin(upper_elevation),
        pose.radius_m - upper * math.cos(upper_elevation),
    )
    lift = math.pi / 2 - upper_elevation
    elbow = -fore_elevation - lift
    return (pose.azimuth_rad, lift, elbow, -lift - elbow, 0.0, pose.yaw_rad, pose.gripper_m)


def hand_pose(geometry: ArmGeometry, joints: Sequence[float]) -> HandPose:
    """Where joint positions bring the grasp point: the inverse of ``joint_targets``.

    A hand that is a little off the vertical has its true radius and height; ``wrist_yaw``, which
    ``joint_targets`` keeps at 0, is taken to be there.

    Args:
        geometry: Lengths of the arm's links, m.
        joints: One value per joint in the order of ``JOINT_NAMES``; rad, the gripper in m.
    """
    pan, lift, elbow, flex, _, roll, gripper = joints
    fore = lift + elbow
    tilt = fore + flex
    upper_m, fore_m, hand_m = geometry.upper_arm_m, geometry.forearm_m, geometry.hand_m
    rise = upper_m * math.cos(lift) - fore_m * math.sin(fore) - hand_m * math.cos(tilt)
    return HandPose(
        radius_m=upper_m * math.sin(lift) + fore_m * math.cos(fore) - hand_m * math.sin(tilt),
        azimuth_rad=pan,
        height_m=geometry.shoulder_height_m + rise,
        yaw_rad=roll,
        gripper_m=gripper,
    )
