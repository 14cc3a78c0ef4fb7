# SPDX-License-Identifier: Apache-2.0
"""The parameters of the control node: how chunks are played, and when the robot may move. Pure."""

from __future__ import annotations

from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.player_settings import OutOfRange
from gr00t_ros.contract.conditions import (
    ANY_JOINTS,
    ANY_MEASURED,
    ANY_TELEOP,
    ANY_TRAJECTORY,
    BLENDED,
    DESCRIBED,
    GATED,
    SWITCHED,
)
from gr00t_ros.contract.parameter import Parameter

BLEND_MODES = tuple(mode.value for mode in BlendMode)
INTERPOLATIONS = ("cubic", "linear")
OUT_OF_RANGE = tuple(mode.value for mode in OutOfRange)
MODES = ("live", "shadow")
STARVATIONS = ("hold", "stop_publishing")
ANY_DESCRIPTION = "auto"  # as robot_description_topic

MOTION_PARAMETERS = (
    Parameter(
        "mode",
        "live",
        "live: the robot is commanded; shadow: everything is computed and reported, and nothing is "
        "commanded; ~/go_live and ~/go_shadow change it",
        choices=MODES,
    ),
    Parameter("blend", "offset_fade", "how consecutive chunks are blended", choices=BLEND_MODES),
    Parameter(
        "blend_s",
        0.3,
        "s, time over which the difference between the new chunk and the motion under way is "
        "blended "
        "away; up to twice as long for a large difference",
        0.0,
        10.0,
        only_with=BLENDED,
    ),
    Parameter(
        "interpolation",
        "cubic",
        "interpolation between two steps of a chunk",
        choices=INTERPOLATIONS,
    ),
    Parameter(
        "max_jump",
        0.5,
        "rad and m, a chunk that begins further than this from the measured position is rejected; "
        "0: "
        "no limit",
        0.0,
        100.0,
        only_with=ANY_MEASURED,
    ),
    Parameter(
        "out_of_range",
        "refuse",
        "what to do when a joint is measured outside its position limits: refuse to move the "
        "robot, "
        "or return the joint within its velocity, acceleration and jerk limits",
        choices=OUT_OF_RANGE,
        only_with=ANY_MEASURED,
    ),
    Parameter(
        "max_observation_age_s",
        0.0,
        "s, the robot comes to rest when the observation behind the chunk is older than this; 0: "
        "twice the duration of a chunk plus replan_interval_s, at most 2 s (inference: sync: the "
        "duration plus 2 s, and 2 s in which none could be built or the policy node is silent)",
        0.0,
        3600.0,
    ),
    Parameter(
        "require_subscribers",
        True,
        "move only while every command topic has a subscriber",
    ),
    Parameter(
        "on_starvation",
        "hold",
        "what to do after coming to rest when there is no valid chunk to play",
        choices=STARVATIONS,
    ),
    Parameter(
        "enable_topic",
        "",
        "topic of a std_msgs/Bool that must be true for the robot to move; empty: none",
    ),
    Parameter(
        "enable_timeout_s",
        0.5,
        "s, age at which the last message of enable_topic no longer allows motion",
        0.01,
        60.0,
        only_with=GATED,
    ),
    Parameter(
        "intervene_topic",
        "",
        "topic of a std_msgs/Bool, such as a pedal: when it becomes true a person takes over, when "
        "it becomes false they hand back to the policy; empty: none, ~/intervene does it",
        only_with=ANY_TELEOP,
    ),
    Parameter(
        "teleop_timeout_s",
        0.3,
        "s, the robot comes to rest when no teleoperation command came for this long while a "
        "person drives",
        0.02,
        10.0,
        only_with=ANY_TELEOP,
    ),
    Parameter(
        "robot_description_topic",
        ANY_DESCRIPTION,
        "topic of a std_msgs/String with the URDF: its joint limits apply as well, and it gives "
        "the kinematics of end effectors and workspaces; auto: "
        "robot_description in the node's namespace, or /robot_description; empty: none",
        only_with=DESCRIBED,
    ),
    Parameter(
        "require_urdf",
        False,
        "move only once a URDF with every commanded joint was received",
        only_with=ANY_JOINTS,
    ),
    Parameter(
        "trajectory_lead_s",
        0.1,
        "s, a new trajectory departs from the old one this long after its chunk, a stop at once; "
        "well above the time that making it takes (forecast_time of the status)",
        0.01,
        1.0,
        only_with=ANY_TRAJECTORY,
    ),
    Parameter(
        "activate_controllers",
        [],
        "controllers of ros2_control that are activated with the node, in place of those that hold "
        "the same joints; switched back when the node is deactivated; empty: none",
    ),
    Parameter(
        "controller_manager",
        "/controller_manager",
        "name of the controller manager",
        only_with=SWITCHED,
    ),
    Parameter("realtime_priority", 0, "SCHED_FIFO priority of the control loop; 0: none", 0, 99),
    Parameter("cpu_affinity", -1, "CPU that the control loop runs on; -1: any", -1, 1023),
    Parameter(
        "record_path",
        "",
        "file into which the control node writes a recording of its run when it is deactivated; "
        "empty: none",
    ),
)
