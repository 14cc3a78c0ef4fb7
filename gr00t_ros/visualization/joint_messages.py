# SPDX-License-Identifier: Apache-2.0
"""A chunk as joint messages: the whole as a trajectory, one moment as a ghost robot."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rclpy.duration import Duration
from rclpy.time import Time
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from gr00t_policy_core.control.chunk import Chunk, Row
from gr00t_ros.visualization.received_chunk import ReceivedChunk

GHOST_PREFIX = "ghost/"


def chunk_trajectory(chunk: Chunk, commanded: Mapping[str, Row]) -> JointTrajectory:
    """All steps of a chunk; the stamp is t0, the time of the first step.

    Args:
        chunk: The chunk.
        commanded: Its positions by joint, float64 (horizon,), rad (or m).
    """
    rows = np.stack(list(commanded.values()), axis=1)
    step_ns = round(chunk.dt_s * 1e9)
    message = JointTrajectory(
        joint_names=list(commanded),
        points=[
            JointTrajectoryPoint(
                positions=row, time_from_start=Duration(nanoseconds=number * step_ns).to_msg()
            )
            for number, row in enumerate(rows.tolist())
        ],
    )
    message.header.stamp = Time(nanoseconds=chunk.t0_ns).to_msg()
    return message


def ghost_step(received: ReceivedChunk, now_ns: int, *, loops: bool) -> float:
    """The step of the chunk at which the ghost is.

    Args:
        received: The chunk and its arrival.
        now_ns: The present by the node's clock, ns.
        loops: Whether the ghost moves along the chunk again and again; it begins at the arrival.
    """
    last = received.chunk.horizon - 1
    if not loops or not last:
        return float(last)
    return (max(0, now_ns - received.arrived_ns) * 1e-9 / received.chunk.dt_s) % last


def ghost_joint_state(positions: Mapping[str, float], now_ns: int) -> JointState:
    """The joints of the ghost, whose names have `GHOST_PREFIX`.

    Args:
        positions: rad (or m) by joint of the robot.
        now_ns: The present by the node's clock, ns; it stamps the message.
    """
    message = JointState(
        name=[GHOST_PREFIX + joint for joint in positions], position=list(positions.values())
    )
    message.header.stamp = Time(nanoseconds=now_ns).to_msg()
    return message
