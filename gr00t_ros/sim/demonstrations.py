# SPDX-License-Identifier: Apache-2.0
"""Records demonstrations of the scripted expert with the recorder node, over DDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node

from gr00t_ros.sim.demo_processes import DemoError, DemoProcesses, executable
from gr00t_ros.sim.expert import plan_pick_and_place
from gr00t_ros.sim.leader_arm import LeaderArm
from gr00t_ros.sim.recording_session import RecordingSession
from gr00t_ros.sim.scene import Scene
from gr00t_ros.sim.world import CUBE_NAMES, SimulatedArm

ATTEMPTS = 3  # of a demonstration: on a busy machine the arm may miss the cube
SETTLE_S = 3.0  # for the cube to come to rest


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One demonstration, and what was recorded of it.

    Args:
        scene_seed: Where the cubes lay, see `SimulatedArm.reset`.
        cube: The cube that was put into the bin.
        bag: The episode of the recorder.
        success: Whether the cube came into the bin.
    """

    scene_seed: int
    cube: str
    bag: Path
    success: bool


def task_of(cube: str) -> str:
    """What to do with a cube, in words."""
    return f"pick up the {cube} cube and put it into the bin"


def simulation_command() -> list[str]:
    """The simulated arm with small images at half the demo's rate."""
    return [
        *(str(executable("sim_node")), "--ros-args", "-p", "image_rate_hz:=15.0"),
        *("-p", "image_width:=160", "-p", "image_height:=120"),
    ]


class Demonstrator:
    """A person at a leader arm, with a recorder.

    Args:
        node: Publishes the commands and calls the recorder; another thread spins it.
        processes: Runs the simulated arm and the recorder.
        folder: Of the episodes.
    """

    def __init__(self, node: Node, processes: DemoProcesses, folder: Path) -> None:
        arm = SimulatedArm()
        self._processes = processes
        self._geometry, self._bin = arm.geometry, arm.bin_position.tolist()
        processes.start("sim_node", simulation_command())
        self._recorder = RecordingSession(node, processes, folder)
        self._scene = Scene(node, self._bin)
        self._leader = LeaderArm(node, self._geometry)

    def record(self, episodes: int, tell: Callable[[str], None]) -> Iterator[Demonstration]:
        """Record demonstrations, each in its own scene; a failed one is recorded again.

        Args:
            episodes: The number of scenes.
            tell: Takes a line for each demonstration.

        Raises:
            DemoError: A demonstration has failed again and again.
        """
        self._processes.wait_until(
            lambda: self._leader.heard_by() == 2, "the arm and the recorder hear the leader arm"
        )
        for seed in range(episodes):
            for _ in range(ATTEMPTS):
                demonstration = self._demonstrate(seed, CUBE_NAMES[seed % len(CUBE_NAMES)])
                outcome = "in the bin" if demonstration.success else "NOT in the bin, once more"
                tell(f"{demonstration.bag.name}, scene {seed}: {demonstration.cube} {outcome}")
                yield demonstration
                if demonstration.success:
                    break
            else:
                raise DemoError(
                    f"scene {seed}: no demonstration out of {ATTEMPTS} has put the cube into the "
                    "bin; is this machine too busy to simulate?"
                )

    def _demonstrate(self, seed: int, cube: str) -> Demonstration:
        scene = self._scene
        scene.begin(seed, self._processes)
        place = scene.places[cube]
        plan = plan_pick_and_place(
            self._geometry,
            cube_position=(place.x_m, place.y_m),
            cube_yaw_rad=place.yaw_rad,
            bin_position=self._bin,
        )
        self._recorder.begin(task_of(cube))
        self._processes.let_run(self._leader.follow(plan))
        success = self._processes.holds_within(lambda: scene.is_in_bin(cube), SETTLE_S)
        return Demonstration(seed, cube, self._recorder.end(success=success), success)
