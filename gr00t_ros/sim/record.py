# SPDX-License-Identifier: Apache-2.0
"""Records the expert's episodes into a LeRobot v2.1 dataset: ``python -m gr00t_ros.sim.record``.

There are no videos: the dataset is for a replay, which needs none, and only names the cameras.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.datasets.dataset_writer import write_dataset
from gr00t_policy_core.datasets.episode_writer import EpisodeWriter, WrittenEpisode
from gr00t_policy_core.datasets.schema import CameraKey, DatasetSchema, VectorKey
from gr00t_policy_core.datasets.video import VideoSettings
from gr00t_ros.sim.expert import plan_duration_s, plan_pick_and_place, targets_at
from gr00t_ros.sim.kinematics import JOINT_NAMES
from gr00t_ros.sim.world import CAMERA_NAMES, CUBE_NAMES, SimulatedArm

DATASET_PATH = Path(__file__).with_name("dataset")
"""The recording that comes with the package, made by this module with its default arguments."""

FPS = 30

_SETTLE_S = 0.3
_JOINTS = (VectorKey("single_arm", JOINT_NAMES[:-1]), VectorKey("gripper", JOINT_NAMES[-1:]))
_SCHEMA = DatasetSchema(
    fps=FPS,
    state=_JOINTS,
    action=_JOINTS,
    cameras=tuple(CameraKey(name) for name in CAMERA_NAMES),
    robot_type="gr00t_ros_sim_arm",
)

_logger = logging.getLogger(__name__)


class ExpertFailedError(RuntimeError):
    """The expert did not get the cube into the bin, so there is nothing worth recording."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One demonstration.

    Attributes:
        states: Measured joints, float32 (frames, 7) in the order of ``JOINT_NAMES``; rad, the
            gripper in m. Frame ``i`` is ``i / FPS`` s after the start.
        actions: Commanded joints at the same times, float32 (frames, 7).
        task: What to do, in words.
        scene_seed: The scene it was recorded in, see ``SimulatedArm.reset``.
    """

    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    task: str
    scene_seed: int


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


def record_episode(arm: SimulatedArm, *, scene_seed: int, cube: str) -> Demonstration:
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
    return Demonstration(
        states=states,
        actions=actions,
        task=f"pick up the {cube} cube and put it into the bin",
        scene_seed=scene_seed,
    )


def write_demonstrations(path: Path, demonstrations: Sequence[Demonstration]) -> None:
    """Write a dataset of these demonstrations, in order; one that is there is replaced.

    Raises:
        SpecError: There is no demonstration.
    """
    with tempfile.TemporaryDirectory() as folder:
        episodes = [
            _written(Path(folder), index, demonstration)
            for index, demonstration in enumerate(demonstrations)
        ]
        write_dataset(path, episodes, version="v2.1", replace=True)


def _written(folder: Path, index: int, demonstration: Demonstration) -> WrittenEpisode:
    with EpisodeWriter(folder / "run", _SCHEMA, VideoSettings()) as writer:
        for state, action in zip(demonstration.states, demonstration.actions, strict=True):
            writer.add(state, action, {})
        writer.close()
        return writer.keep(
            folder / f"{index:06d}",
            range(len(writer)),
            task=demonstration.task,
            details={"scene_seed": demonstration.scene_seed},
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
    demonstrations = []
    for index in range(options.episodes):
        cube = CUBE_NAMES[index % len(CUBE_NAMES)]
        demonstration = record_episode(arm, scene_seed=options.first_seed + index, cube=cube)
        frames = len(demonstration.actions)
        _logger.info("episode %d: %s, %d frames", index, demonstration.task, frames)
        demonstrations.append(demonstration)
    write_demonstrations(options.output, demonstrations)
    _logger.info("wrote %s", options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
