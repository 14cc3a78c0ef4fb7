# SPDX-License-Identifier: Apache-2.0
"""A chunk as the visualization node has received it, and where it puts the robot. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gr00t_policy_core.control.chunk import Chunk, Row
from gr00t_ros.contract.contract import Contract


@dataclass(frozen=True, slots=True)
class ReceivedChunk:
    """The newest chunk.

    Args:
        chunk: What the control node plays.
        arrived_ns: When it arrived here, by the node's clock, ns; the control node receives it at
            about the same time.
    """

    chunk: Chunk
    arrived_ns: int

    @property
    def times_s(self) -> Row:
        """The time of each step after the arrival, s, float64 (horizon,); negative: it is past."""
        steps_s = np.arange(self.chunk.horizon) * self.chunk.dt_s
        return np.asarray(steps_s - (self.arrived_ns - self.chunk.t0_ns) * 1e-9)


def commanded_positions(contract: Contract, chunk: Chunk) -> dict[str, Row]:
    """The positions of each joint that is commanded by position, float64 (horizon,), rad (or m).

    Args:
        contract: Names the joints, in the order of the values.
        chunk: Has the values of every action of the contract.
    """
    return {
        joint: chunk.actions[output.key][:, number]
        for output in contract.action
        if output.commands_joint_positions
        for number, joint in enumerate(output.joints)
    }


def posture(
    commanded: Mapping[str, Row], measured: Mapping[str, float], step: float
) -> dict[str, float]:
    """The joints at a step of a chunk, rad (or m): commanded, or else as measured.

    Args:
        commanded: The positions over the chunk, by joint.
        measured: The newest measured positions, by joint.
        step: The step, fractions are interpolated.
    """
    steps = {joint: np.arange(len(values)) for joint, values in commanded.items()}
    at_step = {
        joint: float(np.interp(step, steps[joint], values)) for joint, values in commanded.items()
    }
    return {**measured, **at_step}
