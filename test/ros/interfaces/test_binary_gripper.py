# SPDX-License-Identifier: Apache-2.0
"""Open and closed: threshold, hysteresis and hold time."""

from __future__ import annotations

from typing import Any

import pytest

from gr00t_ros.interfaces.binary_gripper import BINARY_PARAMETERS, BinaryGripper


def gripper() -> BinaryGripper:
    return BinaryGripper(
        threshold=0.5, hysteresis=0.2, min_hold_s=1.0, open_position=0.08, closed_position=0.0
    )


def test_it_starts_on_the_side_of_the_threshold_that_the_target_is_on() -> None:
    assert gripper().position(0.49, 0.0) == 0.08
    assert gripper().position(0.51, 0.0) == 0.0


def test_a_target_that_wavers_around_the_threshold_changes_nothing() -> None:
    one = gripper()
    targets = [0.3, 0.55, 0.45, 0.59, 0.61, 0.45, 0.41, 0.39]
    positions = [one.position(target, 10.0 * n) for n, target in enumerate(targets)]
    assert positions == [0.08, 0.08, 0.08, 0.08, 0.0, 0.0, 0.0, 0.08]


def test_a_position_is_held_for_a_while() -> None:
    one = gripper()
    assert one.position(0.9, 5.0) == 0.0
    assert one.position(0.1, 5.9) == 0.0
    assert one.position(0.1, 6.0) == 0.08
    assert one.position(0.9, 6.5) == 0.08


def settings(**changes: Any) -> dict[str, Any]:
    return {**{p.name: p.default for p in BINARY_PARAMETERS}, **changes}


def test_it_is_made_of_parameters_and_says_what_is_wrong_with_them() -> None:
    assert BinaryGripper.of(settings()) is None
    made = BinaryGripper.of(settings(binary=True, threshold=0.5, open_position=0.08))
    assert made is not None
    assert made.position(0.0, 0.0) == 0.08
    with pytest.raises(ValueError, match="threshold, min_hold_s: no effect without binary: true"):
        BinaryGripper.of(settings(threshold=0.5, min_hold_s=1.0))
    with pytest.raises(ValueError, match="open_position and closed_position are both 0"):
        BinaryGripper.of(settings(binary=True))
