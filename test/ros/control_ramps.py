# SPDX-License-Identifier: Apache-2.0
"""Chunks that climb by RATE a second: a commanded value tells the instant that it belongs to.

That is ``t0 + value / RATE``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from helpers import wait_until
from nodes_for_tests import (
    ACTIVATE,
    CONFIGURE,
    Operator,
    chunk_of,
)
from rclpy.node import Node
from rclpy.publisher import Publisher
from trajectory_msgs.msg import JointTrajectory

from gr00t_ros.control_node import ControlNode
from gr00t_ros.msg import ActionChunk

DT_S = 0.05
RATE = 1.0  # value per second
CONTROL_PERIOD_S = 0.01

MakeNode = Callable[..., ControlNode]


def now_ns(node: Node) -> int:
    return int(node.get_clock().now().nanoseconds)


def ramp(
    t0_ns: int, *, start: float = 0.0, horizon: int = 20, chunk_id: int = 1, **changes: np.ndarray
) -> ActionChunk:
    climb = start + RATE * DT_S * np.arange(horizon)[:, None]
    values = {"arm": np.hstack([climb, climb + 100.0]), "gripper": climb + 200.0, **changes}
    return chunk_of(values, t0_ns=t0_ns, dt_s=DT_S, chunk_id=chunk_id)


def activate(operator: Operator, chunks: Publisher) -> None:
    assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    wait_until(chunks.get_subscription_count, what="the node listens to chunks")


def first(command: JointTrajectory) -> float:
    return float(command.points[0].positions[0])
