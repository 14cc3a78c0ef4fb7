# SPDX-License-Identifier: Apache-2.0
"""Coming to rest without anything that may have failed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gr00t_policy_core.control.action_layout import ActionLayout, relative_rotvec, rotated
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.fallback_brake import FallbackBrake
from gr00t_policy_core.control.joint_limits import JointLimits

PERIOD_S = 0.01
JOINT = JointLimits(-4.0, 4.0, 3.0, 25.0, 500.0)
BODY = BodyLimits(1.0, 5.0, 3.0, 15.0)
LAYOUT = ActionLayout(
    {"arm": 2, "hand": 7, "base": 6, "free": 1, "wheel": 1},
    poses=["hand"],
    velocities=["base", "wheel"],
)
ARM, HAND, BASE, FREE, WHEEL = (LAYOUT.slices[key] for key in LAYOUT.dimensions)


def brake_from(last: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The last command and those of the brake, until it rests."""
    joints = {0: JOINT, 1: JOINT, WHEEL.start: JOINT}
    brake = FallbackBrake(
        LAYOUT, joints, {"hand": BODY, "base": BODY}, period_s=PERIOD_S, last=last, before=before
    )
    commands = [last]
    while not brake.is_at_rest:
        commands.append(brake.step())
        assert len(commands) < 1000
    return np.array([*commands, brake.step()])


def moving() -> tuple[np.ndarray, np.ndarray]:
    before, last = np.zeros(LAYOUT.size), np.zeros(LAYOUT.size)
    last[ARM] = [0.02, -0.005]  # 2 and -0.5 rad/s
    before[HAND] = [0, 0, 0, 0, 0, 0, 1]
    last[HAND][:3] = [0.006, 0.0, 0.008]  # 1 m/s
    last[HAND][3:] = rotated(before[HAND][3:], np.array([0.0, 0.0, 0.02]))  # 2 rad/s
    last[BASE] = before[BASE] = [0.5, 0.0, 0.0, 0.0, 0.0, 1.0]
    last[FREE] = 7.0
    last[WHEEL] = before[WHEEL] = 1.5
    return last, before


def test_every_joint_slows_down_by_its_acceleration_and_stops() -> None:
    commands = brake_from(*moving())
    for index, speed in ((0, 2.0), (1, -0.5)):
        way = np.diff(commands[:, index])
        assert np.abs(np.diff(way)).max() <= JOINT.acceleration * PERIOD_S**2 * (1 + 1e-9)
        assert (way * speed >= -1e-15).all()
        stop_m = speed * abs(speed) / (2 * JOINT.acceleration)
        assert commands[-1, index] - commands[0, index] == pytest.approx(stop_m, abs=0.02)


def test_a_pose_goes_on_along_its_way_and_its_turn() -> None:
    commands = brake_from(*moving())[:, HAND]
    assert_allclose(np.linalg.norm(commands[:, 3:], axis=1), 1.0, atol=1e-9)
    way = np.diff(commands[:, :3], axis=0)
    assert np.abs(np.diff(np.linalg.norm(way, axis=1))).max() <= 5.0 * PERIOD_S**2 * (1 + 1e-9)
    assert_allclose(np.cross(way, [0.6, 0.0, 0.8]), 0.0, atol=1e-12)
    turns = [relative_rotvec(b[3:], a[3:]) for a, b in itertools.pairwise(commands)]
    assert np.linalg.norm(turns[-1]) < 1e-9
    assert turns[0][2] == pytest.approx(0.02 - 15.0 * PERIOD_S**2)


def test_twists_and_joint_velocities_end_at_zero() -> None:
    commands = brake_from(*moving())
    assert (commands[-1, BASE] == 0.0).all()
    assert commands[-1, WHEEL] == 0.0
    assert np.abs(np.diff(commands[:, BASE.start])).max() <= 5.0 * PERIOD_S * (1 + 1e-9)
    assert np.abs(np.diff(commands[:, WHEEL.start])).max() <= 25.0 * PERIOD_S * (1 + 1e-9)


def test_what_has_no_limits_stays_where_it_is() -> None:
    assert (brake_from(*moving())[:, FREE] == 7.0).all()


def test_a_robot_at_rest_stays_there() -> None:
    last, _ = moving()
    last[BASE] = 0.0
    last[WHEEL] = 0.0
    commands = brake_from(last, last)
    assert math.isclose(float(np.ptp(commands, axis=0).max()), 0.0, abs_tol=1e-12)
