# SPDX-License-Identifier: Apache-2.0
"""The contract between a robot and a policy: parameters in, frozen dataclasses out. Pure.

`parse_contract` checks the parameters by themselves and names everything that is wrong at once;
`gr00t_ros.contract.compatibility` checks them against what the policy says of itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.player_settings import OutOfRange
from gr00t_policy_core.control.schedule import BlendMode, ScheduleSettings
from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.checks import contract_problems
from gr00t_ros.contract.limits import (
    body_limits,
    floats,
    following_errors,
    joint_limits,
    limit_problems,
    limits_given,
)
from gr00t_ros.contract.parameter_checks import name_problems, use_problems, value_problem
from gr00t_ros.contract.parameters import (
    ACTION,
    ANY_DESCRIPTION,
    CHUNK_TOPIC,
    REPRESENTATIONS,
    STATE,
    VIDEO,
    keys_of,
    parameters_for,
)
from gr00t_ros.contract.policy_settings import PolicySettings
from gr00t_ros.contract.topic_names import TopicNames, in_root_namespace

TWIST_DIMENSION = 6


@dataclass(frozen=True, slots=True)
class VideoStream:
    """One camera. Width and height in px, None for as received; `rate_hz` None for not watched.

    `encoding` is what its raw pictures are, whatever they say; None for what they say.
    """

    key: str
    topic: str
    width: int | None
    height: int | None
    rate_hz: float | None
    max_age_s: float
    encoding: str | None = None

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

    `limits` has one entry for each of `joints`, in rad (or m) and s; `limits_given` names the
    fields of them that the user gave, the others are defaults. `body_limits` are those of a pose
    or twist. `max_following_errors` has one entry for each joint, or one for a pose, rad and m;
    none where nothing is measured. `holds_zero` tells that the values are velocities or deltas: to
    hold is to command none. `unmeasured` tells that its user knows that no state measures all of
    it.
    """

    key: str
    topic: str
    interface: str
    joints: tuple[str, ...]
    representation: str | None
    frame_id: str
    holds_zero: bool
    unmeasured: bool
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    limits: tuple[JointLimits, ...]
    limits_given: frozenset[str]
    max_following_errors: tuple[float, ...]
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
        out_of_range: What becomes of a chunk while a joint is outside its range.
        max_observation_age_s: The motion stops when the observation behind it is older, s; None
            for a limit that follows from the chunk.
        require_subscribers: Nothing moves while a command topic has no subscriber.
        on_starvation: ``hold`` or ``stop_publishing``, after coming to rest.
        enable_topic: Its std_msgs/Bool must say true, and again within `enable_timeout_s` (s).
        robot_description_topics: Where the URDF is published, the one to be preferred first.
        require_urdf: Without a URDF that has every commanded joint, nothing is moved.
        realtime_priority: SCHED_FIFO priority of the loop.
        cpu_affinity: CPU that the loop is kept on.
        record_path: File that a run is recorded into.
    """

    schedule: ScheduleSettings
    max_jump: float
    out_of_range: OutOfRange
    max_observation_age_s: float | None
    require_subscribers: bool
    on_starvation: str
    enable_topic: str | None
    enable_timeout_s: float
    robot_description_topics: tuple[str, ...]
    require_urdf: bool
    realtime_priority: int | None
    cpu_affinity: int | None
    record_path: str | None


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything that the two nodes need to know of robot and policy; units in the names.

    Topics that are one to ROS have one name here, whatever the user wrote.
    """

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
    chunk_topic: str
    motion: MotionSettings

    @property
    def streams(self) -> tuple[VideoStream | StateStream, ...]:
        """All observation streams, cameras first."""
        return (*self.video, *self.state)


def parse_contract(
    values: Mapping[str, Any], *, resolve: Callable[[str], str] = in_root_namespace
) -> Contract:
    """Check the parameters and make the contract of them.

    Args:
        values: Parameter values by full name (``video.front.topic``), those given by the user;
            what is left out takes its default.
        resolve: Tells what a topic is called after remapping, within the node's namespace. It
            raises ValueError for what cannot be a topic.

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
    if problems:
        raise SpecError("bad parameters", problems)

    topics = TopicNames(resolve)
    problems.extend(use_problems(values, settings))
    problems.extend(limit_problems(settings, keys_of(ACTION, values)))
    problems.extend(topics.problems(settings))
    if problems:
        raise SpecError("bad parameters", problems)

    chunk_topic = topics.one_name(CHUNK_TOPIC)
    video = tuple(_video_stream(settings, topics, key) for key in keys_of(VIDEO, values))
    contract = Contract(
        policy=PolicySettings.of(settings, _camera_sizes(video)),
        instruction=settings["instruction"],
        video=video,
        state=tuple(_state_stream(settings, topics, key) for key in keys_of(STATE, values)),
        action=tuple(
            _action_output(settings, topics, values, key) for key in keys_of(ACTION, values)
        ),
        action_rate_hz=float(settings["action_rate_hz"]),
        control_rate_hz=float(settings["control_rate_hz"]),
        inference=settings["inference"],
        replan_interval_s=float(settings["replan_interval_s"]) or None,
        max_age_s=float(settings["max_age_s"]),
        max_skew_s=float(settings["max_skew_s"]),
        chunk_topic=chunk_topic,
        motion=_motion_settings(settings, topics),
    )
    problems = list(contract_problems(contract))
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


def _video_stream(settings: Mapping[str, Any], topics: TopicNames, key: str) -> VideoStream:
    prefix = f"{VIDEO}.{key}"
    return VideoStream(
        key=key,
        topic=topics.one_name(settings[f"{prefix}.topic"]),
        width=settings[f"{prefix}.width"] or None,
        height=settings[f"{prefix}.height"] or None,
        rate_hz=float(settings[f"{prefix}.rate_hz"]) or None,
        max_age_s=float(settings[f"{prefix}.max_age_s"] or settings["max_age_s"]),
        encoding=settings[f"{prefix}.encoding"] or None,
    )


def _state_stream(settings: Mapping[str, Any], topics: TopicNames, key: str) -> StateStream:
    prefix = f"{STATE}.{key}"
    return StateStream(
        key=key,
        topic=topics.one_name(settings[f"{prefix}.topic"]),
        joints=tuple(settings[f"{prefix}.joints"]),
        field=settings[f"{prefix}.field"],
        representation=settings[f"{prefix}.representation"] or None,
        scale=floats(settings[f"{prefix}.scale"]),
        offset=floats(settings[f"{prefix}.offset"]),
        rate_hz=float(settings[f"{prefix}.rate_hz"]) or None,
        max_age_s=float(settings[f"{prefix}.max_age_s"] or settings["max_age_s"]),
    )


def _action_output(
    settings: Mapping[str, Any], topics: TopicNames, given: Mapping[str, Any], key: str
) -> ActionOutput:
    prefix = f"{ACTION}.{key}"
    return ActionOutput(
        key=key,
        topic=topics.one_name(settings[f"{prefix}.topic"]),
        interface=settings[f"{prefix}.interface"],
        joints=tuple(settings[f"{prefix}.joints"]),
        representation=settings[f"{prefix}.representation"] or None,
        frame_id=settings[f"{prefix}.frame_id"],
        holds_zero=settings[f"{prefix}.interface"] == "twist_stamped"
        or settings[f"{prefix}.when_holding"] == "zero",
        unmeasured=settings[f"{prefix}.unmeasured"],
        scale=floats(settings[f"{prefix}.scale"]),
        offset=floats(settings[f"{prefix}.offset"]),
        limits=joint_limits(settings, prefix),
        limits_given=limits_given(given, prefix),
        max_following_errors=following_errors(settings, prefix),
        body_limits=body_limits(settings, prefix),
    )


def _motion_settings(settings: Mapping[str, Any], topics: TopicNames) -> MotionSettings:
    return MotionSettings(
        schedule=ScheduleSettings(
            blend=BlendMode(settings["blend"]),
            blend_s=float(settings["blend_s"]),
            cubic=settings["interpolation"] == "cubic",
        ),
        max_jump=float(settings["max_jump"]) or math.inf,
        out_of_range=OutOfRange(settings["out_of_range"]),
        max_observation_age_s=float(settings["max_observation_age_s"]) or None,
        require_subscribers=settings["require_subscribers"],
        on_starvation=settings["on_starvation"],
        enable_topic=topics.one_name(settings["enable_topic"]) or None,
        enable_timeout_s=float(settings["enable_timeout_s"]),
        robot_description_topics=tuple(
            dict.fromkeys(map(topics.one_name, _description_topics(settings)))
        ),
        require_urdf=settings["require_urdf"],
        realtime_priority=settings["realtime_priority"] or None,
        cpu_affinity=settings["cpu_affinity"] if settings["cpu_affinity"] >= 0 else None,
        record_path=settings["record_path"] or None,
    )


def _description_topics(settings: Mapping[str, Any]) -> Sequence[str]:
    """A robot state publisher has the namespace of its robot; a lone robot may have none."""
    topic = settings["robot_description_topic"]
    if topic == ANY_DESCRIPTION:
        return "robot_description", "/robot_description"
    return (topic,) if topic else ()
