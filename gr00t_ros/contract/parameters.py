# SPDX-License-Identifier: Apache-2.0
"""Every ROS parameter of the two nodes: default, range, unit, and what it is for.

One table serves three readers: the nodes declare from it, the contract is checked against it, and
`ros2 param describe` shows it. Pure: nothing here imports ROS.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gr00t_ros.contract.parameter_uses import (
    ANY_JOINTS,
    ANY_MEASURED,
    ARRAYS,
    ASYNC,
    BODIES,
    FADED,
    GATED,
    INTERFACES,
    JPEG,
    LIMITED,
    LOCAL,
    MEASURED,
    NAMED,
    OF_JOINT_STATE,
    ONE_HOST,
    PLACES,
    POSES,
    POSITIONS,
    SERVER,
    Use,
)

VIDEO, STATE, ACTION = "video", "state", "action"
CHUNK_TOPIC = "action_chunk"  # from the policy node to the control node
REPRESENTATIONS = {"xyz_rot6d": 9, "xyz_rotvec": 6, "xyz_quat": 7}
JOINT_FIELDS = ("position", "velocity", "effort")
BACKENDS = ("server", "local")
IMAGE_ENCODINGS = ("raw", "jpeg")
# Of sensor_msgs/image_encodings, those with 8 bits a channel.
ENCODINGS = (
    *("rgb8", "bgr8", "rgba8", "bgra8", "mono8"),
    *("bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8"),
    *("uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21"),
)
# As of the flags of `gr00t-policy serve`; importing them would bring the command line along.
DTYPES = ("bfloat16", "float16", "float32", "fp8")
COMPILE_MODES = ("default", "max-autotune")
WHEN = ("auto", "always", "never")  # not on and off, which YAML reads as booleans
BLENDS = ("offset_fade", "replace", "ensemble", "rtc")
INTERPOLATIONS = ("cubic", "linear")
WHEN_HOLDING = ("last", "zero")
ANY_DESCRIPTION = "auto"  # as robot_description_topic
OUT_OF_RANGE = ("refuse", "return")
STARVATIONS = ("hold", "stop_publishing")
INFERENCES = ("async", "sync")

# Parameters that rclpy itself declares or understands.
ROS_PARAMETERS = ("use_sim_time", "start_type_description_service", "qos_overrides")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, or one field of every key of a modality.

    Args:
        name: ``policy.host``, or the field's name after ``<modality>.<key>.``.
        default: The value when none is given; its type is the parameter's type.
        description: What it is for, with its unit.
        minimum: Smallest number allowed, in the parameter's unit.
        maximum: Largest number allowed, in the parameter's unit.
        choices: The strings allowed; empty for any.
        required: There is no sensible default: it has to be given.
        only_with: Where it can have an effect; None for everywhere.
    """

    name: str
    default: bool | int | float | str | list[Any]
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    only_with: Use | None = None


TOP = (
    Parameter("policy.backend", "server", "where the policy runs", choices=BACKENDS),
    Parameter(
        "policy.host",
        "localhost",
        "host of the policy server, or its Unix socket: ipc:///path",
        only_with=ONE_HOST,
    ),
    Parameter("policy.port", 5555, "TCP port of the policy server", 1, 65535, only_with=SERVER),
    Parameter(
        "policy.hosts",
        [],
        "several policy servers, each `host` or `host:port`, in place of policy.host: the first "
        "that answers is asked, and again once it is back",
        only_with=SERVER,
    ),
    Parameter("policy.token", "", "token that the server asks for; empty: none", only_with=SERVER),
    Parameter(
        "policy.server_key",
        "",
        "secured server: its public CURVE key, or the file server.key; empty: plain text",
        only_with=SERVER,
    ),
    Parameter(
        "policy.keys",
        "",
        "secured server: file NAME.key_secret that `gr00t-policy keys` made",
        only_with=SERVER,
    ),
    Parameter(
        "policy.image_encoding",
        "raw",
        "jpeg: pictures travel as JPEG to a server that takes it, and those of a CompressedImage "
        "topic as they came",
        choices=IMAGE_ENCODINGS,
        only_with=SERVER,
    ),
    Parameter("policy.quality", 90, "quality of the JPEG made here", 1, 100, only_with=JPEG),
    Parameter(
        "policy.resize",
        False,
        "pictures travel at the size that the policy makes them first, where it says so",
        only_with=SERVER,
    ),
    Parameter(
        "policy.timeout_s",
        5.0,
        "s, longest wait for one answer of the policy",
        0.05,
        600.0,
        only_with=SERVER,
    ),
    Parameter("policy.model_path", "", "checkpoint folder or hub id", only_with=LOCAL),
    Parameter("policy.backbone_path", "", "folder of the backbone's own files", only_with=LOCAL),
    Parameter(
        "policy.base_model_path",
        "",
        "base model of a checkpoint of LeRobot or of a LoRA adapter; empty: the one that it names",
        only_with=LOCAL,
    ),
    Parameter(
        "policy.denoising_steps",
        0,
        "steps of denoising; 0: as many as the checkpoint says",
        0,
        1000,
        only_with=LOCAL,
    ),
    Parameter(
        "policy.embodiment_tag", "new_embodiment", "embodiment tag of the model", only_with=LOCAL
    ),
    Parameter("policy.device", "cuda", "torch device: cuda, cuda:1, cpu", only_with=LOCAL),
    Parameter(
        "policy.dtype",
        "",
        "of the model; empty: bfloat16, and float32 on a CPU",
        choices=("", *DTYPES),
        only_with=LOCAL,
    ),
    Parameter(
        "policy.mask_padding",
        False,
        "hide padding from all attention; no difference for one robot's observation",
        only_with=LOCAL,
    ),
    Parameter(
        "policy.cuda_graphs",
        "auto",
        "replay the networks as CUDA graphs; auto: on a GPU",
        choices=WHEN,
        only_with=LOCAL,
    ),
    Parameter(
        "policy.compile",
        "",
        "compile the networks with torch.compile, at the first answer; empty: not",
        choices=("", *COMPILE_MODES),
        only_with=LOCAL,
    ),
    Parameter(
        "policy.device_images",
        "auto",
        "resize pictures on the device; auto: on a GPU",
        choices=WHEN,
        only_with=LOCAL,
    ),
    Parameter(
        "instruction", "", "what the robot is asked to do, until ~/instruction says otherwise"
    ),
    Parameter(
        "action_rate_hz",
        0.0,
        "Hz, rate of the data that the policy was trained on: the step of its action chunks",
        0.1,
        1000.0,
        required=True,
    ),
    Parameter("control_rate_hz", 100.0, "Hz, rate at which commands are published", 1.0, 1000.0),
    Parameter(
        "inference",
        "async",
        "async: the next chunk is computed while this one is played; sync: after it",
        choices=INFERENCES,
    ),
    Parameter(
        "replan_interval_s",
        0.0,
        "s between two observations sent to the policy; 0: as late as its measured latency allows",
        0.0,
        60.0,
        only_with=ASYNC,
    ),
    Parameter("max_age_s", 0.5, "s, oldest age of a stream's newest message", 0.001, 60.0),
    Parameter(
        "max_skew_s",
        0.1,
        "s, largest distance of a sample from its time in the observation; a stamp that is further "
        "ahead of the node's clock is not believed",
        0,
        60,
    ),
    Parameter("blend", "offset_fade", "how one chunk goes over into the next", choices=BLENDS),
    Parameter(
        "blend_s",
        0.3,
        "s, how long the offset of a new chunk is faded out for, up to twice as long to be gentle",
        0.0,
        10.0,
        only_with=FADED,
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
        "std_msgs/String with the URDF, whose limits are heeded too; auto: robot_description in "
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
    Parameter("autostart", False, "configure, activate and start without being asked"),
    Parameter(
        "end_with_pid",
        0,
        "the node comes to rest and ends when the process of this number has ended; 0: none. "
        "policy.launch.py gives its own (`end_with_launch:=false`: it does not)",
        0,
        2**22,
    ),
)

_STREAM = (
    Parameter("topic", "", "topic that the stream is read from", required=True),
    Parameter("rate_hz", 0.0, "Hz, rate expected of the stream; 0: not watched", 0.0, 10_000.0),
    Parameter("max_age_s", 0.0, "s, this stream's own max_age_s; 0: the common one", 0.0, 60.0),
)
_CONVERSION = (
    Parameter(
        "scale", [1.0], "factor on the way through: out = in * scale + offset; 1 or D values"
    ),
    Parameter("offset", [0.0], "added after scale, in the unit of the receiver; 1 or D values"),
)
# Of an arm of the size of a person's; a limit that binds is counted in the status.
_LIMITS = (
    Parameter(
        "min_position",
        [-math.inf],
        "rad (or m), lowest position; 1 or D values",
        only_with=POSITIONS,
    ),
    Parameter(
        "max_position",
        [math.inf],
        "rad (or m), highest position; 1 or D values",
        only_with=POSITIONS,
    ),
    Parameter("max_velocity", [3.0], "rad/s (or m/s); 1 or D values", only_with=LIMITED),
    Parameter("max_acceleration", [25.0], "rad/s² (or m/s²); 1 or D values", only_with=LIMITED),
    Parameter("max_jerk", [500.0], "rad/s³ (or m/s³); 1 or D values", only_with=LIMITED),
)
_FOLLOWING = Parameter(
    "max_following_error",
    [0.5],
    "rad and m: a joint or pose that is measured further than this from its command stops the "
    "motion; 0: not watched, as for a gripper that holds something; 1 or D values (pose: 1)",
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

FIELDS: Mapping[str, tuple[Parameter, ...]] = {
    VIDEO: (
        *_STREAM,
        Parameter("width", 0, "px, width given to the policy; 0: as received", 0, 16384),
        Parameter("height", 0, "px, height given to the policy; 0: as received", 0, 16384),
        Parameter(
            "encoding",
            "",
            "sensor_msgs/Image: what the bytes are, where the driver says it wrongly or only 8UC3; "
            "empty: what it says",
            choices=("", *ENCODINGS),
        ),
    ),
    STATE: (
        *_STREAM,
        Parameter("joints", [], "JointState: names of the joints, in the policy's order"),
        Parameter(
            "field",
            "position",
            "JointState: which field is read",
            choices=JOINT_FIELDS,
            only_with=OF_JOINT_STATE,
        ),
        Parameter(
            "representation",
            "",
            "PoseStamped: how the policy reads a pose (m; rot6d: first two rows of the matrix, "
            "rotvec: rad, quat: x y z w)",
            choices=("", *REPRESENTATIONS),
        ),
        *_CONVERSION,
    ),
    ACTION: (
        Parameter("topic", "", "topic that commands are published on", required=True),
        Parameter(
            "interface", "", "message that carries the command", choices=INTERFACES, required=True
        ),
        Parameter("joints", [], "names of the joints, in the policy's order", only_with=NAMED),
        Parameter(
            "unmeasured",
            False,
            "command what no state of the contract measures: max_jump and max_age_s do not hold it",
            only_with=PLACES,
        ),
        Parameter(
            "representation",
            "",
            "how the policy writes a pose (as for states)",
            choices=("", *REPRESENTATIONS),
            only_with=POSES,
        ),
        Parameter("frame_id", "", "frame of the command", only_with=BODIES),
        Parameter(
            "when_holding",
            "last",
            "last: the values stay (positions); zero: zeros follow (velocities, deltas), and the "
            "limits of joints are those of velocities",
            choices=WHEN_HOLDING,
            only_with=ARRAYS,
        ),
        *_CONVERSION,
        *_LIMITS,
        _FOLLOWING,
        *_BODY_LIMITS,
    ),
}


def keys_of(modality: str, names: Iterable[str]) -> list[str]:
    """The keys of a modality that appear in parameter names, in the order of their appearance."""
    prefix = f"{modality}."
    keys = (name[len(prefix) :].rpartition(".")[0] for name in names if name.startswith(prefix))
    return list(dict.fromkeys(key for key in keys if key))


def parameters_for(names: Iterable[str]) -> Iterator[Parameter]:
    """Every parameter under its full name: those at the top, and the fields of each key in use."""
    yield from TOP
    names = list(names)
    for modality, fields in FIELDS.items():
        for key in keys_of(modality, names):
            for field in fields:
                yield _named(field, f"{modality}.{key}.{field.name}")


def _named(parameter: Parameter, name: str) -> Parameter:
    return replace(parameter, name=name)
