# SPDX-License-Identifier: Apache-2.0
"""Every ROS parameter of the two nodes: default, range, unit, and what it is for.

One table serves three readers: the nodes declare from it, the contract is checked against it, and
`ros2 param describe` shows it. Pure: nothing here imports ROS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

VIDEO, STATE, ACTION = "video", "state", "action"
REPRESENTATIONS = {"xyz_rot6d": 9, "xyz_rotvec": 6, "xyz_quat": 7}
JOINT_FIELDS = ("position", "velocity", "effort")
JOINT_INTERFACES = ("joint_trajectory", "joint_state")
INTERFACES = (*JOINT_INTERFACES, "float64_multi_array", "pose_stamped", "twist_stamped")
BODY_INTERFACES = ("pose_stamped", "twist_stamped")
POSITION_INTERFACES = (*JOINT_INTERFACES, "pose_stamped")
BACKENDS = ("server", "local")
IMAGE_ENCODINGS = ("raw", "jpeg")
# As of the flags of `gr00t-policy serve`; importing them would bring the command line along.
DTYPES = ("bfloat16", "float16", "float32")
COMPILE_MODES = ("default", "max-autotune")
SEAMS = ("offset_fade", "replace", "ensemble", "rtc")
INTERPOLATIONS = ("cubic", "linear")
WHEN_HOLDING = ("last", "zero")
STARVATIONS = ("hold", "stop_publishing")
INFERENCES = ("async", "sync")

# What rcl takes as a topic (design.ros2.org/articles/topic_and_service_names.html); it raises for
# any other, and tells only about the first.
_TOPIC = re.compile(r"(~/|/)?{token}(/{token})*".format(token=r"[A-Za-z_{}][A-Za-z0-9_{}]*"))

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
    """

    name: str
    default: bool | int | float | str | list[Any]
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False


TOP = (
    Parameter("policy.backend", "server", "where the policy runs", choices=BACKENDS),
    Parameter(
        "policy.host", "localhost", "host of the policy server, or its Unix socket: ipc:///path"
    ),
    Parameter("policy.port", 5555, "TCP port of the policy server", 1, 65535),
    Parameter(
        "policy.hosts",
        [],
        "several policy servers, each `host` or `host:port`, in place of policy.host: the first "
        "that answers is asked, and again once it is back",
    ),
    Parameter("policy.token", "", "token that the server asks for; empty: none"),
    Parameter(
        "policy.server_key",
        "",
        "secured server: its public CURVE key, or the file server.key; empty: plain text",
    ),
    Parameter(
        "policy.keys", "", "secured server: file NAME.key_secret that `gr00t-policy keys` made"
    ),
    Parameter(
        "policy.image_encoding",
        "raw",
        "jpeg: pictures travel as JPEG to a server that takes it, and those of a CompressedImage "
        "topic as they came",
        choices=IMAGE_ENCODINGS,
    ),
    Parameter("policy.quality", 90, "image_encoding jpeg: quality of the JPEG made here", 1, 100),
    Parameter(
        "policy.resize",
        False,
        "pictures travel at the size that the policy makes them first, where it says so",
    ),
    Parameter("policy.timeout_s", 5.0, "s, longest wait for one answer of the policy", 0.05, 600.0),
    Parameter("policy.model_path", "", "backend local: checkpoint folder or hub id"),
    Parameter("policy.backbone_path", "", "backend local: folder of the backbone's own files"),
    Parameter(
        "policy.base_model_path",
        "",
        "backend local: base model of a checkpoint of LeRobot or of a LoRA adapter; empty: the one "
        "that it names",
    ),
    Parameter(
        "policy.num_inference_timesteps",
        0,
        "backend local: steps of denoising; 0: as many as the checkpoint says",
        0,
        1000,
    ),
    Parameter("policy.embodiment_tag", "new_embodiment", "backend local: embodiment tag"),
    Parameter("policy.device", "cuda", "backend local: torch device: cuda, cuda:1, cpu"),
    Parameter(
        "policy.dtype",
        "",
        "backend local: of the model; empty: bfloat16, and float32 on a CPU",
        choices=("", *DTYPES),
    ),
    Parameter(
        "policy.mask_padding",
        False,
        "backend local: hide padding from all attention; no difference for one robot's observation",
    ),
    Parameter(
        "policy.cuda_graphs",
        False,
        "backend local: replay the networks as CUDA graphs, which the first answer records",
    ),
    Parameter(
        "policy.compile",
        "",
        "backend local: compile the networks with torch.compile, at the first answer; empty: not",
        choices=("", *COMPILE_MODES),
    ),
    Parameter("policy.device_images", False, "backend local: resize pictures on the device"),
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
    ),
    Parameter("max_age_s", 0.5, "s, oldest age of a stream's newest message", 0.001, 60.0),
    Parameter(
        "max_skew_s", 0.1, "s, largest distance of a sample from its time in the observation", 0, 60
    ),
    Parameter("seam", "offset_fade", "how one chunk goes over into the next", choices=SEAMS),
    Parameter(
        "fade_s",
        0.3,
        "s, how long a difference at a seam is faded out for; up to twice as long to be gentle",
        0.0,
        10.0,
    ),
    Parameter("interpolation", "cubic", "path between two steps", choices=INTERPOLATIONS),
    Parameter(
        "max_jump",
        0.5,
        "rad and m: a chunk that begins further than this from a joint or pose is refused; 0: any "
        "distance",
        0.0,
        100.0,
    ),
    Parameter(
        "on_starvation",
        "hold",
        "when there is nothing valid to play, after coming to rest",
        choices=STARVATIONS,
    ),
    Parameter("enable_topic", "", "std_msgs/Bool that must say true for motion; empty: none"),
    Parameter("enable_timeout_s", 0.5, "s, a true that is older counts as false", 0.01, 60.0),
    Parameter(
        "robot_description_topic",
        "robot_description",
        "std_msgs/String with the URDF, whose limits are heeded too; empty: none",
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
    Parameter("min_position", [-math.inf], "joints: rad (or m), lowest position; 1 or D values"),
    Parameter("max_position", [math.inf], "joints: rad (or m), highest position; 1 or D values"),
    Parameter("max_velocity", [3.0], "joints: rad/s (or m/s); 1 or D values"),
    Parameter("max_acceleration", [25.0], "joints: rad/s² (or m/s²); 1 or D values"),
    Parameter("max_jerk", [500.0], "joints: rad/s³ (or m/s³); 1 or D values"),
)
_BODY = "pose_stamped, twist_stamped: "
_BODY_LIMITS = (
    Parameter("max_linear_velocity", 1.0, f"{_BODY}m/s", 1e-3, 100.0),
    Parameter("max_linear_acceleration", 5.0, f"{_BODY}m/s²", 1e-3, 1000.0),
    Parameter("max_angular_velocity", 3.0, f"{_BODY}rad/s", 1e-3, 100.0),
    Parameter("max_angular_acceleration", 15.0, f"{_BODY}rad/s²", 1e-3, 1000.0),
)

FIELDS: Mapping[str, tuple[Parameter, ...]] = {
    VIDEO: (
        *_STREAM,
        Parameter("width", 0, "px, width given to the policy; 0: as received", 0, 16384),
        Parameter("height", 0, "px, height given to the policy; 0: as received", 0, 16384),
    ),
    STATE: (
        *_STREAM,
        Parameter("joints", [], "JointState: names of the joints, in the policy's order"),
        Parameter("field", "position", "JointState: which field is read", choices=JOINT_FIELDS),
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
        Parameter("joints", [], "names of the joints, in the policy's order"),
        Parameter(
            "representation",
            "",
            "pose_stamped: how the policy writes a pose (as for states)",
            choices=("", *REPRESENTATIONS),
        ),
        Parameter("frame_id", "", "pose_stamped, twist_stamped: frame of the command"),
        Parameter(
            "when_holding",
            "last",
            "float64_multi_array: the last values stay (positions), or zeros (velocities, deltas)",
            choices=WHEN_HOLDING,
        ),
        *_CONVERSION,
        *_LIMITS,
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


def unknown_names(names: Iterable[str]) -> list[str]:
    """The names that are neither a parameter of the table nor one of ROS itself."""
    names = list(names)
    unknown = set(names).difference(parameter.name for parameter in parameters_for(names))
    return sorted(name for name in unknown if name.split(".")[0] not in ROS_PARAMETERS)


def name_problems(names: Iterable[str]) -> Iterator[str]:
    """A sentence for each name that is no parameter, with the one that was probably meant."""
    names = list(names)
    known = [parameter.name for parameter in parameters_for(names)]
    for name in unknown_names(names):
        close = get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        yield f"{name}: no such parameter{hint}"


def value_problem(parameter: Parameter, value: Any) -> str | None:
    """What is wrong with a value, or None: its type, its range, its choices."""
    name = parameter.name
    if parameter.required and value in ("", 0, 0.0):
        return f"no {name.rpartition('.')[2]} given"
    if not _has_type_of(parameter.default, value):
        return f"must be {_type_name(parameter.default)}, got {value!r}"
    if parameter.choices and value not in parameter.choices:
        allowed = " | ".join(choice for choice in parameter.choices if choice)
        return f"must be one of {allowed}, got {value!r}"
    if name.endswith("topic") and value and not _TOPIC.fullmatch(value):
        return f"{value!r} is no name of a topic"
    if isinstance(parameter.default, list) and parameter.default:
        is_fine = np.isfinite if np.isfinite(parameter.default).all() else _is_number
        if not is_fine(value).all():
            return f"must be finite, got {value!r}"
    if parameter.minimum is not None and not parameter.minimum <= value <= parameter.maximum:
        return f"must be {parameter.minimum:g} to {parameter.maximum:g}, got {value!r}"
    return None


def _is_number(value: Any) -> Any:
    return ~np.isnan(value)


def _named(parameter: Parameter, name: str) -> Parameter:
    return Parameter(
        name=name,
        default=parameter.default,
        description=parameter.description,
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        choices=parameter.choices,
        required=parameter.required,
    )


def _has_type_of(default: Any, value: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, list) and default:  # scale and offset: a lone number serves as well
        values = value if isinstance(value, list) else [value]
        return bool(values) and all(_has_type_of(0.0, item) for item in values)
    if isinstance(default, list):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, type(default))


def _type_name(default: Any) -> str:
    if isinstance(default, list):
        return "a number or a list of numbers" if default else "a list of names"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[
        type(default)
    ]
