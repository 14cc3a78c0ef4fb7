# SPDX-License-Identifier: Apache-2.0
"""Which link of the Panda DROID's `cartesian_position` is the pose of, by DROID's own statistics.

Isaac-GR00T publishes the averages over the 27 618 651 frames of DROID beside its sample of that
dataset (demo_data/droid_sample/meta/stats.json). The averages of joints and poses need not belong
together exactly, but the links that could be meant lie 0.1 m and 0.79 rad apart.
"""

import math

import numpy as np
import pytest
from panda_description import flange_pose

MEAN_JOINT_POSITION_RAD = (
    *(0.014257643340602007, 0.23985071678496306, -0.014669948508879182, -2.0279570408568897),
    *(-0.03546298949288787, 2.32336351400081, 0.08333937572554288),
)
MEAN_HEIGHT_M = 0.32043825520830616
MEAN_YAW_RAD = -0.05002670059048035
HAND_YAW_RAD = -math.pi / 4  # Franka's hand on link 8: franka_description's franka_hand.xacro
FLANGE_M = 0.107
TCP_M = 0.1034


def along_the_tool(distance_m: float) -> np.ndarray:
    moved = np.eye(4)
    moved[2, 3] = distance_m
    return moved


def turned(yaw_rad: float) -> np.ndarray:
    turn = np.eye(4)
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    turn[:2, :2] = (cos, -sin), (sin, cos)
    return turn


LINKS = {
    "link 7": along_the_tool(-FLANGE_M),
    "link 8": np.eye(4),
    "the hand": turned(HAND_YAW_RAD),
    "the hand's tool center point": turned(HAND_YAW_RAD) @ along_the_tool(TCP_M),
}


def pose_of(link: str) -> np.ndarray:
    return flange_pose(np.array(MEAN_JOINT_POSITION_RAD)) @ LINKS[link]


@pytest.mark.parametrize(
    ("distance", "others"),
    [
        (lambda pose: abs(pose[2, 3] - MEAN_HEIGHT_M), {"link 7", "the hand's tool center point"}),
        (
            lambda pose: abs(math.atan2(pose[1, 0], pose[0, 0]) - MEAN_YAW_RAD),
            {"the hand", "the hand's tool center point"},
        ),
    ],
    ids=["height_m", "yaw_rad"],
)
def test_it_is_link_8(distance, others):
    assert distance(pose_of("link 8")) < 0.02
    for link in others:
        assert distance(pose_of(link)) > 0.08, link
