# SPDX-License-Identifier: Apache-2.0
"""The paths of the tips over a chunk: by forward kinematics, or the commanded poses. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gr00t_policy_core.control.chunk import Chunk, Row
from gr00t_policy_core.kinematics.robot_model import RobotModel
from gr00t_ros.contract.contract import Contract
from gr00t_ros.visualization.received_chunk import commanded_positions, posture
from gr00t_ros.visualization.tips import Tip


@dataclass(frozen=True, slots=True)
class TipPath:
    """The way of one tip: float64 (horizon, 3), m, in the frame `frame_id`."""

    name: str
    frame_id: str
    points: Row


def pose_paths(contract: Contract, chunk: Chunk) -> Iterator[TipPath]:
    """Yield the poses that a chunk commands, in the frames of their commands."""
    for output in contract.action:
        if output.interface.commands_pose:
            points = chunk.actions[output.key][:, :3]
            yield TipPath(output.key, output.interface.frame_id, points)


def joint_paths(
    contract: Contract,
    chunk: Chunk,
    model: RobotModel,
    tips: Sequence[Tip],
    measured: Mapping[str, float],
) -> Iterator[TipPath]:
    """Yield where the commanded joints put each tip.

    Args:
        contract: Names the joints.
        chunk: Has the values of every action of the contract.
        model: The kinematics of the robot.
        tips: The links to follow.
        measured: The newest positions, rad (or m), for joints that are not commanded.
    """
    commanded = commanded_positions(contract, chunk)
    if not commanded or not tips:
        return
    points = np.empty((len(tips), chunk.horizon, 3))
    for step in range(chunk.horizon):
        model.place(posture(commanded, measured, step))
        for number, tip in enumerate(tips):
            points[number, step] = model.pose(tip.link, tip.base, tip.tool)[:3]
    for tip, path in zip(tips, points, strict=True):
        yield TipPath(tip.link, tip.base, path)
