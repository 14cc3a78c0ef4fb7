# SPDX-License-Identifier: Apache-2.0
"""The parameters of the control node: how chunks are played, and when the robot may move. Pure."""

from __future__ import annotations

from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.player_settings import OutOfRange
from gr00t_ros.contract.conditions import (
    ANY_JOINTS,
    ANY_MEASURED,
    BLENDED,
    GATED,
)
from gr00t_ros.contract.parameter import Parameter

BLEND_MODES = tuple(mode.value for mode in BlendMode)
INTERPOLATIONS = ("cubic", "linear")
OUT_OF_RANGE = tuple(mode.value for mode in OutOfRange)
STARVATIONS = ("hold", "stop_publishing")
ANY_DESCRIPTION = "auto"  # as robot_description_topic

MOTION_PARAMETERS = (
    Parameter("blend", "offset_fade", "how consecutive chunks are blended", choices=BLEND_MODES),
    Parameter(
        "blend_s",
        0.3,
        "s, how long a new chunk's difference from the present one is faded out for; up to twice "
        "as long where that keeps the motion gentle",
        0.0,
        10.0,
        only_with=BLENDED,
    ),
    Parameter("interpolation", "cubic", "path between two steps", choices=INTERPOLATIONS),
    Parameter(
        "max_jump",
        0.5,
        "rad and m: a chunk that begins further than this from a joint or pose is refused; 0: any "
        "distance",
        0.0,
        100.0,
        only_with=ANY_MEASURED,
    ),
    Parameter(
        "out_of_range",
        "refuse",
        "a joint that stands outside its range: refuse to move it, or return it within its other "
        "limits",
        choices=OUT_OF_RANGE,
        only_with=ANY_MEASURED,
    ),
    Parameter(
        "max_observation_age_s",
        0.0,
        "s, the motion stops when the observation behind it is older; 0: twice the duration of a "
        "chunk and one replan_interval_s, at most 2 (inference: sync: the duration and 2)",
        0.0,
        3600.0,
    ),
    Parameter(
        "require_subscribers",
        True,
        "do not move before every command topic has a subscriber, nor once one has lost its last",
    ),
    Parameter(
        "on_starvation",
        "hold",
        "when there is nothing valid to play, after coming to rest",
        choices=STARVATIONS,
    ),
    Parameter("enable_topic", "", "std_msgs/Bool that must say true for motion; empty: none"),
    Parameter(
        "enable_timeout_s",
        0.5,
        "s, a true that is older counts as false",
        0.01,
        60.0,
        only_with=GATED,
    ),
    Parameter(
        "robot_description_topic",
        ANY_DESCRIPTION,
        "std_msgs/String with the URDF, whose limits apply too; auto: robot_description in "
        "the namespace of the node, else /robot_description; empty: none",
        only_with=ANY_JOINTS,
    ),
    Parameter(
        "require_urdf",
        False,
        "do not move before a robot description has come that has every joint that is commanded",
        only_with=ANY_JOINTS,
    ),
    Parameter("realtime_priority", 0, "SCHED_FIFO priority of the control loop; 0: none", 0, 99),
    Parameter("cpu_affinity", -1, "CPU that the control loop is kept on; -1: any", -1, 1023),
    Parameter(
        "record_path",
        "",
        "file that the control node writes a run into when it is deactivated, to be played again; "
        "empty: none",
    ),
)
