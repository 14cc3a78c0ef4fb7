# SPDX-License-Identifier: Apache-2.0
"""Action keys side by side: places, names, and the arithmetic of rotations."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gr00t_policy_core import rotation
from gr00t_policy_core.control.action_layout import ActionLayout, relative_rotvec, rotated
from gr00t_policy_core.control.chunk import Chunk

LAYOUT = ActionLayout({"arm": 2, "hand": 7, "gripper": 1}, poses=["hand"])


def vector(rotvec: tuple[float, float, float], value: float = 0.0) -> np.ndarray:
    """One value in every place, and a rotation."""
    row = np.full(LAYOUT.size, value)
    row[5:9] = rotation.quaternion_from_rotvec(np.array(rotvec))
    return row


def rotvec_of(row: np.ndarray) -> np.ndarray:
    return rotation.rotvec_from_quaternion(row[5:9])


def test_each_key_has_its_place_and_each_value_its_name() -> None:
    assert LAYOUT.size == 10
    assert [LAYOUT.slices[key].start for key in ("arm", "hand", "gripper")] == [0, 2, 9]
    assert [LAYOUT.name_of(i) for i in (0, 1, 2, 8, 9)] == [
        "arm[0]",
        "arm[1]",
        "hand[0]",
        "hand[6]",
        "gripper[0]",
    ]
    with pytest.raises(IndexError, match="no value 10 in a vector of 10"):
        LAYOUT.name_of(10)


def test_a_vector_is_split_by_key_without_a_copy() -> None:
    row = np.arange(10.0)
    parts = LAYOUT.split(row)
    assert [part.tolist() for part in parts.values()] == [[0, 1], [2, 3, 4, 5, 6, 7, 8], [9]]
    assert all(np.shares_memory(part, row) for part in parts.values())


def test_rows_take_the_keys_in_the_order_of_the_layout() -> None:
    layout = ActionLayout({"a": 1, "b": 2})
    chunk = Chunk(1, 0, 0.1, {"b": np.array([[2.0, 3.0]] * 4), "a": np.array([[1.0]] * 4)})
    assert_allclose(layout.rows(chunk), [[1.0, 2.0, 3.0]] * 4)


def test_a_pose_of_another_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a pose has 7 values, \['hand'\]"):
        ActionLayout({"hand": 6}, poses=["hand"])


def test_between_goes_straight_for_values_and_turns_rotations() -> None:
    start, end = vector((0.0, 0.0, 0.2), 1.0), vector((0.0, 0.0, 1.2), 3.0)
    middle = LAYOUT.interpolate(start, end, 0.25)
    assert_allclose(middle[[0, 1, 2, 9]], 1.5)
    assert_allclose(rotvec_of(middle), [0.0, 0.0, 0.45], atol=1e-12)
    assert np.linalg.norm(middle[5:9]) == pytest.approx(1.0, abs=1e-12)


def test_the_shorter_way_is_taken_whatever_the_sign_of_a_quaternion() -> None:
    start, end = vector((0.0, 0.0, 0.0)), vector((0.0, 0.0, 0.6))
    end[5:9] *= -1.0
    assert_allclose(rotvec_of(LAYOUT.interpolate(start, end, 0.5)), [0.0, 0.0, 0.3], atol=1e-12)


def test_an_offset_leads_back_to_where_it_was_taken() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        to, origin = (vector(tuple(rng.normal(size=3)), rng.normal()) for _ in range(2))
        there = LAYOUT.with_offset(origin, LAYOUT.offset(to, origin))
        assert_allclose(there[[0, 2, 9]], to[[0, 2, 9]])
        assert abs(there[5:9] @ to[5:9]) == pytest.approx(1.0, abs=1e-9)


def test_a_turn_near_half_a_circle_keeps_its_way_round() -> None:
    origin = vector((0.0, 0.0, 0.0))
    before = LAYOUT.offset(vector((0.0, 0.0, np.pi - 0.01)), origin)
    there = vector((0.0, 0.0, np.pi + 0.01))
    assert LAYOUT.offset(there, origin)[7] == pytest.approx(-np.pi + 0.01)
    assert LAYOUT.offset(there, origin, near=before)[7] == pytest.approx(np.pi + 0.01)
    assert_allclose(LAYOUT.offset(origin, origin, near=before)[5:9], 0.0)


def test_the_mean_of_rotations_lies_between_them_whatever_their_signs() -> None:
    rows = np.stack([vector((0.0, 0.4, 0.0), 1.0), vector((0.0, 0.8, 0.0), 3.0)])
    rows[1, 5:9] *= -1.0
    mean = LAYOUT.mean(rows, np.array([2.0, 2.0]))
    assert_allclose(mean[[0, 9]], 2.0)
    assert_allclose(rotvec_of(mean), [0.0, 0.6, 0.0], atol=1e-12)


def test_rotating_by_the_relative_rotation_leads_there() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        one, other = (rotation.quaternion_from_rotvec(rng.normal(size=3)) for _ in range(2))
        assert abs(rotated(one, relative_rotvec(other, one)) @ other) == pytest.approx(
            1.0, abs=1e-12
        )
