# SPDX-License-Identifier: Apache-2.0
"""The kinematics of a Panda or a Research 3, from Franka's table of Denavit-Hartenberg parameters.

https://frankarobotics.github.io/docs/robot_specifications.html#denavithartenberg-parameters
"""

from __future__ import annotations

import math

import numpy as np
from robot_library import joint_facts

# a (m), d (m), alpha (rad) of each joint in Craig's convention: along and about the x axis of the
# joint before it, then along its own z.
PARAMETERS = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -math.pi / 2),
    (0.0, 0.316, math.pi / 2),
    (0.0825, 0.0, math.pi / 2),
    (-0.0825, 0.384, -math.pi / 2),
    (0.0, 0.0, math.pi / 2),
    (0.088, 0.0, math.pi / 2),
)
FLANGE_M = 0.107
HOME = (0.0, -math.pi / 4, 0.0, -3 * math.pi / 4, 0.0, math.pi / 2, math.pi / 4)


def flange_pose(joints: np.ndarray) -> np.ndarray:
    """The pose of link 8 in link 0, float64 (4, 4), for joints float64 (7,), rad."""
    pose = np.eye(4)
    for (a, d, alpha), angle in zip(PARAMETERS, joints, strict=True):
        pose = pose @ _about_x(alpha, a) @ _about_z(angle, d)
    return pose @ _about_z(0.0, FLANGE_M)


def panda_urdf(prefix: str) -> str:
    """The description of the arm with one finger, whose names begin with a prefix."""
    facts = joint_facts("panda")
    links = [f"{prefix}link{number}" for number in range(9)] + [f"{prefix}finger"]
    joints = []
    for number, (a, d, alpha) in enumerate(PARAMETERS, start=1):
        place = f"{a} {-d * math.sin(alpha)} {d * math.cos(alpha)}"
        fact = facts[f"panda_joint{number}"]
        joints.append(
            f'<joint name="{prefix}joint{number}" type="revolute">'
            f'<parent link="{links[number - 1]}"/><child link="{links[number]}"/>'
            f'<origin xyz="{place}" rpy="{alpha} 0 0"/><axis xyz="0 0 1"/>'
            f'<limit lower="{fact.lower}" upper="{fact.upper}" velocity="{fact.velocity}" '
            'effort="80"/></joint>'
        )
    finger = facts["panda_finger_joint1"]
    return (
        f'<robot name="{prefix}arm">'
        + "".join(f'<link name="{link}"/>' for link in links)
        + "".join(joints)
        + f'<joint name="{prefix}joint8" type="fixed"><parent link="{links[7]}"/>'
        f'<child link="{links[8]}"/><origin xyz="0 0 {FLANGE_M}" rpy="0 0 0"/></joint>'
        f'<joint name="{prefix}finger_joint1" type="prismatic"><parent link="{links[8]}"/>'
        f'<child link="{links[9]}"/><origin xyz="0 0 0.0584" rpy="0 0 0"/><axis xyz="0 1 0"/>'
        f'<limit lower="{finger.lower}" upper="{finger.upper}" velocity="{finger.velocity}" '
        'effort="20"/></joint></robot>'
    )


def _about_x(angle: float, along: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0, along], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])


def _about_z(angle: float, along: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, along], [0, 0, 0, 1]])
