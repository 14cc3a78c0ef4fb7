# SPDX-License-Identifier: Apache-2.0
"""Contradictions within a contract. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from gr00t_ros.contract.policy_settings import policy_problems
from gr00t_ros.contract.suggestions import did_you_mean

if TYPE_CHECKING:
    from gr00t_ros.contract.contract import Contract
    from gr00t_ros.contract.streams import ActionOutput, StateStream

IMAGE_MESSAGE = "an image"


def contract_problems(contract: Contract, *, left_out: Set[str] = frozenset()) -> Iterator[str]:
    """Yield a sentence for each contradiction.

    Args:
        contract: The contract.
        left_out: The blocks, such as ``state``, of which something was left out, because it is
            wrong by itself: what it would have provided is not missed.
    """
    if "policy" not in left_out:
        yield from policy_problems(contract.policy)
    for stream in contract.state_streams:
        yield from _select_problems(stream)
        yield from _conversion_problems(stream)
    for video in contract.video:
        if (video.width is None) != (video.height is None):
            yield f"{video.name}: width and height go together"
    for output in contract.action:
        yield from _key_problems(output, contract)
        yield from _conversion_problems(output)
        if "state" not in left_out:
            yield from _measurement_problems(output, contract)
        if output.teleop_topic and output.interface.is_action:
            yield f"{output.name}.teleop_topic: no device publishes the action {output.type}"
        if contract.record.action_lead_steps is not None and "state" not in left_out:
            yield from _action_from_state_problems(output, contract)
        yield from _end_effector_problems(output, contract)
    yield from _description_problems(contract, are_actions_known="action" not in left_out)
    yield from _shared_topic_problems(contract)
    yield from _repeated_joint_problems(contract)


def _select_problems(stream: StateStream) -> Iterator[str]:
    size = stream.interface.dimension
    if size is None:
        return
    beyond = [index for index in stream.select if index >= size]
    if beyond:
        yield f"{stream.name}: select has {beyond}, {stream.type} has values 0 to {size - 1}"


def _key_problems(output: ActionOutput, contract: Contract) -> Iterator[str]:
    """Yield what is wrong with the keys of the policy that an action is put together from."""
    repeated = sorted({key for key in output.keys if output.keys.count(key) > 1})
    if repeated:
        yield f"{output.name}.keys: repeats {repeated}"
    for key in output.keys:
        if key in contract.ignored:
            yield f"{output.name}.keys: has {key}, which action.{key}.ignore leaves out"
    expected = output.dimension
    if output.select and expected not in (None, len(output.select)):
        yield (
            f"{output.name}: select has {len(output.select)} indices, {output.type} takes "
            f"{expected} values"
        )


def _conversion_problems(entry: StateStream | ActionOutput) -> Iterator[str]:
    for name, values in (("scale", entry.scale), ("offset", entry.offset)):
        if len(values) not in (1, entry.dimension or len(values)):
            yield (
                f"{entry.name}: {name} has {len(values)} values, expected 1 or {entry.dimension}"
            )
    if 0.0 in entry.scale:
        yield f"{entry.name}: scale must not be 0, got {list(entry.scale)}"


def _measurement_problems(output: ActionOutput, contract: Contract) -> Iterator[str]:
    """Require a measurement of each commanded position: motion begins where the robot is."""
    if output.interface.holds_zero:
        return
    is_pose = output.interface.commands_pose
    lacking = _unmeasured_pose(output, contract) if is_pose else _unmeasured(output, contract)
    if lacking and not output.unmeasured:
        yield f"{output.name}: {lacking}, or say unmeasured: true"
    if output.unmeasured and not lacking:
        yield f"{output.name}.unmeasured: has no effect, states measure all of it; leave it out"


def _action_from_state_problems(output: ActionOutput, contract: Contract) -> Iterator[str]:
    """Require a measurement of each action that is to be learnt from what is measured."""
    if output.interface.holds_zero:
        lacking = "it commands velocities, which no state measures"
    elif output.interface.commands_pose:
        lacking = _unmeasured_pose(output, contract)
    else:
        lacking = _unmeasured(output, contract)
    if lacking:
        yield f"{output.name}: record.action_from: state needs its measurement: {lacking}"


def _end_effector_problems(output: ActionOutput, contract: Contract) -> Iterator[str]:
    """Require that the end effector of an action is measured as it is commanded."""
    command = output.interface
    if not command.needs_description:
        return
    if output.unmeasured:
        yield f"{output.name}.unmeasured: {output.type} begins at the measured joints; leave it out"
    for state in contract.state:
        for stream in state.streams:
            measured = stream.interface.measured_frames
            if state.key == output.key and measured not in (None, command.commanded_frames):
                yield (
                    f"{output.name}: is {command.commanded_frames}, {stream.name} is {measured}: "
                    "a policy has one convention for both"
                )


def _description_problems(contract: Contract, *, are_actions_known: bool) -> Iterator[str]:
    """Require a source of the robot description where something cannot do without it."""
    entries = (*contract.state_streams, *contract.action)
    names = [entry.name for entry in entries if entry.interface.needs_description]
    names.extend(workspace.name for workspace in contract.workspaces)
    if names and not contract.motion.robot_description_topics:
        yield f"{', '.join(names)}: needs the robot description, robot_description_topic is empty"
    is_any_bounded = any(output.commands_joint_positions for output in contract.action)
    if contract.workspaces and are_actions_known and not is_any_bounded:
        yield (
            f"{contract.workspaces[0].name}: no action commands joints in position, which is what "
            "it can bound; a pose_stamped action takes box_min, box_max and floor itself, a twist "
            "has no position: whatever follows it has to bound the tip"
        )


def _unmeasured_pose(output: ActionOutput, contract: Contract) -> str:
    poses = [
        state.key
        for state in contract.state
        if any(stream.interface.measures_pose for stream in state.streams)
    ]
    if output.key in poses:
        return ""
    return (
        f"no state.{output.key} measures the pose; give a state of a pose the name of the "
        f"action{did_you_mean(output.key, poses, 'state.')}"
    )


def _unmeasured(output: ActionOutput, contract: Contract) -> str:
    if not output.joints:
        return f"{output.type} without joints has no limits, and no state measures it"
    interfaces = [stream.interface for stream in contract.state_streams]
    measured = [joint for interface in interfaces for joint in interface.measured_joints]
    missing = [joint for joint in output.joints if joint not in measured]
    if not missing:
        return ""
    return (
        f"no state measures the position of {', '.join(missing)}; add it to the joints of a state"
        f"{did_you_mean(missing[0], measured)}"
    )


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One end of a topic: the parameter that names it, its message, and whether we publish it."""

    name: str
    topic: str
    message: str
    is_command: bool = False


def _endpoints(contract: Contract) -> Iterator[_Endpoint]:
    yield _Endpoint("the nodes themselves", contract.chunk_topic, "gr00t_ros/msg/ActionChunk")
    yield _Endpoint(
        "the control node itself", contract.intervention_topic, "std_msgs/msg/Bool", is_command=True
    )
    for video in contract.video:
        yield _Endpoint(video.name, video.topic, IMAGE_MESSAGE)
    for stream in contract.state_streams:
        yield _Endpoint(stream.name, stream.topic, stream.ros_type)
    motion = contract.motion
    if motion.enable_topic:
        yield _Endpoint("enable_topic", motion.enable_topic, "std_msgs/msg/Bool")
    if contract.record.pedal_topic:
        yield _Endpoint("record.pedal_topic", contract.record.pedal_topic, "std_msgs/msg/Bool")
    if motion.intervene_topic:
        yield _Endpoint("intervene_topic", motion.intervene_topic, "std_msgs/msg/Bool")
    for output in contract.action:
        if output.teleop_topic:
            name = f"{output.name}.teleop_topic"
            yield _Endpoint(name, output.teleop_topic, output.ros_type)
    for topic in motion.robot_description_topics:
        yield _Endpoint("robot_description_topic", topic, "std_msgs/msg/String")
    for output in contract.action:
        yield _Endpoint(output.name, output.topic, output.ros_type, is_command=True)


def _shared_topic_problems(contract: Contract) -> Iterator[str]:
    """Let streams of one message share a topic, and commands only if one message holds them all."""
    endpoints = list(_endpoints(contract))
    for topic in dict.fromkeys(endpoint.topic for endpoint in endpoints):
        commands = [end for end in endpoints if end.topic == topic and end.is_command]
        read = [end for end in endpoints if end.topic == topic and not end.is_command]
        if commands and read:
            yield (
                f"{_names(commands)}: topic {topic} is read by {_names(read)}; commands need a "
                "topic of their own"
            )
        elif len({end.message for end in read}) > 1:
            read_as = ", ".join(f"{end.name} as {end.message}" for end in read)
            yield f"topic {topic} cannot be read as different messages: {read_as}"
        outputs = [output for output in contract.action if output.topic == topic]
        if len(outputs) > 1 and not _can_share(outputs):
            yield f"{_names(commands)}: only groups of joints of one type can share topic {topic}"
        steered = [output for output in contract.action if output.teleop_topic == topic]
        if len(steered) > 1 and not _can_share(steered):
            names = ", ".join(f"{output.name}.teleop_topic" for output in steered)
            yield f"{names}: only groups of joints of one type can share topic {topic}"


def _can_share(outputs: Sequence[ActionOutput]) -> bool:
    first, *others = [output.interface.carrier for output in outputs]
    if any(type(other) is not type(first) for other in others):
        return False
    return first.joined(others) is not None


def _names(endpoints: list[_Endpoint]) -> str:
    return ", ".join(endpoint.name for endpoint in endpoints)


def _repeated_joint_problems(contract: Contract) -> Iterator[str]:
    """Forbid that two keys command one joint, on one topic or on two."""
    joints = chain.from_iterable(dict.fromkeys(output.joints) for output in contract.action)
    counted = list(joints)
    for joint in dict.fromkeys(joint for joint in counted if counted.count(joint) > 1):
        outputs = [output for output in contract.action if joint in output.joints]
        names = ", ".join(output.name for output in outputs)
        topics = " and ".join(dict.fromkeys(output.topic for output in outputs))
        yield f"{names}: {joint} is commanded twice, on {topics}; a joint takes one command"
