# SPDX-License-Identifier: Apache-2.0
"""Who drives the robot: the policy, or a person with teleoperation devices. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.steering import SteeringRefusedError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput
from gr00t_ros.interfaces.interface import CommandInterface, ConversionError

LET_GO = "the person let go; waiting for a chunk that was observed since"


@dataclass(frozen=True, slots=True)
class TeleopDevice:
    """One topic of a teleoperation device, and the actions that it commands.

    Args:
        topic: Its topic.
        outputs: The actions whose values are in its messages, in order.
        interface: Reads the values of all of them.
    """

    topic: str
    outputs: tuple[ActionOutput, ...]
    interface: CommandInterface

    def read(self, message: Any) -> dict[str, Row]:
        """The values of a message, float64 (D,) by action key, in SI units and rad.

        Raises:
            ConversionError: The message lacks some of the values.
        """
        values = self.interface.read(message)
        if len(self.outputs) == 1:
            return {self.outputs[0].key: values}
        sizes = [output.interface.command_dimension or 0 for output in self.outputs]
        if 0 in sizes or sum(sizes) != len(values):
            raise ConversionError(f"{len(values)} values cannot be divided among {self.keys}")
        parts = np.split(values, np.cumsum(sizes)[:-1])
        return dict(zip(self.keys, parts, strict=True))

    @property
    def keys(self) -> list[str]:
        """The keys of the actions that it commands."""
        return [output.key for output in self.outputs]


def teleop_devices(contract: Contract) -> Iterator[TeleopDevice]:
    """Yield the teleoperation devices of a contract: actions that share a topic share a message."""
    outputs = [output for output in contract.action if output.teleop_topic is not None]
    for topic in dict.fromkeys(output.teleop_topic for output in outputs):
        of_topic = tuple(output for output in outputs if output.teleop_topic == topic)
        first, *others = [output.interface.carrier for output in of_topic]
        joined = first.joined(others) if others else first
        yield TeleopDevice(str(topic), of_topic, joined or first)


class Intervention:
    """Whether a person drives, and where they want the robot.

    Args:
        contract: Names the teleoperation devices.
    """

    def __init__(self, contract: Contract) -> None:
        self.devices = tuple(teleop_devices(contract))
        self._outputs = contract.action
        self._timeout_ns = round(contract.motion.teleop_timeout_s * 1e9)
        self._targets: dict[str, tuple[Row, int]] = {}
        self._is_active = False
        self._ended_ns: int | None = None
        self._refusal = ""

    @property
    def is_active(self) -> bool:
        """Whether a person drives: no chunk is played."""
        return self._is_active

    @property
    def refusal(self) -> str:
        """Why the newest command of a person was refused; empty if it was followed."""
        return self._refusal

    def is_commanded(self, now_ns: int) -> bool:
        """Whether a device has commanded something within `teleop_timeout_s`."""
        return any(now_ns - came <= self._timeout_ns for _, came in self._targets.values())

    def begin(self) -> None:
        """Let a person drive."""
        topics = " or ".join(device.topic for device in self.devices)
        self._refusal = f"no teleoperation command came on {topics} yet"
        self._is_active = True

    def end(self, now_ns: int) -> None:
        """Let the policy drive again, by chunks that are observed from now on."""
        if self._is_active:
            self._ended_ns = now_ns
        self._is_active = False

    def admits(self, observed_ns: int, now_ns: int) -> bool:
        """Whether a chunk may be played that was computed from an observation of this time, ns.

        What the policy saw while a person drove is not what it sees now. A clock that was set back
        since they let go says nothing about that.
        """
        if self._ended_ns is not None and self._ended_ns > now_ns:
            self._ended_ns = None
        return not self._is_active and (self._ended_ns is None or observed_ns >= self._ended_ns)

    def add(self, values: Mapping[str, Row], now_ns: int) -> None:
        """Keep what a device commands.

        Args:
            values: float64 (D,) by action key.
            now_ns: When it came, ns.
        """
        self._targets.update({key: (row, now_ns) for key, row in values.items()})

    def refuse(self, reason: str) -> None:
        """Keep why the newest command of a person was refused; empty once one is followed."""
        self._refusal = reason

    def dimensions(self) -> dict[str, int]:
        """The number of values of one command, by action key.

        Raises:
            SteeringRefusedError: Only a chunk, or a device that is silent, would tell some of them.
        """
        told = {key: len(row) for key, (row, _) in self._targets.items()}
        sizes = {o.key: o.interface.command_dimension or told.get(o.key) for o in self._outputs}
        unknown = [key for key, size in sizes.items() if size is None]
        if unknown:
            raise SteeringRefusedError(
                f"how many values {', '.join(unknown)} has is not known before the first chunk"
            )
        return {key: size for key, size in sizes.items() if size is not None}

    def target(self, layout: ActionLayout, place: Row, now_ns: int) -> Row:
        """Where the person wants the robot, float64 (size,).

        What no device has commanded for `teleop_timeout_s` stays where it is; a velocity is zero.

        Args:
            layout: Says where the keys lie in the vector.
            place: Where the robot is told to be, float64 (size,); NaN where that is not known.
            now_ns: The present, ns.

        Raises:
            SteeringRefusedError: The place of a value that no device commands is not known.
        """
        target = np.where(layout.is_velocity, 0.0, place)
        for key, (row, came_ns) in self._targets.items():
            if now_ns - came_ns <= self._timeout_ns:
                target[layout.slices[key]] = row
        unknown = np.isnan(target) & np.isnan(place)
        if unknown.any():
            name = layout.name_of(int(np.argmax(unknown)))
            raise SteeringRefusedError(f"the position of {name} is not known, nobody commands it")
        return target
