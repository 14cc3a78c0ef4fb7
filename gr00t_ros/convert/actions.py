# SPDX-License-Identifier: Apache-2.0
"""The demonstrated action at a time: the command in force, or what was measured. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput, StateStream
from gr00t_ros.interfaces.conversions import action_from_command
from gr00t_ros.interfaces.interface import CommandInterface, ConversionError
from gr00t_ros.interfaces.stamps import stamp_ns
from gr00t_ros.node.rejected_messages import UNREADABLE
from gr00t_ros.policy.observation_builder import NotReadyError
from gr00t_ros.policy.stream_buffers import StreamBuffers

Action = NDArray[np.float32]


class ActionSource(Protocol):
    """Knows the action at a time, in the policy's units.

    Attributes:
        topics: The topics that it needs beside those of the observations, with their types.
    """

    topics: dict[str, type[Any]]

    def receive(self, topic: str, message: Any, now_ns: int) -> None:
        """Take note of a message of one of `topics`."""

    def at(self, time_ns: int) -> dict[str, Action]:
        """The action at a time, float32 (D,) by key.

        Raises:
            NotReadyError: An action is not known; the text names it.
        """

    def clear(self) -> None:
        """Forget everything: the clock was set."""


@dataclass(slots=True)
class _Commands:
    """The recent commands of one action key, by their times."""

    output: ActionOutput
    max_age_ns: int | None
    stamped: list[tuple[int, Action]]

    def at(self, time_ns: int) -> Action:
        newest = bisect_right(self.stamped, time_ns, key=itemgetter(0)) - 1
        name, topic = self.output.name, self.output.topic
        if newest < 0:
            raise NotReadyError(f"{name}: no command on {topic} yet")
        del self.stamped[:newest]  # times only grow
        stamped_ns, action = self.stamped[0]
        age_ns = time_ns - stamped_ns
        if self.max_age_ns is not None and age_ns > self.max_age_ns:
            raise NotReadyError(f"{name}: stale on {topic}", f"{age_ns * 1e-9:.2f} s old")
        return action


class CommandActions:
    """The commands as they were published: by a leader arm, by teleoperation.

    The action at a time is the newest command until then. A position stays in force until the next
    one; a velocity ends after `max_age_s`.

    Args:
        contract: Names the command topics, and converts the units.
        received: Counts the messages that cannot be read.

    Raises:
        SpecError: A type of the contract cannot read commands.
    """

    def __init__(self, contract: Contract, received: StreamBuffers) -> None:
        problems = [
            f"{output.name}: commands of type {output.type} cannot be read from a bag; use the "
            "measured state as the action instead (record.action_from: state)"
            for output in contract.action
            if type(output.interface).read is CommandInterface.read
        ]
        if problems:
            raise SpecError("no demonstrated action", problems)
        self._rejected = received.rejected
        max_age_ns = round(contract.max_age_s * 1e9)
        self._commands = [
            _Commands(output, max_age_ns if output.interface.holds_zero else None, [])
            for output in contract.action
        ]
        self.topics = {o.topic: o.interface.message_type for o in contract.action}

    def receive(self, topic: str, message: Any, now_ns: int) -> None:
        for commands in self._commands:
            output = commands.output
            if output.topic != topic:
                continue
            try:
                action = action_from_command(output, output.interface.read(message))
                stamped = (stamp_ns(message, now_ns), action)
                insort(commands.stamped, stamped, key=itemgetter(0))
            except ConversionError as error:
                self._rejected.add(output.name, UNREADABLE, f"{topic}: {error}")

    def at(self, time_ns: int) -> dict[str, Action]:
        return {commands.output.key: commands.at(time_ns) for commands in self._commands}

    def clear(self) -> None:
        """Forget all commands."""
        for commands in self._commands:
            commands.stamped.clear()


class MeasuredActions:
    """The measured state as the action, for demonstrations by hand guiding.

    `at` returns what is measured at that time; whoever asks shifts it by the lead.

    Args:
        contract: Says which state measures what an action commands.
        received: The messages of the states.

    Raises:
        SpecError: No state measures the joints or the pose of an action.
    """

    def __init__(self, contract: Contract, received: StreamBuffers) -> None:
        self.topics: dict[str, type[Any]] = {}
        self._buffers = received.buffers
        self._skew_ns = round(contract.max_skew_s * 1e9)
        problems = [problem for o in contract.action for problem in _unmeasured(o, contract)]
        if problems:
            raise SpecError("no demonstrated action", problems)
        self._contract = contract

    def receive(self, topic: str, message: Any, now_ns: int) -> None:
        """The states are received with the observations."""

    def at(self, time_ns: int) -> dict[str, Action]:
        return {o.key: self._measured(o, time_ns) for o in self._contract.action}

    def clear(self) -> None:
        """The states are forgotten with the observations."""

    def _measured(self, output: ActionOutput, time_ns: int) -> Action:
        try:
            if output.interface.commands_pose:
                return self._pose(output, time_ns)
            by_joint: dict[str, float] = {}
            for stream in _measuring(output, self._contract):
                values = stream.interface.read(self._sample(stream, time_ns))
                by_joint |= dict(zip(stream.interface.measured_joints, values, strict=True))
            values = np.array([by_joint[joint] for joint in output.joints])
            return action_from_command(output, values)
        except ConversionError as error:
            raise NotReadyError(f"{output.name}: {UNREADABLE}", str(error)) from error

    def _pose(self, output: ActionOutput, time_ns: int) -> Action:
        """The measured pose in the units and layout of the action."""
        (stream,) = _measuring(output, self._contract)
        pose = stream.interface.pose(self._sample(stream, time_ns))
        if pose.frame_id != output.interface.frame_id:
            expected = output.interface.frame_id
            raise ConversionError(f"a pose in {pose.frame_id!r}, expected {expected!r}")
        return action_from_command(output, pose.values)

    def _sample(self, stream: StateStream, time_ns: int) -> Any:
        sample = self._buffers[stream.name].nearest(time_ns)
        if sample is None or abs(sample.stamp_ns - time_ns) > self._skew_ns:
            raise NotReadyError(f"{stream.name}: no message at the required time")
        return sample.value


def action_source(
    lead_steps: int | None, contract: Contract, received: StreamBuffers
) -> ActionSource:
    """Make the source of actions.

    Args:
        lead_steps: Steps by which a measured state is ahead of the step whose action it is; None
            where the action is what was commanded.
        contract: The robot.
        received: Where the messages of the observations are put.

    Raises:
        SpecError: The contract does not allow this source; a sentence for each action.
    """
    return (CommandActions if lead_steps is None else MeasuredActions)(contract, received)


def _measuring(output: ActionOutput, contract: Contract) -> list[StateStream]:
    """The streams that measure what an action commands; the last one counts for each joint."""
    if output.interface.commands_pose:
        states = [state for state in contract.state if state.key == output.key]
        return [s for state in states for s in state.streams if s.interface.measures_pose][:1]
    joints = set(output.joints)
    return [s for s in contract.state_streams if joints & set(s.interface.measured_joints)]


def _unmeasured(output: ActionOutput, contract: Contract) -> Iterator[str]:
    """A sentence if no state measures what an action commands."""
    use_commands = "take the commands as the action (record.action_from: command)"
    measuring = _measuring(output, contract)
    if output.interface.commands_pose:
        if not measuring:
            yield f"{output.name}: state.{output.key} measures no pose; {use_commands}"
        return
    if not output.commands_joint_positions:
        yield f"{output.name}: commands no joint positions; {use_commands}"
        return
    measured = {joint for stream in measuring for joint in stream.interface.measured_joints}
    missing = [joint for joint in output.joints if joint not in measured]
    if missing:
        yield f"{output.name}: no state measures {missing}; {use_commands}"
