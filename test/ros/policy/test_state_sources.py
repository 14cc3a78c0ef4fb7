# SPDX-License-Identifier: Apache-2.0
"""States that several publishers, or several sources, make up together."""

from __future__ import annotations

from typing import Any

from numpy.testing import assert_allclose
from observation_rig import STEP_MS, Streams, joints, ns
from policies_for_tests import EchoPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray


def part(ms: float, streams: Streams, **positions: float) -> None:
    """A message of one of several publishers on /joint_states."""
    message = JointState(name=list(positions), position=list(positions.values()))
    for name in ("state.arm", "state.gripper"):
        streams.buffers[name].add(ns(ms), message, received_ns=ns(ms))


def test_joints_of_several_publishers_make_one_state() -> None:
    streams = Streams()
    streams.camera(0)
    part(-5, streams, shoulder=1.0, wheel=9.0)
    part(0, streams, elbow=2.0)
    part(5, streams, finger=3.0)
    part(6, streams, wheel=9.5)
    built = streams.build(10)
    assert built.t0_ns == ns(-5)  # the newest time that every joint has reached
    assert_allclose(built.observation["state"]["arm"], [[[1.0, 2.0]]])
    assert_allclose(built.observation["state"]["gripper"], [[[3.0]]])


def test_the_history_of_each_joint_is_its_own() -> None:
    streams = Streams(EchoPolicy(state_delta_indices=(-2, 0)), max_skew_s=0.02)
    for ms in range(0, 301, 10):
        part(ms, streams, shoulder=ms, finger=ms)
        part(ms + 4, streams, elbow=ms + 4)
    streams.camera(300)
    arm = streams.build(305).observation["state"]["arm"]
    assert_allclose(arm, [[[200.0, 204.0], [300.0, 304.0]]])


def test_a_joint_that_stopped_coming_is_named_with_its_age() -> None:
    streams = Streams(max_age_s=0.2)
    for ms in range(0, 401, 10):
        part(ms, streams, shoulder=0.0, finger=0.0)
        if ms <= 100:
            part(ms, streams, elbow=0.0)
    streams.camera(400)
    trouble = streams.trouble(400)
    assert trouble.cause == "state.arm: stale on joint_states"
    assert "newest message of elbow is 0.30 s old, at most 0.2 s allowed" in str(trouble)


def test_a_joint_too_far_from_the_common_time_is_not_taken() -> None:
    """The elbow has come once, 0.15 s after the rest."""
    streams = Streams()
    streams.camera(0)
    part(0, streams, shoulder=0.0, finger=0.0)
    part(150, streams, elbow=0.0)
    trouble = streams.trouble(160)
    assert trouble.cause == "state.arm: no message at the required time"
    assert "the closest is 0.150 s away" in str(trouble)


SOURCES: dict[str, Any] = {
    "state__arm__type": None,
    "state__arm__topic": None,
    "state__arm__joints": None,
    "state__arm__sources": ["second", "first"],
    "state__arm__first__type": "joint_state",
    "state__arm__first__topic": "joint_states",
    "state__arm__first__joints": ["shoulder"],
    "state__arm__second__type": "joint_state",
    "state__arm__second__topic": "other_joint_states",
    "state__arm__second__joints": ["elbow"],
}


def test_a_state_of_several_sources_has_their_values_in_order() -> None:
    streams = Streams(EchoPolicy(state_delta_indices=(-1, 0)), **SOURCES)
    for ms in (0, STEP_MS):
        streams.camera(ms)
        for name in ("state.arm.first", "state.arm.second", "state.gripper"):
            streams.buffers[name].add(ns(ms), joints(ms), received_ns=0)
    arm = streams.build(STEP_MS + 1.0).observation["state"]["arm"]
    assert_allclose(arm, [[[1.0, 2.0], [STEP_MS + 1.0, STEP_MS + 2.0]]])


def test_a_source_that_is_missing_is_named() -> None:
    streams = Streams(**SOURCES)
    streams.camera(0)
    for name in ("state.arm.first", "state.gripper"):
        streams.buffers[name].add(ns(0), joints(1.0), received_ns=0)
    trouble = streams.trouble(10)
    assert str(trouble) == "state.arm.second: nothing received on other_joint_states yet"


def test_one_message_may_be_read_by_several_states() -> None:
    changes: dict[str, Any] = {
        "state__arm__type": "float64_multi_array",
        "state__arm__joints": None,
        "state__arm__topic": "array",
        "state__arm__select": [2, 0],
        "state__gripper__type": "float64_multi_array",
        "state__gripper__joints": None,
        "state__gripper__topic": "array",
        "state__gripper__select": [1],
        "action__arm__unmeasured": True,
        "action__gripper__unmeasured": True,
    }
    streams = Streams(**changes)
    streams.camera(0)
    for name in ("state.arm", "state.gripper"):
        message = Float64MultiArray(data=[1.0, 2.0, 3.0])
        streams.buffers[name].add(ns(0), message, received_ns=0)
    state = streams.build(10).observation["state"]
    assert_allclose(state["arm"], [[[3.0, 1.0]]])
    assert_allclose(state["gripper"], [[[2.0]]])
