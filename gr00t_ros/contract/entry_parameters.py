# SPDX-License-Identifier: Apache-2.0
"""The parameters that every camera, every state and every action has, by short name. Pure.

What one message type needs beside these stands in its own module of
`gr00t_ros.interfaces.message_types`.
"""

from __future__ import annotations

import math

from gr00t_ros.contract.conditions import BODIES, JOINT_POSITIONS, JOINTS, MEASURED, POSITIONS
from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.contract.workspace_sides import SIDES_PARAMETERS
from gr00t_ros.interfaces.end_effector_frames import TIP, TOOL

# Of sensor_msgs/image_encodings, those with 8 bits a channel.
ENCODINGS = (
    *("rgb8", "bgr8", "rgba8", "bgra8", "mono8"),
    *("bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8"),
    *("uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"),
)

TYPE = Parameter(
    "type",
    "",
    "message type, one of those below or `package.module:Class` of your own",
    required=True,
)
SOURCES = Parameter(
    "sources",
    [],
    "names of the streams that make up the state, in order; each has the parameters of a state "
    "under "
    "`state.<key>.<name>.…`; empty: the state is a single stream",
)
KEYS = Parameter(
    "keys",
    [],
    "keys of the policy whose values make up the action, in order; empty: the one that the action "
    "is named after",
)
IGNORE = Parameter(
    "ignore", False, "the robot has no use for this key of the policy: nothing is commanded"
)

_STREAM = (
    Parameter("topic", "", "topic of the stream", required=True),
    Parameter("rate_hz", 0.0, "Hz, expected rate of the stream; 0: not monitored", 0.0, 10_000.0),
    Parameter(
        "max_age_s",
        0.0,
        "s, maximum age of the newest message, instead of the common max_age_s; 0: the common one",
        0.0,
        60.0,
    ),
)
_CONVERSION = (
    Parameter("scale", [1.0], "converts units: output = input * scale + offset; 1 or D values"),
    Parameter("offset", [0.0], "added after scaling, in the unit of the output; 1 or D values"),
)
# Of an arm of the size of a person's; a limit that binds is counted in the status.
_JOINT_LIMITS = (
    Parameter(
        "min_position",
        [-math.inf],
        "rad (or m), lowest position; 1 or D values",
        only_with=JOINT_POSITIONS,
    ),
    Parameter(
        "max_position",
        [math.inf],
        "rad (or m), highest position; 1 or D values",
        only_with=JOINT_POSITIONS,
    ),
    Parameter("max_velocity", [3.0], "rad/s (or m/s); 1 or D values", only_with=JOINTS),
    Parameter("max_acceleration", [25.0], "rad/s² (or m/s²); 1 or D values", only_with=JOINTS),
    Parameter("max_jerk", [500.0], "rad/s³ (or m/s³); 1 or D values", only_with=JOINTS),
)
_FOLLOWING = Parameter(
    "max_following_error",
    [0.5],
    "rad and m, the robot comes to rest when a joint or pose is measured further than this from "
    "its "
    "command; 0: not monitored, as for a gripper that holds something; 1 or D values (pose: 1)",
    only_with=MEASURED,
)
_BODY_LIMITS = tuple(
    Parameter(f"max_{name}", default, f"{unit}, largest magnitude", 1e-3, most, only_with=BODIES)
    for name, default, unit, most in (
        ("linear_velocity", 1.0, "m/s", 100.0),
        ("linear_acceleration", 5.0, "m/s²", 1000.0),
        ("angular_velocity", 3.0, "rad/s", 100.0),
        ("angular_acceleration", 15.0, "rad/s²", 1000.0),
    )
)

VIDEO_PARAMETERS = (
    *_STREAM,
    Parameter("width", 0, "px, width of the image that the policy gets; 0: as received", 0, 16384),
    Parameter(
        "height", 0, "px, height of the image that the policy gets; 0: as received", 0, 16384
    ),
    Parameter(
        "encoding",
        "",
        "encoding of a sensor_msgs/Image whose driver reports a wrong one or only 8UC3; empty: as "
        "reported",
        choices=("", *ENCODINGS),
    ),
)
STATE_PARAMETERS = (
    TYPE,
    *_STREAM,
    Parameter(
        "select",
        [],
        "indices of the values of the message that make up the state, in order, from 0; empty: all",
        minimum=0,
        maximum=10_000,
    ),
    *_CONVERSION,
)
ACTION_PARAMETERS = (
    TYPE,
    Parameter(
        "topic",
        "",
        "topic that commands are published on, or name of the action that they are sent to",
        required=True,
    ),
    Parameter(
        "teleop_topic",
        "",
        "topic of a teleoperation device that commands this action in the same message type, in SI "
        "units; it is followed while a person drives (~/intervene); empty: none",
    ),
    Parameter(
        "unmeasured",
        False,
        "allow commands that no state measures; max_jump and max_age_s do not apply to them",
        only_with=POSITIONS,
    ),
    KEYS,
    Parameter(
        "select",
        [],
        "indices of the values of those keys that make up the action, in order, from 0; empty: all",
        minimum=0,
        maximum=10_000,
    ),
    *_CONVERSION,
    *_JOINT_LIMITS,
    _FOLLOWING,
    *_BODY_LIMITS,
)
WORKSPACE_PARAMETERS = (
    Parameter("base", "", "link in whose frame box and floor are given", required=True),
    TIP,
    TOOL,
    *SIDES_PARAMETERS,
)
