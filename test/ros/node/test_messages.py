# SPDX-License-Identifier: Apache-2.0
"""The public messages: what they carry, and what their files say of themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import wait_until
from rclpy.node import Node

from gr00t_ros.msg import ActionChunk, ActionValues, ControlStatus, PolicyStatus

FILES = sorted((Path(__file__).resolve().parents[3] / "msg").glob("*.msg"))
TOPICS = {
    "ActionChunk": "`action_chunk`",
    "PolicyStatus": "`~/status`",
    "ControlStatus": "`~/status`",
    "RecorderStatus": "`~/status`",
    "TaskStatus": "`~/status`",
    "VisualizationStatus": "`~/status`",
}


def comment_before_the_first_field(path: Path) -> str:
    """The lines of the opening comment as one text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    opening = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    return " ".join(line.lstrip("# ") for line in opening)


def fields_of(path: Path) -> dict[str, str]:
    """Type of every field by name; constants are left out."""
    lines = (line.partition("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
    parts = [line.split() for line in lines if line.strip() and "=" not in line]
    return {name: kind for kind, name in parts}


def test_an_action_chunk_crosses_dds_unchanged(ros_node: Node) -> None:
    values = ActionValues(name="single_arm", dimension=2, values=[0.1, -1.5, 3.0, 1.0 / 3.0])
    sent = ActionChunk(chunk_id=7, dt=0.05, horizon=2, actions=[values], round_trip_s=0.125)
    sent.header.stamp.sec = 12
    received: list[ActionChunk] = []
    ros_node.create_subscription(ActionChunk, "chunks", received.append, 1)
    publisher = ros_node.create_publisher(ActionChunk, "chunks", 1)
    wait_until(publisher.get_subscription_count, what="the subscription is discovered")

    publisher.publish(sent)

    wait_until(lambda: received, what="the chunk arrives")
    assert received == [sent]
    assert list(received[0].actions[0].values) == [0.1, -1.5, 3.0, 1.0 / 3.0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_message_says_who_publishes_it_how_often_and_what_can_be_relied_on(path: Path) -> None:
    opening = comment_before_the_first_field(path)
    if path.stem not in TOPICS:
        assert re.search(r"Part of \w+", opening), opening
        return
    assert TOPICS[path.stem] in opening
    for heading in ("Published by:", "Rate:", "QoS:", "What a consumer may rely on"):
        assert heading in opening, heading


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_duration_and_rate_has_its_unit_in_its_name_or_comment(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("float64 ") and re.search(r"_s\b|_hz\b", line.split()[1]):
            assert re.search(r"\b(s|Hz)\b", line.partition("#")[2]), line


def test_no_field_is_in_both_statuses_but_what_both_nodes_have() -> None:
    shared = set(fields_of(msg("PolicyStatus"))) & set(fields_of(msg("ControlStatus")))
    assert shared == {"header", "state", "reason", "chunk_id", "observation_age"}


def test_the_states_of_both_statuses_have_the_same_numbers() -> None:
    names = [name for name in dir(PolicyStatus) if name.startswith("STATE_")]
    assert len(names) == 4
    assert [getattr(PolicyStatus, n) for n in names] == [getattr(ControlStatus, n) for n in names]


def test_stop_is_a_field_of_its_own_and_values_are_doubles() -> None:
    chunk, values = fields_of(msg("ActionChunk")), fields_of(msg("ActionValues"))
    assert (chunk["stop"], chunk["stop_reason"]) == ("bool", "string")
    assert values["values"] == "float64[]"
    assert not ActionChunk().stop


def msg(name: str) -> Path:
    (path,) = [path for path in FILES if path.stem == name]
    return path
