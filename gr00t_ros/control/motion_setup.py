# SPDX-License-Identifier: Apache-2.0
"""Makes the player of a contract. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.look_ahead import LookAheadPlayer
from gr00t_policy_core.control.player import MotionPlayer
from gr00t_policy_core.control.player_settings import ObservationAgeLimit, PlayerSettings
from gr00t_policy_core.control.recording import RecordingPlayer
from gr00t_policy_core.kinematics.urdf import UrdfLimits
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.limits_in_force import limits_by_index, limits_in_force
from gr00t_ros.control.workspaces import (
    NO_CHAINS,
    Chains,
    body_workspaces,
    workspaces_in_force,
)

Player = MotionPlayer | LookAheadPlayer


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
    poses = contract.pose_streams
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
