# SPDX-License-Identifier: Apache-2.0
"""The contract between a robot and a policy: parameters in, frozen dataclasses out. Pure.

`parse_contract` checks the parameters by themselves and names everything that is wrong at once;
`gr00t_ros.fit` checks them against what the policy says of itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.limits import JointLimits
from gr00t_policy_core.control.schedule import ScheduleSettings, Seam
from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract_limits import body_limits, floats, joint_limits, limit_problems
from gr00t_ros.parameters import (
    ACTION,
    BODY_INTERFACES,
    JOINT_INTERFACES,
    POSITION_INTERFACES,
    REPRESENTATIONS,
    STATE,
    VIDEO,
    keys_of,
    name_problems,
    parameters_for,
    value_problem,
)
from gr00t_ros.policy_settings import PolicySettings, policy_problems

TWIST_DIMENSION = 6


@dataclass(frozen=True, slots=True)
class VideoStream:
    """One camera. Width and height in px, None for as received; `rate_hz` None for not watched."""

    key: str
    topic: str
    width: int | None
    height: int | None
    rate_hz: float | None
    max_age_s: float

    @property
    def name(self) -> str:
        return f"{VIDEO}.{self.key}"


@dataclass(frozen=True, slots=True)
class StateStream:
    """One group of states: a JointState (`joints`), a PoseStamped (`representation`), or an array.

    What the policy reads is ``message value * scale + offset``.
    """

    key: str
    topic: str
    joints: tuple[str, ...]
    field: str
    representation: str | None
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    rate_hz: float | None
    max_age_s: float

    @property
    def name(self) -> str:
        return f"{STATE}.{self.key}"

    @property
    def message(self) -> str:
        """Name of the message type that carries the stream."""
        if self.joints:
            return "sensor_msgs/msg/JointState"
        if self.representation:
            return "geometry_msgs/msg/PoseStamped"
        return "std_msgs/msg/Float64MultiArray"

    @property
    def dimension(self) -> int | None:
        """D, or None for a Float64MultiArray, whose length the message tells."""
        if self.representation:
            return REPRESENTATIONS[self.representation]
        return len(self.joints) or None


@dataclass(frozen=True, slots=True)
class ActionOutput:
    """One group of commands. What is published is ``policy value * scale + offset``.

    `limits` has one entry for each of `joints`, in rad (or m) and s; `body_limits` are those of a
    pose or twist. `holds_zero` tells that the values are velocities or deltas: to hold is to
    command none.
    """

    key: str
    topic: str
    interface: str
    joints: tuple[str, ...]
    representation: str | None
    frame_id: str
    holds_zero: bool
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    limits: tuple[JointLimits, ...]
    body_limits: BodyLimits | None

    @property
    def name(self) -> str:
        return f"{ACTION}.{self.key}"

    @property
    def dimension(self) -> int | None:
        """D, or None for a Float64MultiArray without joint names."""
        if self.interface == "pose_stamped":
            return REPRESENTATIONS[self.representation or "xyz_quat"]
        if self.interface == "twist_stamped":
            return TWIST_DIMENSION
        return len(self.joints) or None


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """How the control node plays chunks. None for a topic, priority, CPU or file that is not set.

    Args:
        schedule: How one chunk goes over into the next.
        max_jump: A chunk that begins further than this from a joint or pose is refused, rad and m.
        on_starvation: ``hold`` or ``stop_publishing``, after coming to rest.
        enable_topic: Its std_msgs/Bool must say true, and again within `enable_timeout_s` (s).
        robot_description_topic: Where the URDF is published.
        realtime_priority: SCHED_FIFO priority of the loop.
        cpu_affinity: CPU that the loop is kept on.
        record_path: File that a run is recorded into.
    """

    schedule: ScheduleSettings
    max_jump: float
    on_starvation: str
    enable_topic: str | None
    enable_timeout_s: float
    robot_description_topic: str | None
    realtime_priority: int | None
    cpu_affinity: int | None
    record_path: str | None


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything that the two nodes need to know of robot and policy; units in the names."""

    policy: PolicySettings
    instruction: str
    video: tuple[VideoStream, ...]
    state: tuple[StateStream, ...]
    action: tuple[ActionOutput, ...]
    action_rate_hz: float
    control_rate_hz: float
    inference: str
    replan_interval_s: float | None
    max_age_s: float
    max_skew_s: float
    motion: MotionSettings

    @property
    def streams(self) -> tuple[VideoStream | StateStream, ...]:
        """All observation streams, cameras first."""
        return (*self.video, *self.state)


def parse_contract(values: Mapping[str, Any]) -> Contract:
    """Check the parameters and make the contract of them.

    Args:
        values: Parameter values by full name (``video.front.topic``), those given by the user;
            what is left out takes its default.

    Raises:
        SpecError: With one sentence for everything that is wrong.
    """
    problems = list(name_problems(values))
    settings: dict[str, Any] = {}
    for parameter in parameters_for(values):
        value = values.get(parameter.name, parameter.default)
        settings[parameter.name] = value
        problem = value_problem(parameter, value)
        if problem is not None:
            problems.append(f"{parameter.name.removesuffix('.topic')}: {problem}")
    problems.extend(_missing_modalities(values))
    if not problems:
        problems.extend(limit_problems(settings, keys_of(ACTION, values)))
    if problems:
        raise SpecError("bad parameters", problems)

    video = tuple(_video_stream(settings, key) for key in keys_of(VIDEO, values))
    contract = Contract(
        policy=PolicySettings.of(settings, _camera_sizes(video)),
        instruction=settings["instruction"],
        video=video,
        state=tuple(_state_stream(settings, key) for key in keys_of(STATE, values)),
        action=tuple(_action_output(settings, key) for key in keys_of(ACTION, values)),
        action_rate_hz=float(settings["action_rate_hz"]),
        control_rate_hz=float(settings["control_rate_hz"]),
        inference=settings["inference"],
        replan_interval_s=float(settings["replan_interval_s"]) or None,
        max_age_s=float(settings["max_age_s"]),
        max_skew_s=float(settings["max_skew_s"]),
        motion=_motion_settings(settings),
    )
    problems = list(_contract_problems(contract))
    if problems:
        raise SpecError("bad parameters", problems)
    return contract


def _camera_sizes(video: Iterable[VideoStream]) -> dict[str, tuple[int, int]]:
    """Height and width of those cameras' frames that have a fixed size."""
    return {
        stream.key: (stream.height, stream.width)
        for stream in video
        if stream.height is not None and stream.width is not None
    }


def _missing_modalities(values: Mapping[str, Any]) -> Iterator[str]:
    if not keys_of(VIDEO, values) and not keys_of(STATE, values):
        yield "no video.<key>.topic and no state.<key>.topic: nothing to observe"
    if not keys_of(ACTION, values):
        yield "no action.<key>.topic: nothing to command"


def _contract_problems(contract: Contract) -> Iterator[str]:
    yield from policy_problems(contract.policy)
    for stream in contract.state:
        if stream.joints and stream.representation:
            yield f"{stream.name}: joints and representation exclude each other"
        yield from _list_problems(stream)
    for video in contract.video:
        if (video.width is None) != (video.height is None):
            yield f"{video.name}: width and height go together"
    for output in contract.action:
        if output.interface in JOINT_INTERFACES and not output.joints:
            yield f"{output.name}: {output.interface} needs joints"
        if output.interface == "pose_stamped" and not output.representation:
            yield f"{output.name}: pose_stamped needs representation"
        if output.holds_zero and output.interface in POSITION_INTERFACES:
            yield f"{output.name}: {output.interface} carries positions, when_holding must be last"
        if output.interface in BODY_INTERFACES and not output.frame_id:
            yield f"{output.name}: {output.interface} needs frame_id"
        yield from _list_problems(output)
    yield from _stream_problems(contract.state)
    yield from _topic_problems(contract.action)


def _list_problems(entry: StateStream | ActionOutput) -> Iterator[str]:
    repeated = sorted({joint for joint in entry.joints if entry.joints.count(joint) > 1})
    if repeated:
        yield f"{entry.name}: joints repeats {repeated}"
    for name, values in (("scale", entry.scale), ("offset", entry.offset)):
        if len(values) not in (1, entry.dimension or len(values)):
            yield (
                f"{entry.name}: {name} has {len(values)} values, expected 1 or {entry.dimension}"
            )
    if 0.0 in entry.scale:
        yield f"{entry.name}: scale must not be 0, got {list(entry.scale)}"


def _stream_problems(streams: tuple[StateStream, ...]) -> Iterator[str]:
    """ROS refuses a second subscription of another type."""
    for topic in dict.fromkeys(stream.topic for stream in streams):
        sharing = [stream for stream in streams if stream.topic == topic]
        if len({stream.message for stream in sharing}) > 1:
            read_as = ", ".join(f"{stream.name} as {stream.message}" for stream in sharing)
            yield f"topic {topic} cannot be read as different messages: {read_as}"


def _topic_problems(outputs: tuple[ActionOutput, ...]) -> Iterator[str]:
    """Joint groups may share a topic and go out as one message; nothing else can."""
    for topic in dict.fromkeys(output.topic for output in outputs):
        sharing = [output for output in outputs if output.topic == topic]
        if len(sharing) == 1:
            continue
        names = ", ".join(output.name for output in sharing)
        interfaces = {output.interface for output in sharing}
        if len(interfaces) > 1 or not interfaces.issubset(JOINT_INTERFACES):
            yield f"{names}: only joint groups of one interface can share topic {topic}"
        joints = [joint for output in sharing for joint in output.joints]
        repeated = sorted({joint for joint in joints if joints.count(joint) > 1})
        if repeated:
            yield f"{names}: {repeated} commanded twice on topic {topic}"


def _video_stream(settings: Mapping[str, Any], key: str) -> VideoStream:
    prefix = f"{VIDEO}.{key}"
    return VideoStream(
        key=key,
        topic=settings[f"{prefix}.topic"],
        width=settings[f"{prefix}.width"] or None,
        height=settings[f"{prefix}.height"] or None,
        rate_hz=float(settings[f"{prefix}.rate_hz"]) or None,
        max_age_s=float(settings[f"{prefix}.max_age_s"] or settings["max_age_s"]),
    )


def _state_stream(settings: Mapping[str, Any], key: str) -> StateStream:
    prefix = f"{STATE}.{key}"
    return StateStream(
        key=key,
        topic=settings[f"{prefix}.topic"],
        joints=tuple(settings[f"{prefix}.joints"]),
        field=settings[f"{prefix}.field"],
        representation=settings[f"{prefix}.representation"] or None,
        scale=floats(settings[f"{prefix}.scale"]),
        offset=floats(settings[f"{prefix}.offset"]),
        rate_hz=float(settings[f"{prefix}.rate_hz"]) or None,
        max_age_s=float(settings[f"{prefix}.max_age_s"] or settings["max_age_s"]),
    )


def _action_output(settings: Mapping[str, Any], key: str) -> ActionOutput:
    prefix = f"{ACTION}.{key}"
    return ActionOutput(
        key=key,
        topic=settings[f"{prefix}.topic"],
        interface=settings[f"{prefix}.interface"],
        joints=tuple(settings[f"{prefix}.joints"]),
        representation=settings[f"{prefix}.representation"] or None,
        frame_id=settings[f"{prefix}.frame_id"],
        holds_zero=settings[f"{prefix}.interface"] == "twist_stamped"
        or settings[f"{prefix}.when_holding"] == "zero",
        scale=floats(settings[f"{prefix}.scale"]),
        offset=floats(settings[f"{prefix}.offset"]),
        limits=joint_limits(settings, prefix, len(settings[f"{prefix}.joints"])),
        body_limits=body_limits(settings, prefix),
    )


def _motion_settings(settings: Mapping[str, Any]) -> MotionSettings:
    return MotionSettings(
        schedule=ScheduleSettings(
            seam=Seam(settings["seam"]),
            fade_s=float(settings["fade_s"]),
            cubic=settings["interpolation"] == "cubic",
        ),
        max_jump=float(settings["max_jump"]) or math.inf,
        on_starvation=settings["on_starvation"],
        enable_topic=settings["enable_topic"] or None,
        enable_timeout_s=float(settings["enable_timeout_s"]),
        robot_description_topic=settings["robot_description_topic"] or None,
        realtime_priority=settings["realtime_priority"] or None,
        cpu_affinity=settings["cpu_affinity"] if settings["cpu_affinity"] >= 0 else None,
        record_path=settings["record_path"] or None,
    )
