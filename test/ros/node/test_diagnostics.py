# SPDX-License-Identifier: Apache-2.0
"""A status as a message of /diagnostics."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from gr00t_ros.msg import PolicyStatus
from gr00t_ros.node.diagnostics import diagnostics

NODE: Any = SimpleNamespace(get_fully_qualified_name=lambda: "/robot1/control_node")


def entry_of(**fields: Any) -> DiagnosticStatus:
    (entry,) = diagnostics(NODE, PolicyStatus(**fields), Time(sec=7)).status
    return entry


@pytest.mark.parametrize(
    ("state", "reason", "level", "message"),
    [
        (PolicyStatus.STATE_RUNNING, "", DiagnosticStatus.OK, "running"),
        (PolicyStatus.STATE_RUNNING, "too slow", DiagnosticStatus.WARN, "running: too slow"),
        (PolicyStatus.STATE_STOPPED, "not active", DiagnosticStatus.OK, "stopped: not active"),
        (PolicyStatus.STATE_WAITING, "no chunk", DiagnosticStatus.WARN, "waiting: no chunk"),
        (PolicyStatus.STATE_HOLDING, "told to", DiagnosticStatus.WARN, "holding: told to"),
        (99, "", DiagnosticStatus.ERROR, "unknown"),
    ],
)
def test_state_and_reason_make_level_and_message(
    state: int, reason: str, level: bytes, message: str
) -> None:
    entry = entry_of(state=state, reason=reason)
    assert (entry.level, entry.message) == (level, message)


def test_it_is_stamped_and_named_after_the_node() -> None:
    array = diagnostics(NODE, PolicyStatus(), Time(sec=7))
    assert array.header.stamp.sec == 7
    assert array.status[0].name == "robot1/control_node"


def test_every_number_that_is_known_is_told_and_none_that_is_not() -> None:
    entry = entry_of(round_trip_s=0.125, observation_age_s=math.nan, limiter_hits=3, steps_left=4)
    values = {pair.key: pair.value for pair in entry.values}
    assert (values["round_trip_s"], values["limiter_hits"], values["steps_left"]) == (
        "0.125",
        "3",
        "4",
    )
    assert "observation_age_s" not in values
    assert "state" not in values


def test_counts_are_told_to_the_last_digit() -> None:
    values = {pair.key: pair.value for pair in entry_of(commands=123_456_789).values}
    assert values["commands"] == "123456789"


def test_each_stream_tells_its_age_and_rate() -> None:
    entry = entry_of(
        stream_names=["video.front"],
        stream_ages_s=[0.0625],
        stream_rates_hz=[29.5],
        stream_expected_hz=[30.0],
    )
    values = {pair.key: pair.value for pair in entry.values}
    assert values["video.front age_s"] == "0.0625"
    assert values["video.front rate_hz"] == "29.5"
