# SPDX-License-Identifier: Apache-2.0
"""Makes the player of a contract, and watches the measured joints and poses for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.measured_state import MAX_MEASURED
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import ObservationAgeLimit, PlayerSettings
from gr00t_policy_core.control.recording import RecordingPlayer
from gr00t_policy_core.kinematics.urdf import UrdfLimits
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput, StateStream
from gr00t_ros.control.workspaces import (
    NO_CHAINS,
    Chains,
    body_workspaces,
    workspaces_in_force,
)
from gr00t_ros.interfaces.interface import MeasuredPose, StateInterface

Player = MotionPlayer | LookAheadPlayer

LimitSource = Literal["yaml", "urdf", "default"]
"""Where a limit comes from: the user's parameters, the robot description, our own defaults."""


@dataclass(frozen=True, slots=True)
class LimitsInForce:
    """The limits of one commanded joint, and the source of each.

    An infinite range means that no source gives one.

    Args:
        key: The action key that commands the joint.
        number: The joint's place in that key.
        joint: Name of the joint in the URDF.
        limits: rad (or m) and s.
        lower, upper, velocity, acceleration, jerk: The source of each of the limits.
    """

    key: str
    number: int
    joint: str
    limits: JointLimits
    lower: LimitSource
    upper: LimitSource
    velocity: LimitSource
    acceleration: LimitSource
    jerk: LimitSource

    @property
    def position(self) -> str:
        """The sources of the range: one word, or ``lower/upper`` where they differ."""
        return self.lower if self.lower == self.upper else f"{self.lower}/{self.upper}"


class CommandedPoses:
    """The commanded poses, and their newest measurements.

    A pose is known if a state of the same key measures it in the frame of the command. `streams`
    holds the streams of these states, by key.

    Args:
        contract: Names the poses and the streams that measure them.
    """

    def __init__(self, contract: Contract) -> None:
        measured = _pose_streams(contract)
        self._frames = {
            output.key: output.interface.frame_id
            for output in contract.action
            if output.interface.commands_pose and output.key in measured
        }
        self.streams = {key: measured[key] for key in self._frames}
        self._known: dict[str, tuple[Row, int]] = {}

    def update(self, key: str, pose: MeasuredPose, stamp_ns: int) -> str:
        """Store a measured pose; one that is not finite is left out.

        Returns:
            Why it cannot be compared with the commands; empty where it can.
        """
        if pose.frame_id != self._frames[key]:
            return (
                f"state.{key} is in frame {pose.frame_id!r}, action.{key} in "
                f"{self._frames[key]!r}: max_jump cannot compare them"
            )
        values, length = pose.values, float(np.linalg.norm(pose.values[3:]))
        if (np.abs(values) <= MAX_MEASURED).all() and length > 0.0:
            self._known[key] = np.concatenate([values[:3], values[3:] / length]), stamp_ns
        return ""

    def update_player(self, player: Player, layout: ActionLayout) -> None:
        """Pass the known poses to a player."""
        for key, (pose, stamp_ns) in self._known.items():
            start = layout.slices[key].start
            player.measure(dict(enumerate(pose.tolist(), start)), stamp_ns)


class CommandedJoints:
    """The joints whose positions are commanded by name, and their newest measurements.

    `interfaces` holds the interfaces that read the positions, by topic.

    Args:
        contract: Names the joints and the streams that measure their positions.
    """

    def __init__(self, contract: Contract) -> None:
        self._places = {
            joint: (output.key, number)
            for output in contract.action
            if output.commands_joint_positions
            for number, joint in enumerate(output.joints)
        }
        self.interfaces: dict[str, tuple[StateInterface, ...]] = {}
        for stream in contract.state_streams:
            if self._places.keys() & set(stream.interface.measured_joints):
                of_topic = self.interfaces.get(stream.topic, ())
                self.interfaces[stream.topic] = (*of_topic, stream.interface)
        self.names = frozenset(self._places)
        self._known: dict[str, tuple[float, int]] = {}

    @property
    def positions(self) -> dict[str, float]:
        """The newest position of each joint that was measured, by name, rad (or m)."""
        return {name: position for name, (position, _) in self._known.items()}

    def update(self, names: Sequence[str], positions: Sequence[float], stamp_ns: int) -> None:
        """Store the positions of a message, rad (or m); values that are not finite are left out."""
        for name, position in zip(names, positions, strict=False):
            if name in self._places and abs(position) <= MAX_MEASURED:
                self._known[name] = position, stamp_ns

    def update_player(self, player: Player, layout: ActionLayout) -> None:
        """Pass the known joint positions to a player."""
        by_stamp: dict[int, dict[int, float]] = {}
        for name, (position, stamp_ns) in self._known.items():
            key, number = self._places[name]
            index = layout.slices[key].start + number
            by_stamp.setdefault(stamp_ns, {})[index] = position
        for stamp_ns, positions in by_stamp.items():
            player.measure(positions, stamp_ns)


def make_layout(contract: Contract, dimensions: Mapping[str, int]) -> ActionLayout:
    """Make the layout of the command vector.

    Args:
        contract: Names the actions, in the order of the vector.
        dimensions: The number of values of one command, by action key; only a chunk or a
            teleoperation device shows some of them.
    """
    dimensions = {output.key: dimensions[output.key] for output in contract.action}
    poses = [output.key for output in contract.action if output.interface.commands_pose]
    velocities = [output.key for output in contract.action if output.interface.holds_zero]
    names = {output.key: output.joints for output in contract.action if output.joints}
    return ActionLayout(dimensions, poses, velocities, names)


def make_player(
    contract: Contract,
    layout: ActionLayout,
    urdf: Mapping[str, UrdfLimits],
    chains: Chains = NO_CHAINS,
    *,
    is_shadow: bool = False,
) -> Player:
    """Make the player for a robot; one that looks ahead where whole trajectories are sent.

    Args:
        contract: Sets how chunks are played, and holds the user's limits.
        layout: Layout of the command vector.
        urdf: The limits of the robot description, by joint; the tighter limit is in force.
        chains: The kinematics of the workspaces, by their keys.
        is_shadow: Whether nothing is commanded, so that the robot goes its own way at rest.

    Raises:
        ValueError: The contract and the robot description contradict each other.
    """
    motion = contract.motion
    settings = PlayerSettings(
        period_s=1.0 / contract.control_rate_hz,
        schedule=motion.schedule,
        limits=limits_by_index(limits_in_force(contract, urdf), layout),
        bodies={o.key: o.body_limits for o in contract.action if o.body_limits is not None},
        workspaces=workspaces_in_force(contract, chains, layout),
        body_workspaces=body_workspaces(contract, layout),
        max_jump=motion.max_jump,
        out_of_range=motion.out_of_range,
        max_joint_ages_s=dict(_max_ages_s(contract, layout)),
        max_following_errors=dict(_max_following_errors(contract, layout)),
        observation_age=ObservationAgeLimit(
            motion.max_observation_age_s,
            replan_interval_s=contract.replan_interval_s or 0.0,
            sync=contract.inference == "sync",
        ),
        steering_timeout_s=motion.teleop_timeout_s,
        silent_at_rest=is_shadow or motion.on_starvation == "stop_publishing",
    )
    kind = RecordingPlayer if motion.record_path else MotionPlayer
    player = kind(layout, settings)
    forecast_keys = tuple(o.key for o in contract.action if o.interface.sends_trajectories)
    if not forecast_keys:
        return player
    return LookAheadPlayer(
        player,
        layout,
        period_s=settings.period_s,
        lead_s=motion.trajectory_lead_s,
        forecast_keys=forecast_keys,
        silent_at_rest=settings.silent_at_rest,
    )


def limits_by_index(
    limits: Iterable[LimitsInForce], layout: ActionLayout
) -> dict[int, JointLimits]:
    """Return the limits of joints, by their index in the command vector of a layout."""
    return {layout.slices[joint.key].start + joint.number: joint.limits for joint in limits}


def _max_following_errors(contract: Contract, layout: ActionLayout) -> Iterator[tuple[int, float]]:
    """Yield the largest following errors by index, rad and m; a pose has one for all its values."""
    for output in contract.action:
        part, errors = layout.slices[output.key], output.max_following_errors
        if errors and output.interface.commands_pose:
            errors *= layout.dimensions[output.key]
        yield from enumerate(errors, part.start)


def _max_ages_s(contract: Contract, layout: ActionLayout) -> Iterator[tuple[int, float]]:
    """Yield the largest age of a position by index; of several streams, the largest one counts.

    Only the first value of a pose is checked, since all values arrive in one message.
    """
    poses = _pose_streams(contract)
    ages_s: dict[str, float] = {}
    for stream in contract.state_streams:
        for joint in stream.interface.measured_joints:
            ages_s[joint] = max(stream.max_age_s, ages_s.get(joint, 0.0))
    for output in contract.action:
        start = layout.slices[output.key].start
        if output.interface.commands_pose and output.key in poses:
            yield start, poses[output.key].max_age_s
        if not output.commands_joint_positions:
            continue
        for number, joint in enumerate(output.joints):
            if joint in ages_s:
                yield start + number, ages_s[joint]


def limits_in_force(
    contract: Contract, urdf: Mapping[str, UrdfLimits]
) -> tuple[LimitsInForce, ...]:
    """Return the limits of every joint that is commanded by name, in the order of the contract.

    A joint that is commanded in velocity has no range.

    Args:
        contract: Names the joints and holds the user's limits.
        urdf: The limits of the robot description, by joint; the tighter limit is in force.

    Raises:
        ValueError: Contract and robot description contradict each other; the text names the joint.
    """
    return tuple(
        _limits_in_force(output, number, urdf.get(joint, UrdfLimits()))
        for output in contract.action
        for number, joint in enumerate(output.joints)
    )


def _limits_in_force(output: ActionOutput, number: int, described: UrdfLimits) -> LimitsInForce:
    joint, own = output.joints[number], output.limits[number]
    if output.interface.holds_zero:
        described = UrdfLimits(velocity=described.velocity)
    of_urdf = {
        "lower": described.lower > own.lower,
        "upper": described.upper < own.upper,
        "velocity": described.velocity < own.velocity,
    }
    try:
        limits = JointLimits(
            lower=max(described.lower, own.lower),
            upper=min(described.upper, own.upper),
            velocity=min(described.velocity, own.velocity),
            acceleration=own.acceleration,
            jerk=own.jerk,
        )
    except ValueError as error:
        raise ValueError(f"{output.name}, joint {joint}: {error}") from error

    def source(field: str) -> LimitSource:
        if of_urdf.get(field, False):
            return "urdf"
        return "yaml" if field in output.limits_given else "default"

    return LimitsInForce(
        key=output.key,
        number=number,
        joint=joint,
        limits=limits,
        lower=source("lower"),
        upper=source("upper"),
        velocity=source("velocity"),
        acceleration=source("acceleration"),
        jerk=source("jerk"),
    )


def _pose_streams(contract: Contract) -> dict[str, StateStream]:
    """Return the stream that measures a pose, by state key; the first of several."""
    return {
        state.key: stream
        for state in contract.state
        for stream in reversed(state.streams)
        if stream.interface.measures_pose
    }
