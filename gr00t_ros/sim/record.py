# SPDX-License-Identifier: Apache-2.0
"""Records the expert's episodes into a LeRobot v2.1 dataset: ``python -m gr00t_ros.sim.record``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gr00t_ros.sim.expert import plan_duration_s, plan_pick_and_place, targets_at
from gr00t_ros.sim.lerobot_writer import FPS, Episode, write_dataset
from gr00t_ros.sim.world import CUBE_NAMES, SimulatedArm

DATASET_PATH = Path(__file__).with_name("dataset")
"""The recording that comes with the package, made by this module with its default arguments."""

_SETTLE_S = 0.3

_logger = logging.getLogger(__name__)


class ExpertFailedError(RuntimeError):
    """The expert did not get the cube into the bin, so there is nothing worth recording."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Joint targets over time, at the rate of the dataset.

    Attributes:
        targets: float (frames, 7), target ``i`` at ``i / FPS`` s; rad, the gripper in m.
    """

    targets: NDArray[np.floating]

    def at(self, time_s: float) -> NDArray[np.float64]:
        """Linear interpolation, as the control node does; before and after, the ends. (7,)"""
        times_s = np.arange(len(self.targets)) / FPS
        return np.array([np.interp(time_s, times_s, column) for column in self.targets.T])


def expert_actions(arm: SimulatedArm, cube: str) -> NDArray[np.float32]:
    """The expert's joint targets for the scene as it lies now, float32 (frames, 7).

    Raises:
        ValueError: If the cube is out of reach.
    """
    plan = plan_pick_and_place(
        arm.geometry,
        cube_position=arm.cube_position(cube),
        cube_yaw_rad=arm.cube_yaw_rad(cube),
        bin_position=arm.bin_position,
    )
    frames = round((plan_duration_s(plan) + _SETTLE_S) * FPS)
    return np.array(
        [targets_at(arm.geometry, plan, frame / FPS) for frame in range(frames)], dtype=np.float32
    )


def record_episode(arm: SimulatedArm, *, scene_seed: int, cube: str) -> Episode:
    """Play the expert in scene ``scene_seed`` and note, at each frame, targets and measured joints.

    Raises:
        ExpertFailedError: If the cube is not in the bin at the end.
        ValueError: If the cube is out of reach.
    """
    arm.reset(scene_seed)
    actions = expert_actions(arm, cube)
    trajectory = Trajectory(actions)
    states = np.empty_like(actions)
    for frame in range(len(actions)):
        states[frame] = arm.positions
        _follow_until(arm, trajectory, (frame + 1) / FPS)
    if not arm.cube_in_bin(cube):
        raise ExpertFailedError(
            f"scene {scene_seed}: the {cube} cube ended at {arm.cube_position(cube).round(3)} m, "
            "outside the bin"
        )
    return Episode(
        states=states,
        actions=actions,
        task=f"pick up the {cube} cube and put it into the bin",
        scene_seed=scene_seed,
    )


def _follow_until(arm: SimulatedArm, trajectory: Trajectory, end_s: float) -> None:
    while arm.time_s + arm.timestep_s / 2 < end_s:
        arm.set_target_vector(trajectory.at(arm.time_s))
        arm.step()


def main(args: Sequence[str] | None = None) -> int:
    """Command line of the recorder; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=DATASET_PATH,
        help="folder of the dataset, its files replaced",
    )
    parser.add_argument("--episodes", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--first-seed", type=int, default=0, help="scene of the first (default: 0)")
    options = parser.parse_args(args)
    if options.episodes < 1:
        parser.error(f"--episodes must be at least 1, got {options.episodes}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    arm = SimulatedArm()
    episodes = []
    for index in range(options.episodes):
        cube = CUBE_NAMES[index % len(CUBE_NAMES)]
        episode = record_episode(arm, scene_seed=options.first_seed + index, cube=cube)
        _logger.info("episode %d: %s, %d frames", index, episode.task, len(episode.actions))
        episodes.append(episode)
    write_dataset(options.output, episodes)
    _logger.info("wrote %s", options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
