# SPDX-License-Identifier: Apache-2.0
"""The expert with feedback: it does the task from what it sees, and its chunks agree."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gr00t_ros.sim  # noqa: F401  # chooses the OpenGL backend, so before mujoco

pytest.importorskip("mujoco")
pytest.importorskip("cv2")

from gr00t_policy_core import SpecError
from gr00t_ros.sim.cube_finder import PinholeCamera, find_cube
from gr00t_ros.sim.feedback import (
    LANGUAGE_KEY,
    STEP_S,
    FeedbackExpert,
    colour_in,
)
from gr00t_ros.sim.kinematics import HandPose, hand_pose, joint_targets
from gr00t_ros.sim.rendering import RenderingUnavailableError
from gr00t_ros.sim.world import CUBE_NAMES, SimulatedArm

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "core"))
from gr00t_policy_core.testing import check_policy

CHUNK_STEPS = 8
TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def arm() -> Iterator[SimulatedArm]:
    arm = SimulatedArm()
    try:
        arm.render("front")
    except RenderingUnavailableError as error:
        pytest.skip(str(error))
    yield arm
    arm.close()


@pytest.fixture(scope="module")
def expert(arm: SimulatedArm) -> FeedbackExpert:
    return FeedbackExpert(arm)


def observation(arm: SimulatedArm, history: list[np.ndarray], cube: str) -> dict[str, Any]:
    states = np.array(history, dtype=np.float32)[None]
    front = arm.render("front")[None, None]
    return {
        "video": {"front": front, "wrist": np.zeros_like(front)},
        "state": {"single_arm": states[..., :6], "gripper": states[..., 6:]},
        "language": {LANGUAGE_KEY: [[f"pick up the {cube} cube and put it into the bin"]]},
    }


def joined(action: dict[str, np.ndarray]) -> np.ndarray:
    """(HORIZON, 7)."""
    return np.concatenate([action["single_arm"], action["gripper"]], axis=-1)[0]


class Run:
    """Chunks executed for `CHUNK_STEPS` each, without latency."""

    def __init__(self, arm: SimulatedArm, expert: FeedbackExpert, seed: int, cube: str) -> None:
        arm.reset(seed)
        self.arm, self.expert, self.cube = arm, expert, cube
        self.history = [arm.positions] * 3
        self.jumps: list[np.ndarray] = []
        self.seen: list[str] = []
        self._next: np.ndarray | None = None

    def observe(self) -> dict[str, Any]:
        return observation(self.arm, self.history, self.cube)

    def step(self) -> None:
        action, info = self.expert.get_action(self.observe())
        chunk = joined(action)
        if self._next is not None:
            self.jumps.append(np.abs(chunk[0] - self._next)[:6])
        self.seen += info["cube"]
        start_s = self.arm.time_s
        for step in range(CHUNK_STEPS):
            while self.arm.time_s < start_s + (step + 1) * STEP_S - 1e-6:
                share = (self.arm.time_s - start_s) / STEP_S - step
                self.arm.set_target_vector(chunk[step] + share * (chunk[step + 1] - chunk[step]))
                self.arm.step()
            self.history = [*self.history[1:], self.arm.positions]
        self._next = chunk[CHUNK_STEPS]

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            assert self.arm.time_s < TIMEOUT_S, self.seen
            self.step()

    def at_rest(self) -> bool:
        return self.arm.cube_in_bin(self.cube) and self.arm.positions[6] < 0.001


@pytest.mark.parametrize("seed", range(200, 206))
def test_the_cube_gets_into_the_bin_and_the_arm_home(
    arm: SimulatedArm, expert: FeedbackExpert, seed: int
) -> None:
    run = Run(arm, expert, seed, CUBE_NAMES[seed % 3])
    run.until(run.at_rest)
    assert list(dict.fromkeys(run.seen)) == ["table", "held", "bin"]
    assert hand_pose(arm.geometry, arm.positions).height_m > 0.11


def test_each_cube_gets_a_place_of_its_own_in_the_bin(
    arm: SimulatedArm, expert: FeedbackExpert
) -> None:
    run = Run(arm, expert, 200, "red")
    for cube in CUBE_NAMES:
        run.cube = cube
        run.until(run.at_rest)
    assert [cube for cube in CUBE_NAMES if arm.cube_in_bin(cube)] == list(CUBE_NAMES)


def test_a_cube_that_is_put_down_over_the_bin_leaves_the_places_of_the_others_free(
    arm: SimulatedArm, expert: FeedbackExpert
) -> None:
    run = Run(arm, expert, 200, "red")
    run.until(lambda: arm.cube_position("red")[2] > 0.06)
    run.until(lambda: np.linalg.norm((arm.grasp_point() - arm.bin_position)[:2]) < 0.06)
    for cube in ("green", "blue"):
        run.cube = cube
        run.until(run.at_rest)
    assert [cube for cube in CUBE_NAMES if arm.cube_in_bin(cube)] == list(CUBE_NAMES)


def test_successive_chunks_agree(arm: SimulatedArm, expert: FeedbackExpert) -> None:
    run = Run(arm, expert, 200, "red")
    run.until(run.at_rest)
    jumps = np.array(run.jumps)
    assert np.median(jumps.max(axis=1)) < 0.003
    assert jumps.max() < 0.02


def test_a_cube_that_is_moved_on_the_way_is_still_fetched(
    arm: SimulatedArm, expert: FeedbackExpert
) -> None:
    run = Run(arm, expert, 203, "red")
    run.until(lambda: arm.time_s > 1.0)
    start = int(arm.model.joint(arm.model.body("red_cube").jntadr[0]).qposadr[0])
    arm._data.qpos[start : start + 2] = (0.15, -0.02)
    run.until(run.at_rest)


@pytest.mark.parametrize("carried_s", [0.3, 1.0], ids=["just lifted", "on the way"])
def test_another_instruction_has_the_cube_in_the_jaws_put_down_and_the_other_one_fetched(
    arm: SimulatedArm, expert: FeedbackExpert, carried_s: float
) -> None:
    run = Run(arm, expert, 203, "red")
    run.until(lambda: arm.cube_position("red")[2] > 0.06)
    lifted_s = arm.time_s
    run.until(lambda: arm.time_s > lifted_s + carried_s)
    run.cube, run.seen = "green", []

    run.until(lambda: arm.positions[6] > 0.0145)  # the jaws let go

    is_down = arm.cube_position("red")[2] < 0.02
    assert is_down or abs(arm.cube_position("red")[1] - arm.bin_position[1]) < 0.09
    run.until(run.at_rest)
    assert list(dict.fromkeys(run.seen)) == ["other", "table", "held", "bin"]


def test_the_same_observation_gives_the_same_chunk_and_rows_of_a_batch_do_not_mix(
    arm: SimulatedArm, expert: FeedbackExpert
) -> None:
    run = Run(arm, expert, 200, "green")
    first = run.observe()
    run.until(lambda: arm.time_s > 2.0)
    second = run.observe()
    both = {
        modality: {
            key: value + second[modality][key]
            if modality == "language"
            else np.concatenate([value, second[modality][key]])
            for key, value in first[modality].items()
        }
        for modality in first
    }
    answers = [expert.get_action(o)[0] for o in (first, second, first)]
    batch, _ = expert.get_action(both)
    for key in batch:
        np.testing.assert_array_equal(answers[0][key], answers[2][key])
        np.testing.assert_array_equal(batch[key][0], answers[0][key][0])
        np.testing.assert_array_equal(batch[key][1], answers[1][key][0])


def test_the_expert_conforms_to_the_interface(arm: SimulatedArm, expert: FeedbackExpert) -> None:
    arm.reset(1)

    def batch(size: int) -> dict[str, Any]:
        one = observation(arm, [arm.positions] * 3, "blue")
        return {
            modality: {
                key: [list(value[0]) for _ in range(size)]
                if modality == "language"
                else np.repeat(value, size, axis=0)
                for key, value in entries.items()
            }
            for modality, entries in one.items()
        }

    check_policy(expert, batch)


def test_with_a_prefix_the_chunk_keeps_what_is_frozen_and_goes_on_from_there(
    arm: SimulatedArm, expert: FeedbackExpert
) -> None:
    run = Run(arm, expert, 200, "red")
    run.until(lambda: arm.time_s > 0.5)
    played, _ = expert.get_action(run.observe())
    run.step()
    rest = {key: values[:, CHUNK_STEPS:] + np.float32(0.01) for key, values in played.items()}
    rtc = {"prefix": rest, "frozen_steps": 6, "ramp_rate": 5.0}
    action, _ = expert.get_action(run.observe(), {"rtc": rtc})
    for key, values in action.items():
        np.testing.assert_allclose(values[:, :6], rest[key][:, :6], atol=1e-6)
    steps = np.abs(np.diff(joined(action)[:, :6], axis=0))
    bends = np.abs(np.diff(joined(action)[:, :6], n=2, axis=0))
    assert steps.max() < 0.06
    assert bends.max() < 0.012
    free, _ = expert.get_action(run.observe())
    assert np.abs(joined(free)[0] - joined(action)[0]).max() > 0.005


@pytest.mark.parametrize(
    ("rtc", "message"),
    [
        ({"prefix": {}}, "expected a dict"),
        ({"prefix": {}, "frozen_steps": 1, "ramp_rate": 0.0}, "prefix.single_arm"),
        ({"frozen_steps": 9}, "frozen_steps"),
        ({"ramp_rate": -1.0}, "ramp_rate"),
    ],
)
def test_a_wrong_prefix_is_refused_by_name(
    arm: SimulatedArm, expert: FeedbackExpert, rtc: dict[str, Any], message: str
) -> None:
    arm.reset(0)
    prefix = {
        "single_arm": np.zeros((1, 4, 6), np.float32),
        "gripper": np.zeros((1, 4, 1), np.float32),
    }
    good = {"prefix": prefix, "frozen_steps": 2, "ramp_rate": 0.0}
    wrong = rtc if "prefix" in rtc else {**good, **rtc}
    with pytest.raises(SpecError, match=message):
        expert.get_action(observation(arm, [arm.positions] * 3, "red"), {"rtc": wrong})


@pytest.mark.parametrize("instruction", ["pick up the cube", "red or blue?", "reddish"])
def test_an_instruction_must_name_one_cube(instruction: str) -> None:
    with pytest.raises(SpecError, match="one cube of red, green, blue"):
        colour_in(instruction)


def test_cubes_are_found_where_they_lie(arm: SimulatedArm) -> None:
    camera = PinholeCamera.of(arm.model, "front")
    for seed in range(10):
        arm.reset(seed)
        picture = arm.render("front")
        for name in CUBE_NAMES:
            seen = find_cube(picture, name, camera)
            assert seen is not None
            found = (seen.place.x_m, seen.place.y_m)
            np.testing.assert_allclose(found, arm.cube_position(name)[:2], atol=1.5e-3)
            turn = seen.place.yaw_rad - arm.cube_yaw_rad(name)
            assert abs(turn - np.pi / 2 * round(turn / (np.pi / 2))) < 0.12


def test_no_cube_is_found_where_none_is(arm: SimulatedArm) -> None:
    camera = PinholeCamera.of(arm.model, "front")
    assert find_cube(np.zeros((480, 640, 3), np.uint8), "red", camera) is None


def test_points_on_a_plane_are_seen_where_they_are_found(arm: SimulatedArm) -> None:
    camera = PinholeCamera.of(arm.model, "front")
    point = np.array([0.17, 0.05, 0.02])
    pixel = camera.project(point, (480, 640))
    np.testing.assert_allclose(camera.on_plane(pixel, 0.02, (480, 640)), point, atol=1e-9)


def test_hand_pose_inverts_joint_targets(arm: SimulatedArm) -> None:
    for pose in (HandPose(0.14, 0.3, 0.1, -0.4, 0.02), HandPose(0.22, -0.9, 0.0125, 0.7, 0.0)):
        found = hand_pose(arm.geometry, joint_targets(arm.geometry, pose))
        np.testing.assert_allclose(_values(found), _values(pose), atol=1e-9)


def _values(pose: HandPose) -> list[float]:
    return [pose.radius_m, pose.azimuth_rad, pose.height_m, pose.yaw_rad, pose.gripper_m]
