# SPDX-License-Identifier: Apache-2.0
"""Open and closed: threshold, hysteresis and hold time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gr00t_ros.interfaces.binary_gripper import NOT_BINARY, BinaryGripper, Grip

OPEN_M, CLOSED_M = 0.08, 0.0


def gripper(**changes: Any) -> BinaryGripper:
    settings = {"threshold": 0.5, "hysteresis": 0.2, "min_hold_s": 1.0}
    positions = {"open_position": (OPEN_M,), "closed_position": (CLOSED_M,)}
    return BinaryGripper(**{**settings, **positions, **changes})


def positions(one: BinaryGripper, closures: Sequence[float], step_s: float) -> list[float]:
    """Where it is told to be for targets on the way from open (0) to closed (1)."""
    grip: Grip | None = None
    found = []
    for number, closure in enumerate(closures):
        target = np.array([OPEN_M + closure * (CLOSED_M - OPEN_M)])
        grip = one.grip(target, step_s * number, grip)
        found.append(float(one.position(grip)[0]))
    return found


def test_it_starts_on_the_side_of_the_threshold_that_the_target_is_on() -> None:
    assert positions(gripper(), [0.49], 1.0) == [OPEN_M]
    assert positions(gripper(), [0.51], 1.0) == [CLOSED_M]


def test_a_target_that_wavers_around_the_threshold_changes_nothing() -> None:
    found = positions(gripper(), [0.3, 0.55, 0.45, 0.59, 0.61, 0.45, 0.41, 0.39], 10.0)
    assert found == [*[OPEN_M] * 4, *[CLOSED_M] * 3, OPEN_M]


def test_a_position_is_held_for_a_while() -> None:
    found = positions(gripper(), [0.9, 0.1, 0.1, 0.9, 0.9], 0.5)
    assert found == [CLOSED_M, CLOSED_M, OPEN_M, OPEN_M, CLOSED_M]


def test_closed_may_be_the_larger_number() -> None:
    one = gripper(open_position=(0.0,), closed_position=(0.8,), min_hold_s=0.0)
    grip = one.grip(np.array([0.7]), 0.0, None)
    assert one.position(grip).tolist() == [0.8]
    assert one.position(one.grip(np.array([0.1]), 1.0, grip)).tolist() == [0.0]


def test_a_hand_closes_as_a_whole() -> None:
    hand = gripper(open_position=(0.0, 0.0, 1.0), closed_position=(1.5, 1.5, 0.0), hysteresis=0.0)
    one_finger = hand.grip(np.array([1.5, 0.0, 1.0]), 0.0, None)
    assert hand.position(one_finger).tolist() == [0.0, 0.0, 1.0]
    two = hand.grip(np.array([1.4, 1.2, 0.9]), 5.0, one_finger)
    assert hand.position(two).tolist() == [1.5, 1.5, 0.0]


def settings(**changes: Any) -> dict[str, Any]:
    return {**NOT_BINARY, **changes}


def test_it_is_made_of_parameters_and_says_what_is_wrong_with_them() -> None:
    assert BinaryGripper.of(settings(), 1) is None
    made = BinaryGripper.of(settings(binary=True, open_position=[0.08]), 2)
    assert made is not None
    assert (made.open_position, made.closed_position) == ((0.08, 0.08), (0.0, 0.0))
    with pytest.raises(ValueError, match="open_position and closed_position are both 0"):
        BinaryGripper.of(settings(binary=True), 1)
    with pytest.raises(ValueError, match="open_position needs 1 or 3 values, got 2"):
        BinaryGripper.of(settings(binary=True, open_position=[1.0, 2.0]), 3)
