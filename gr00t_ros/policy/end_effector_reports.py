# SPDX-License-Identifier: Apache-2.0
"""How well the joints of the newest chunk meet the poses of the policy, for the status."""

from __future__ import annotations

from collections.abc import Mapping

from gr00t_ros.contract.contract import Contract
from gr00t_ros.interfaces.command_path import CommandPath, PathQuality
from gr00t_ros.msg import EndEffectorStatus
from gr00t_ros.node.latency_window import LatencyWindow

CHUNKS_KEPT = 6000  # of the last minute, more than any policy answers


class EndEffectorReports:
    """The quality of the newest chunk of each end effector, and how long its solutions took."""

    def __init__(self) -> None:
        self._newest: dict[str, PathQuality] = {}
        self._solve_times: dict[str, LatencyWindow] = {}

    def add(self, contract: Contract, paths: Mapping[str, CommandPath]) -> None:
        """Keep the quality of a chunk.

        Args:
            contract: Names the actions.
            paths: The commands of the chunk, by action.
        """
        newest: dict[str, PathQuality] = {}
        for output in contract.action:
            quality = paths[output.key].quality
            if quality is not None:
                newest[output.name] = quality
                window = self._solve_times.setdefault(output.name, LatencyWindow(CHUNKS_KEPT))
                window.add(quality.solve_s)
        self._newest = newest

    def warnings(self) -> list[str]:
        """A sentence for each end effector with steps that are unreachable or near-singular."""
        newest = self._newest
        return [f"{name}: {quality.warning}" for name, quality in newest.items() if quality.warning]

    def statuses(self) -> list[EndEffectorStatus]:
        """The part of the status of each end effector."""
        newest = self._newest
        return [
            EndEffectorStatus(
                name=name,
                position_error=quality.position_error_m,
                orientation_error=quality.orientation_error_rad,
                manipulability=quality.manipulability,
                solve_time=self._solve_times[name].statistics(),
                warning=quality.warning,
            )
            for name, quality in newest.items()
        ]
