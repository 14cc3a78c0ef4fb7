# SPDX-License-Identifier: Apache-2.0
"""One camera, one state and one action of a contract. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_ros.contract.limits import (
    body_limits,
    floats,
    following_errors,
    joint_limits,
    limits_given,
)
from gr00t_ros.contract.parameter import Settings
from gr00t_ros.contract.parameters import ACTION, STATE, VIDEO
from gr00t_ros.contract.topic_names import TopicNames
from gr00t_ros.interfaces.interface import CommandInterface, StateInterface
from gr00t_ros.interfaces.registry import ros_type


@dataclass(frozen=True, slots=True)
class VideoStream:
    """One camera. Width and height in px, None to keep the size; `rate_hz` None if not watched.

    `encoding` replaces the encoding that its raw images name; None to use the one they name.
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

    @classmethod
    def of(cls, key: str, settings: Settings, topics: TopicNames) -> VideoStream:
        """Make it from the values of all parameters, already checked one by one."""
        entry = f"{VIDEO}.{key}"
        return cls(
            key=key,
            topic=topics.one_name(settings[f"{entry}.topic"]),
            width=settings[f"{entry}.width"] or None,
            height=settings[f"{entry}.height"] or None,
            rate_hz=float(settings[f"{entry}.rate_hz"]) or None,
            max_age_s=float(settings[f"{entry}.max_age_s"] or settings["max_age_s"]),
            encoding=settings[f"{entry}.encoding"] or None,
        )


@dataclass(frozen=True, slots=True)
class StateStream:
    """One stream of messages that provides a state or a part of one.

    The policy receives ``value * scale + offset`` of the values that `select` names, or of all
    values if it is empty. `rate_hz` is None where the rate is not watched.
    """

    name: str
    topic: str
    type: str
    interface: StateInterface
    select: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    rate_hz: float | None
    max_age_s: float

    @property
    def ros_type(self) -> str:
        """Name of the message type, such as ``sensor_msgs/msg/JointState``."""
        return ros_type(self.interface.message_type)

    @property
    def dimension(self) -> int | None:
        """D, the number of values that the policy reads; None if only a message shows it."""
        return len(self.select) or self.interface.dimension

    @classmethod
    def of(
        cls, name: str, interface: StateInterface, settings: Settings, topics: TopicNames
    ) -> StateStream:
        """Make it from the values of all parameters, already checked one by one."""
        return cls(
            name=name,
            topic=topics.one_name(settings[f"{name}.topic"]),
            type=settings[f"{name}.type"],
            interface=interface,
            select=tuple(settings[f"{name}.select"]),
            scale=floats(settings[f"{name}.scale"]),
            offset=floats(settings[f"{name}.offset"]),
            rate_hz=float(settings[f"{name}.rate_hz"]) or None,
            max_age_s=float(settings[f"{name}.max_age_s"] or settings["max_age_s"]),
        )


@dataclass(frozen=True, slots=True)
class StateInput:
    """One state of the policy: the values of its streams, one after the other."""

    key: str
    streams: tuple[StateStream, ...]

    @property
    def name(self) -> str:
        return f"{STATE}.{self.key}"

    @property
    def dimension(self) -> int | None:
        """D, or None where only the messages show it."""
        dimensions = [stream.dimension for stream in self.streams]
        return None if None in dimensions else sum(filter(None, dimensions))


@dataclass(frozen=True, slots=True)
class ActionOutput:
    """One action of the policy. The command is ``policy value * scale + offset``.

    Args:
        key: Names the action; the policy's name for it, where `keys` has no other.
        keys: The keys of the policy whose values make up the action, in order.
        select: The indices of those values that the command takes, in order; empty for all.
        topic: The topic that commands are published on.
        type: The message type, as the user named it.
        teleop_topic: Where a teleoperation device commands it; None where none does.
        interface: Converts the values and fills the message.
        unmeasured: Whether the user accepts that no state measures all commanded values.
        scale: Factor from the policy's unit to SI units and rad; 1 or D values.
        offset: Added after `scale`, in SI units and rad; 1 or D values.
        limits: One entry for each joint, in rad (or m) and s.
        limits_given: The fields of `limits` that the user gave; the others are defaults.
        max_following_errors: One for each joint, or one for a pose, rad and m; none where nothing
            is measured.
        body_limits: The limits of a pose or a twist; None for any other action.
    """

    key: str
    keys: tuple[str, ...]
    select: tuple[int, ...]
    topic: str
    type: str
    teleop_topic: str | None
    interface: CommandInterface
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
    def joints(self) -> tuple[str, ...]:
        """The joints that the values belong to, in their order."""
        return self.interface.joints

    @property
    def commands_joint_positions(self) -> bool:
        """Whether the values are positions of `joints`."""
        return bool(self.joints) and not self.interface.holds_zero

    @property
    def dimension(self) -> int | None:
        """D, the policy's values of one step; None where only its answer shows it."""
        return self.interface.dimension

    @property
    def ros_type(self) -> str:
        """Name of the message type, such as ``sensor_msgs/msg/JointState``."""
        return ros_type(self.interface.message_type)

    @classmethod
    def of(
        cls,
        key: str,
        interface: CommandInterface,
        settings: Settings,
        given: Mapping[str, Any],
        topics: TopicNames,
    ) -> ActionOutput:
        """Make the action from its parameters by short name, and from those that the user gave."""
        return cls(
            key=key,
            keys=tuple(settings["keys"]) or (key,),
            select=tuple(settings["select"]),
            topic=topics.one_name(settings["topic"]),
            type=settings["type"],
            teleop_topic=topics.one_name(settings["teleop_topic"]) or None,
            interface=interface,
            unmeasured=settings["unmeasured"],
            scale=floats(settings["scale"]),
            offset=floats(settings["offset"]),
            limits=joint_limits(interface, settings),
            limits_given=limits_given(given, f"{ACTION}.{key}"),
            max_following_errors=following_errors(interface, settings),
            body_limits=body_limits(interface, settings),
        )
