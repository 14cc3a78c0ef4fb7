# SPDX-License-Identifier: Apache-2.0
"""What is known of the robot, and told to the player: measurements and limits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import ChunkRefusedError
from gr00t_policy_core.kinematics.urdf import UrdfLimits
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.current_motion import CurrentMotion
from gr00t_ros.control.limits_in_force import LimitsInForce, limits_by_index, limits_in_force
from gr00t_ros.control.measurements import CommandedJoints, CommandedPoses
from gr00t_ros.control.motion_setup import Player, make_player
from gr00t_ros.control.workspaces import NO_CHAINS, Chains, workspaces_in_force
from gr00t_ros.interfaces.interface import MeasuredPose


class RobotState:
    """The measured joints and poses, and the limits of the contract and the robot description.

    Safe between threads.

    Args:
        contract: The commanded values and their limits.
        motion: Its player learns every measurement and every change of the limits.

    Attributes:
        joints: The commanded joints; whoever reads what is measured holds the motion's lock.
        poses: The commanded poses.
    """

    def __init__(self, contract: Contract, motion: CurrentMotion) -> None:
        self._contract = contract
        self._motion = motion
        self._urdf: Mapping[str, UrdfLimits] = {}
        self._chains = NO_CHAINS
        self.joints = CommandedJoints(contract)
        self.poses = CommandedPoses(contract)

    def positions(self) -> dict[str, float]:
        """The newest position of each commanded joint that was measured, by name, rad (or m)."""
        with self._motion.lock:
            return self.joints.positions

    def limits(self) -> tuple[LimitsInForce, ...]:
        """The limits in force, with their sources."""
        return limits_in_force(self._contract, self._urdf)

    def measure_joints(
        self, names: Sequence[str], positions: Sequence[float], stamp_ns: int
    ) -> None:
        """Store measured joint positions, rad (or m)."""
        with self._motion.lock:
            self.joints.update(names, positions, stamp_ns)
            self._update_player()

    def measure_pose(self, key: str, pose: MeasuredPose, stamp_ns: int) -> str:
        """Store the measured pose of an action.

        Returns:
            Why it cannot be compared with the commands; empty where it can.
        """
        with self._motion.lock:
            problem = self.poses.update(key, pose, stamp_ns)
            self._update_player()
        return problem

    def take_limits(
        self, urdf: Mapping[str, UrdfLimits], now_ns: int, chains: Chains = NO_CHAINS
    ) -> None:
        """Use the limits of a robot description; a moving robot comes to rest first.

        Args:
            urdf: The limits by joint.
            now_ns: The current time on the clock of the observation stamps, ns.
            chains: The kinematics of the workspaces, by their keys.
        """
        with self._motion.lock:
            before = self.limits()
            self._urdf, self._chains = urdf, chains
            player = self._motion.player
            is_new = self.limits() != before or bool(chains)
            if player is None or self._motion.failure is not None or not is_new:
                return
            workspaces = workspaces_in_force(self._contract, chains, player.layout)
            limits = limits_by_index(self.limits(), player.layout)
            try:
                player.change_limits(limits, now_ns, workspaces)
            except Exception:  # no description may end the node without braking
                self._motion.fail("new limits could not be used")

    def begin_motion(self, layout: ActionLayout) -> Player:
        """Give the motion a player for this robot; the caller holds the motion's lock.

        Args:
            layout: Layout of the command vector. Only a chunk or a device shows the size of some
                keys.

        Raises:
            ChunkRefusedError: The contract and the robot description contradict each other.
        """
        is_shadow = self._motion.is_shadow
        try:
            player = make_player(
                self._contract, layout, self._urdf, self._chains, is_shadow=is_shadow
            )
        except ValueError as error:
            raise ChunkRefusedError(f"the limits contradict each other: {error}") from error
        self._motion.player = player
        self._update_player()
        return player

    def _update_player(self) -> None:
        player = self._motion.player
        if player is None or self._motion.failure is not None:
            return
        try:
            self.joints.update_player(player, player.layout)
            self.poses.update_player(player, player.layout)
        except Exception:  # no measurement may end the node without braking
            self._motion.fail("a measurement could not be used")
