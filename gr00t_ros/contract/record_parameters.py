# SPDX-License-Identifier: Apache-2.0
"""The parameters `record.…`: what the recorder writes, where, and for which action. Pure."""

from __future__ import annotations

from gr00t_ros.contract.conditions import FROM_STATE
from gr00t_ros.contract.parameter import Parameter

ACTION_SOURCES = ("command", "state")
COMPRESSIONS = ("none", "lz4", "zstd")

RECORD_PARAMETERS = (
    Parameter(
        "record.folder",
        "recordings",
        "folder of the episodes; `~` is the home folder, a relative one is below the folder that "
        "the recorder was started in",
    ),
    Parameter(
        "record.task",
        "",
        "what is demonstrated, unless the operator says it with each episode; empty: the "
        "instruction",
    ),
    Parameter(
        "record.action_from",
        "command",
        "where the demonstrated action comes from. command: the command topics, which the leader "
        "arm or the teleoperation publishes; state: what the states measure "
        "record.action_lead_steps later",
        choices=ACTION_SOURCES,
    ),
    Parameter(
        "record.action_lead_steps",
        1,
        "steps of action_rate_hz by which the measured state is ahead of its observation",
        1,
        100,
        only_with=FROM_STATE,
    ),
    Parameter("record.topics", [], "topics to record beside those that the file names"),
    Parameter(
        "record.require_streams",
        True,
        "an episode begins only if every camera and state was received within its max_age_s",
    ),
    Parameter(
        "record.pedal_topic",
        "",
        "topic of a foot pedal, std_msgs/Bool: each change to true begins or ends an episode; "
        "empty: none",
    ),
    Parameter(
        "record.compression",
        "none",
        "compression of the MCAP file; none: messages go to the file as they were received",
        choices=COMPRESSIONS,
    ),
    Parameter(
        "record.queue_mb",
        256,
        "MB, received messages that may wait for the disk; beyond it they are dropped and counted",
        1,
        65536,
    ),
    Parameter(
        "record.min_free_mb",
        1024,
        "MB, recording stops when less than this is free on the disk",
        0,
        2**30,
    ),
)
