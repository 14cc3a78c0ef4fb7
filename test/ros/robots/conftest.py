# SPDX-License-Identifier: Apache-2.0
"""What the tests that drive robots share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from rclpy.node import Node
from simulated_robot import SimulatedRobot

from gr00t_ros.contract.contract import Contract
from gr00t_ros.interfaces.command_publisher import CommandPublisher


@pytest.fixture
def commanded(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[np.ndarray]]]:
    """Every command by action key, noted before DDS may lose it."""
    values: dict[str, list[np.ndarray]] = {}
    publish = CommandPublisher.publish

    def tapped(publisher: CommandPublisher, of_keys: Any, stamp: Any) -> None:
        for key in publisher._keys:
            values.setdefault(key, []).append(np.array(of_keys[key]))
        publish(publisher, of_keys, stamp)

    monkeypatch.setattr(CommandPublisher, "publish", tapped)
    return values


@pytest.fixture
def make_robot(ros_node: Node) -> Iterator[Callable[..., SimulatedRobot]]:
    """Makes simulated robots, and ends their action servers."""
    robots: list[SimulatedRobot] = []

    def make(
        contract: Contract, start: dict[str, float], urdf: str | None, **options: Any
    ) -> SimulatedRobot:
        robots.append(SimulatedRobot(ros_node, contract, start, urdf=urdf or "", **options))
        return robots[-1]

    yield make
    for robot in robots:
        robot.close()
