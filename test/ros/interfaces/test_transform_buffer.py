# SPDX-License-Identifier: Apache-2.0
"""Poses from tf: at the instant that is asked for, or none."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import tf2_double
from numpy.testing import assert_allclose
from tf2_double import transform

from gr00t_policy_core import rotation
from gr00t_policy_core.kinematics.pose_convention import NO_ROTATION
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.message_types.end_effector import EndEffectorState
from gr00t_ros.interfaces.transform_buffer import TransformBuffer

S = 1_000_000_000
TOOL = np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 1.0])


def pose(x: float, turned: float = 0.0) -> np.ndarray:
    """A pose at x, turned about z, rad."""
    turn = rotation.quaternion_from_rotvec(np.array([0.0, 0.0, turned]))
    return np.concatenate([[x, 0.0, 0.0], turn])


@pytest.fixture
def buffer(monkeypatch: pytest.MonkeyPatch) -> TransformBuffer:
    """A tip that moves against a link, which is fixed to the base; known from 10 s to 12 s."""
    tf2_double.install(monkeypatch)
    buffer = TransformBuffer("base", "tip")
    buffer.set_transform_static(transform("base", "link", 0, pose(1.0)), "test")
    for at_s in (10, 11, 12):
        buffer.set_transform(transform("link", "tip", at_s * S, pose(at_s - 10.0)), "test")
    return buffer


def test_a_pose_is_interpolated_at_the_instant_that_is_asked_for(buffer: TransformBuffer) -> None:
    sample = buffer.nearest(10 * S + S // 4)
    assert sample is not None
    assert sample.stamp_ns == 10 * S + S // 4
    assert_allclose(sample.value, pose(1.25))
    latest = buffer.latest()
    assert latest is not None
    assert (latest.stamp_ns, latest.value[0]) == (12 * S, 3.0)


@pytest.mark.parametrize("stamp_ns", [10 * S - 1, 12 * S + 1])
def test_nothing_is_extrapolated(buffer: TransformBuffer, stamp_ns: int) -> None:
    assert buffer.nearest(stamp_ns) is None
    assert "extrapolation" in buffer.what_is_missing()


def test_the_newest_instant_is_that_of_the_slowest_transform(buffer: TransformBuffer) -> None:
    buffer.set_transform(transform("base", "link", 13 * S, pose(1.0)), "test")  # moves after all
    other = TransformBuffer("a", "c")
    other.set_transform(transform("a", "b", 5 * S, pose(0.0)), "test")
    other.set_transform(transform("b", "c", 7 * S, pose(0.0)), "test")
    assert other.latest() is None
    other.set_transform(transform("b", "c", 5 * S, pose(2.0)), "test")
    latest = other.latest()
    assert latest is not None
    assert latest.stamp_ns == 5 * S


def test_frames_that_are_not_connected_have_no_pose(buffer: TransformBuffer) -> None:
    lonely = TransformBuffer("base", "moon")
    assert lonely.latest() is None
    assert "moon" in lonely.what_is_missing()
    assert lonely.rate_hz(time.monotonic_ns()) == 0.0


def test_the_rate_counts_instants_of_the_pose_not_messages_of_tf(buffer: TransformBuffer) -> None:
    for at_s in range(100):
        buffer.set_transform(transform("base", "elsewhere", at_s * S, pose(0.0)), "test")
    received = len(buffer._receptions)
    assert received == 3
    assert buffer.rate_hz(time.monotonic_ns()) > 0.0


def test_a_cleared_buffer_begins_again_at_an_earlier_time(buffer: TransformBuffer) -> None:
    buffer.clear()
    assert buffer.latest() is None
    buffer.set_transform_static(transform("base", "link", 0, pose(1.0)), "test")
    buffer.set_transform(transform("link", "tip", 1 * S, pose(0.5)), "test")
    latest = buffer.latest()
    assert latest is not None
    assert (latest.stamp_ns, latest.value[0]) == (1 * S, 1.5)


def test_a_history_beyond_the_cache_and_a_message_are_refused(buffer: TransformBuffer) -> None:
    buffer.keep(10 * S)
    with pytest.raises(ValueError, match=r"needs 31\.0 s of transforms, 30 s are kept"):
        buffer.keep(31 * S)
    with pytest.raises(ConversionError, match="takes its transforms from tf2"):
        buffer.add(0, object(), received_ns=0)


@pytest.mark.parametrize(
    ("parent", "child", "reaches_s"),
    [
        ("link", "tip", 50.0),
        ("odom", "map", 0.0),  # not between the frames
        ("base", "link", 12.0),  # moves after all: the tip has reached 12 s
    ],
)
def test_a_transform_says_which_instant_the_pose_would_reach(
    buffer: TransformBuffer, parent: str, child: str, reaches_s: float
) -> None:
    ahead = transform(parent, child, 50 * S, pose(0.0))
    assert buffer.would_reach_ns(ahead) == reaches_s * S


def test_before_the_frames_are_connected_no_instant_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tf2_double.install(monkeypatch)
    buffer = TransformBuffer("base", "tip")
    assert buffer.would_reach_ns(transform("map", "base", 50 * S, pose(0.0))) == 0


def test_after_a_clear_the_instant_is_that_of_new_transforms(buffer: TransformBuffer) -> None:
    buffer.clear()
    assert buffer.would_reach_ns(transform("link", "tip", 5 * S, pose(0.0))) == 5 * S


def settings(**changes: object) -> dict[str, object]:
    return {
        "source": "tf",
        "joints": [],
        "base": "base",
        "tip": "tip",
        "tool": TOOL.tolist(),
        "rotation_before": list(NO_ROTATION),
        "rotation_after": list(NO_ROTATION),
        "representation": "xyz_quat",
        **changes,
    }


def test_a_state_from_tf_has_tool_and_convention_and_needs_no_description(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tf2_double.install(monkeypatch)
    quarter = rotation.quaternion_from_rotvec(np.array([0.0, np.pi / 2, 0.0]))
    state = EndEffectorState(settings(rotation_before=quarter.tolist()))
    assert not state.needs_description
    assert not state.measured_joints
    assert isinstance(state.make_buffer(S), TransformBuffer)
    values = state.read(pose(0.5, turned=0.3))
    assert_allclose(values[:3], [0.1, 0.0, -0.5], atol=1e-12)  # z to x, x to -z
    assert state.described("<robot/>") is state


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"joints": ["a"]}, "source tf has no joints"),
        ({"source": "joint_states"}, "source joint_states needs joints"),
    ],
)
def test_joints_belong_to_one_source_only(
    changes: dict[str, object], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf2_double.install(monkeypatch)
    with pytest.raises(ValueError, match=problem):
        EndEffectorState(settings(**changes))


def test_a_machine_without_tf2_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    with pytest.raises(ValueError, match=r"sudo apt install ros-.*-tf2-ros-py"):
        EndEffectorState(settings())
