# SPDX-License-Identifier: Apache-2.0
"""The newest measurements of the commanded joints and poses, for a player. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.chunk import Row
from gr00t_policy_core.control.measured_state import MAX_MEASURED
from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.motion_setup import Player
from gr00t_ros.interfaces.interface import MeasuredPose, StateInterface


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


class CommandedPoses:
    """The commanded poses, and their newest measurements.

    A pose is known if a state of the same key measures it in the frame of the command. `streams`
    holds the streams of these states, by key.

    Args:
        contract: Names the poses and the streams that measure them.
    """

    def __init__(self, contract: Contract) -> None:
        measured = contract.pose_streams
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
