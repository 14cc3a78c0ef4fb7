# SPDX-License-Identifier: Apache-2.0
"""Joints out of the messages of any number of publishers: merged by name, each with its own age."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sensor_msgs.msg import JointState

from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.joint_buffer import MAX_PARTS, NAMES_KEPT, JointBuffer

JOINTS = {"shoulder": 0.1, "elbow": -0.2, "finger": 0.3, "wheel": 9.0}
MS = 1_000_000
SECOND_NS = 1_000_000_000


def buffer(*joints: str, field: str = "position", span_ns: int = SECOND_NS) -> JointBuffer:
    return JointBuffer(joints or ("shoulder", "elbow"), field, span_ns=span_ns)


def joint_state(order: Sequence[str], **fields: Any) -> JointState:
    return JointState(name=list(order), position=[JOINTS[name] for name in order], **fields)


def add(into: JointBuffer, ms: float, **positions: float) -> None:
    message = JointState(name=list(positions), position=list(positions.values()))
    into.add(round(ms * MS), message, received_ns=round(ms * MS))


def test_joints_are_found_by_name_in_every_order_of_the_message() -> None:
    for order in itertools.permutations(JOINTS):
        joints = buffer()
        joints.add(0, joint_state(order), received_ns=0)
        assert_allclose(joints.latest().value, [0.1, -0.2])


def test_the_order_is_that_of_the_policy() -> None:
    joints = buffer("elbow", "shoulder")
    joints.add(0, joint_state(list(JOINTS)), received_ns=0)
    assert_allclose(joints.latest().value, [-0.2, 0.1])


def test_parts_of_several_publishers_are_merged_and_are_as_old_as_the_oldest() -> None:
    joints = buffer()
    add(joints, 10, shoulder=1.0)
    assert joints.latest() is None
    add(joints, 30, elbow=2.0)
    assert joints.latest().stamp_ns == 10 * MS
    assert_allclose(joints.latest().value, [1.0, 2.0])
    assert joints.oldest_joint() == "shoulder"
    add(joints, 50, shoulder=3.0)
    assert joints.latest().stamp_ns == 30 * MS
    assert_allclose(joints.latest().value, [3.0, 2.0])
    assert joints.oldest_joint() == "elbow"


def test_a_joint_of_two_publishers_is_what_the_later_one_says() -> None:
    joints = buffer("elbow")
    add(joints, 10, elbow=1.0, wheel=0.0)
    add(joints, 20, elbow=2.0)
    assert_allclose(joints.latest().value, [2.0])


def test_the_nearest_sample_is_stamped_as_the_joint_that_is_farthest_away() -> None:
    joints = buffer()
    add(joints, 0, shoulder=0.0, elbow=0.0)
    add(joints, 100, shoulder=1.0)
    add(joints, 130, elbow=1.3)
    nearest = joints.nearest(105 * MS)
    assert_allclose(nearest.value, [1.0, 1.3])
    assert nearest.stamp_ns == 130 * MS


def test_the_rate_is_that_of_the_slowest_joint_whoever_else_publishes() -> None:
    joints = buffer()
    for ms in range(0, 1001, 2):
        add(joints, ms, wheel=0.0)
        if ms % 10 == 0:
            add(joints, ms, shoulder=0.0)
        if ms % 50 == 0:
            add(joints, ms, elbow=0.0)
    assert joints.rate_hz(SECOND_NS) == pytest.approx(20.0)


def test_missing_joints_are_named_with_those_that_came() -> None:
    joints = buffer()
    assert joints.what_is_missing() == ""
    add(joints, 0, finger=0.0, shoulder=0.0)
    assert joints.what_is_missing() == (
        "no joint ['elbow'], the messages have ['finger', 'shoulder']"
    )
    add(joints, 0, elbow=0.0)
    assert joints.what_is_missing() == ""


def test_names_without_end_are_not_kept() -> None:
    joints = buffer()
    for number in range(2 * NAMES_KEPT):
        add(joints, number, **{f"joint_{number}": 0.0})
    assert joints.what_is_missing().count("joint_") == NAMES_KEPT


@pytest.mark.parametrize("field", ["velocity", "effort"])
def test_velocity_and_effort_are_read_where_asked_for(field: str) -> None:
    joints = buffer(field=field)
    joints.add(0, joint_state(["elbow", "shoulder"], **{field: [7.0, 8.0]}), received_ns=0)
    assert_allclose(joints.latest().value, [8.0, 7.0])


def test_a_field_that_one_publisher_leaves_empty_comes_from_another() -> None:
    joints = buffer(field="effort")
    joints.add(0, joint_state(["elbow", "shoulder"]), received_ns=0)
    assert joints.latest() is None
    assert joints.what_is_missing() == "no effort of ['shoulder', 'elbow'], only their names"
    joints.add(0, joint_state(["elbow", "shoulder"], effort=[1.0, 2.0]), received_ns=0)
    assert_allclose(joints.latest().value, [2.0, 1.0])


def test_another_number_of_values_than_of_names_is_refused_whole() -> None:
    joints = buffer()
    message = JointState(name=["shoulder", "elbow"], position=[0.5])
    with pytest.raises(ConversionError, match="1 values of position for 2 joints"):
        joints.add(0, message, received_ns=0)
    assert joints.latest() is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_whole_and_names_the_joint(value: float) -> None:
    joints = buffer()
    with pytest.raises(ConversionError, match=r"position that are not finite: .*elbow.: (nan|inf)"):
        add(joints, 0, shoulder=0.0, elbow=value)
    assert joints.what_is_missing() == "no position of ['shoulder', 'elbow'], only their names"
    add(joints, 1, shoulder=0.0, elbow=0.0, wheel=value)  # what nobody reads may be anything
    assert joints.latest() is not None


def test_samples_are_dropped_by_span_and_where_time_was_set_back() -> None:
    joints = buffer("elbow", span_ns=50 * MS)
    for ms in (0, 40, 100, 140):
        add(joints, ms, elbow=float(ms))
    assert joints.nearest(0).stamp_ns == 100 * MS
    joints.drop_after(120 * MS)
    assert joints.latest().stamp_ns == 100 * MS
    joints.clear()
    assert joints.latest() is None


def test_a_driver_that_tells_only_what_has_moved_is_followed() -> None:
    """Every message another group of joints: more groups than are kept."""
    names = tuple(f"joint_{number}" for number in range(7))
    joints = buffer(*names)
    told = dict.fromkeys(names, (0, 0.0))
    for ms in range(1, 400):
        moved = [name for bit, name in enumerate(names) if ms % 128 >> bit & 1]
        add(joints, ms, **dict.fromkeys(moved, float(ms)))
        told |= dict.fromkeys(moved, (ms, float(ms)))
    latest = joints.latest()
    assert_allclose(latest.value, [value for _, value in told.values()])
    assert latest.stamp_ns == min(ms for ms, _ in told.values()) * MS
    assert len(joints._parts) <= MAX_PARTS + len(names)
