# SPDX-License-Identifier: Apache-2.0
"""A person with a leader arm who corrects a grasp of the simulated arm, from a script. Pure.

The policy goes for another cube than the one that is meant. When its hand is half-way down to it,
the person takes over: up, over to the cube that is meant, down, grasp, lift. Then they let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gr00t_ros.sim.expert import (
    GRASP_HEIGHT_M,
    OPEN_M,
    TRAVEL_HEIGHT_M,
    Segment,
    plan_duration_s,
    plan_pick_and_place,
    targets_at,
)
from gr00t_ros.sim.kinematics import ArmGeometry, hand_pose

RATE_HZ = 50.0  # of the leader arm's commands
# Half-way down from where the hand travels to where it grasps.
TAKEOVER_HEIGHT_M = (TRAVEL_HEIGHT_M + GRASP_HEIGHT_M) / 2
# Nobody holds a leader arm exactly where the robot is.
OFF_M, OFF_RAD = 0.01, 0.03
CLEAR_S = 0.8  # straight up, away from the wrong cube


def wants_to_take_over(geometry: ArmGeometry, joints: Sequence[float]) -> bool:
    """Whether the hand is on its way down to a cube, half-way.

    Args:
        geometry: The lengths of the arm.
        joints: Where it is, float64 (7,): rad, the gripper in m.
    """
    hand = hand_pose(geometry, joints)
    return hand.height_m < TAKEOVER_HEIGHT_M and hand.gripper_m > OPEN_M / 2


class ScriptedPerson:
    """Moves the leader arm from about where the robot is to a lifted cube.

    Args:
        geometry: The lengths of the arm.
        joints: Where the robot is when the person takes over, float64 (7,): rad, the gripper in m.
        cube_position: The middle of the cube that is meant, m, in the base frame.
        cube_yaw_rad: Its turn about the vertical, rad.
        bin_position: The middle of the bin, m, in the base frame.

    Attributes:
        duration_s: How long they drive, s.
    """

    def __init__(
        self,
        geometry: ArmGeometry,
        joints: Sequence[float],
        *,
        cube_position: Sequence[float] | NDArray[np.float64],
        cube_yaw_rad: float,
        bin_position: Sequence[float] | NDArray[np.float64],
    ) -> None:
        hand = hand_pose(geometry, joints)
        held = replace(hand, radius_m=hand.radius_m + OFF_M, azimuth_rad=hand.azimuth_rad + OFF_RAD)
        clear = replace(held, height_m=TRAVEL_HEIGHT_M, gripper_m=OPEN_M)
        whole = plan_pick_and_place(
            geometry,
            cube_position=cube_position,
            cube_yaw_rad=cube_yaw_rad,
            bin_position=bin_position,
            start=clear,
        )
        lifted = [segment.name for segment in whole].index("lift")
        self._geometry = geometry
        self._plan = (Segment("clear", held, clear, CLEAR_S), *whole[: lifted + 1])
        self.duration_s = plan_duration_s(self._plan)

    def joints_at(self, time_s: float) -> NDArray[np.float64]:
        """Where the leader arm is, float64 (7,): rad, the gripper in m.

        Args:
            time_s: Time since the person took over, s.
        """
        return targets_at(self._geometry, self._plan, time_s)
