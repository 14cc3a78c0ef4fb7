# SPDX-License-Identifier: Apache-2.0
"""A status as a message of /diagnostics."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from gr00t_ros.msg import (
    CommandTopicStatus,
    ControlStatus,
    JointStatus,
    LatencyStatistics,
    PolicyStatus,
    StreamStatus,
)
from gr00t_ros.node.diagnostics import Status, diagnostics

NODE: Any = SimpleNamespace(get_fully_qualified_name=lambda: "/robot1/control_node")


def entry_of(status: Status) -> DiagnosticStatus:
    (entry,) = diagnostics(NODE, status, Time(sec=7)).status
    return entry


def values_of(status: Status) -> dict[str, str]:
    return {pair.key: pair.value for pair in entry_of(status).values}


@pytest.mark.parametrize(
    ("state", "reason", "level", "message"),
    [
        (ControlStatus.STATE_RUNNING, "", DiagnosticStatus.OK, "running"),
        (ControlStatus.STATE_RUNNING, "too slow", DiagnosticStatus.WARN, "running: too slow"),
        (ControlStatus.STATE_STOPPED, "not active", DiagnosticStatus.OK, "stopped: not active"),
        (ControlStatus.STATE_WAITING, "no chunk", DiagnosticStatus.WARN, "waiting: no chunk"),
        (ControlStatus.STATE_HOLDING, "told to", DiagnosticStatus.WARN, "holding: told to"),
        (99, "", DiagnosticStatus.ERROR, "unknown"),
    ],
)
def test_state_and_reason_make_level_and_message(
    state: int, reason: str, level: bytes, message: str
) -> None:
    entry = entry_of(ControlStatus(state=state, reason=reason))
    assert (entry.level, entry.message) == (level, message)


def test_it_is_stamped_and_named_after_the_node() -> None:
    array = diagnostics(NODE, ControlStatus(), Time(sec=7))
    assert array.header.stamp.sec == 7
    assert array.status[0].name == "robot1/control_node"


def test_the_states_of_the_policy_node_have_the_same_levels() -> None:
    entry = entry_of(PolicyStatus(state=PolicyStatus.STATE_ERROR, reason="no server"))
    assert (entry.level, entry.message) == (DiagnosticStatus.ERROR, "error: no server")


def test_every_number_that_is_known_is_told_and_none_that_is_not() -> None:
    known = LatencyStatistics(last_s=0.125, p50_s=0.25, p99_s=0.5)
    unknown = LatencyStatistics(last_s=math.nan, p50_s=math.nan, p99_s=math.nan)
    values = values_of(
        ControlStatus(
            limiter_hits=3,
            steps_left=4,
            stalled_s=1.5,
            observation_age=known,
            tick_lateness=unknown,
        )
    )
    assert (values["limiter_hits"], values["steps_left"], values["stalled_s"]) == ("3", "4", "1.5")
    assert values["observation_age last_s"] == "0.125"
    assert values["observation_age p50_s"] == "0.25"
    assert values["observation_age p99_s"] == "0.5"
    assert not [key for key in values if key.startswith("tick_lateness")]
    assert "state" not in values


def test_counts_are_told_to_the_last_digit() -> None:
    assert values_of(ControlStatus(commands=123_456_789))["commands"] == "123456789"


def test_each_stream_tells_its_age_and_rate() -> None:
    stream = StreamStatus(name="video.front", age_s=0.0625, rate_hz=29.5, expected_rate_hz=30.0)
    values = values_of(PolicyStatus(streams=[stream]))
    assert values["video.front age_s"] == "0.0625"
    assert values["video.front rate_hz"] == "29.5"


def test_each_command_topic_tells_who_listens() -> None:
    topic = CommandTopicStatus(topic="/commands", subscription_count=2)
    values = values_of(ControlStatus(command_topics=[topic]))
    assert values["/commands subscription_count"] == "2"


def test_each_joint_tells_its_values_and_the_limits_in_force() -> None:
    joint = JointStatus(
        name="elbow",
        reference=1.0,
        command=0.5,
        feedback=0.25,
        limited_by="velocity",
        min_position=-2.0,
        max_position=2.0,
        max_velocity=3.0,
        max_acceleration=20.0,
        max_jerk=400.0,
        limit_sources="max_velocity: yaml",
    )
    assert values_of(ControlStatus(joints=[joint]))["joint elbow"] == (
        "reference 1, command 0.5, feedback 0.25, limited by its velocity; range -2 to 2, "
        "velocity 3, acceleration 20, jerk 400 (max_velocity: yaml)"
    )
