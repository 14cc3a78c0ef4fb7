# SPDX-License-Identifier: Apache-2.0
"""The simulated arm without ROS: its scenes, joints, cubes, cameras and trajectory following."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

import gr00t_ros.sim  # chooses the OpenGL backend, so before mujoco
from gr00t_ros.sim.kinematics import HOME, JOINT_NAMES, HandPose, joint_targets
from gr00t_ros.sim.trajectory import TrajectoryFollower, TrajectoryPoint, TrajectoryRefusedError

mujoco = pytest.importorskip("mujoco")

from gr00t_ros.sim.rendering import CameraRenderer, RenderingUnavailableError  # noqa: E402
from gr00t_ros.sim.world import CAMERA_NAMES, CUBE_NAMES, SimulatedArm, sample_scene  # noqa: E402


@pytest.fixture
def arm() -> Iterator[SimulatedArm]:
    arm = SimulatedArm(seed=0)
    yield arm
    arm.close()


@pytest.fixture
def seeing_arm(arm: SimulatedArm) -> SimulatedArm:
    try:
        arm.render("front")
    except RenderingUnavailableError as error:
        pytest.skip(str(error))
    return arm


def cube_positions(arm: SimulatedArm) -> np.ndarray:
    return np.array([arm.cube_position(name) for name in CUBE_NAMES])


def test_a_scene_is_the_same_whenever_it_is_reset(arm: SimulatedArm) -> None:
    arm.reset(7)
    first, joints = cube_positions(arm), arm.positions
    arm.set_targets({"shoulder_pan": 1.0})
    arm.step(500)
    arm.reset(8)
    assert not np.allclose(cube_positions(arm), first)
    arm.reset(7)
    np.testing.assert_array_equal(cube_positions(arm), first)
    np.testing.assert_array_equal(arm.positions, joints)
    assert arm.time_s == 0.0


def test_the_physics_gives_the_same_result_twice() -> None:
    def play() -> np.ndarray:
        arm = SimulatedArm(seed=3)
        arm.set_targets({"shoulder_pan": 0.6, "elbow_flex": 0.4, "gripper": 0.02})
        arm.step(400)
        return arm.positions

    np.testing.assert_array_equal(play(), play())


def test_cubes_lie_apart_and_clear_of_the_bin(arm: SimulatedArm) -> None:
    for seed in range(200):
        cubes = [np.array([cube.x_m, cube.y_m]) for cube in sample_scene(seed).values()]
        assert all(np.linalg.norm(a - b) >= 0.065 for a, b in combinations(cubes, 2))
        assert all(np.linalg.norm(cube - arm.bin_position[:2]) > 0.1 for cube in cubes)


def test_cubes_stay_where_they_were_put_while_the_arm_waits(arm: SimulatedArm) -> None:
    before = cube_positions(arm)
    arm.step(1000)
    np.testing.assert_allclose(cube_positions(arm), before, atol=5e-4)
    np.testing.assert_allclose(arm.positions, arm.targets, atol=5e-3)


@pytest.mark.parametrize("name", JOINT_NAMES)
def test_each_joint_goes_to_its_own_target(arm: SimulatedArm, name: str) -> None:
    goal = arm.targets
    index = arm.joint_names.index(name)
    goal[index] += 0.01 if name == "gripper" else 0.3
    arm.set_targets({name: goal[index]})
    arm.step(1000)
    np.testing.assert_allclose(arm.positions[:6], goal[:6], atol=0.01)
    assert arm.positions[6] == pytest.approx(goal[6], abs=5e-4)
    np.testing.assert_allclose(arm.velocities, 0.0, atol=1e-2)


def test_step_to_stops_at_the_nearest_step(arm: SimulatedArm) -> None:
    arm.step_to(1 / 30)
    assert arm.time_s == pytest.approx(1 / 30, abs=arm.timestep_s / 2 + 1e-9)
    arm.step_to(0.01)
    assert arm.time_s == pytest.approx(1 / 30, abs=arm.timestep_s / 2 + 1e-9)


@pytest.mark.parametrize(
    ("targets", "complaint"),
    [
        ({"shoulder_pan": 0.5, "tail": 0.1}, "no joint 'tail'"),
        ({"shoulder_pan": 0.5, "gripper": math.nan}, "joint 'gripper' must be finite, got nan"),
    ],
)
def test_bad_targets_are_refused_whole(
    arm: SimulatedArm, targets: dict[str, float], complaint: str
) -> None:
    before = arm.targets
    with pytest.raises(ValueError, match=complaint):
        arm.set_targets(targets)
    np.testing.assert_array_equal(arm.targets, before)


@pytest.mark.parametrize(
    "pose",
    [
        HOME,
        HandPose(radius_m=0.2, azimuth_rad=0.7, height_m=0.0125, yaw_rad=0.4, gripper_m=0.02),
        HandPose(radius_m=0.15, azimuth_rad=-0.9, height_m=0.1, yaw_rad=-0.7, gripper_m=0.0),
    ],
)
def test_inverse_kinematics_brings_the_models_hand_to_the_pose(
    arm: SimulatedArm, pose: HandPose
) -> None:
    data = mujoco.MjData(arm.model)
    targets = joint_targets(arm.geometry, pose)
    for name, value in zip(arm.joint_names, targets, strict=True):
        data.joint(name).qpos[0] = value
    mujoco.mj_kinematics(arm.model, data)
    x, y = pose.radius_m * math.cos(pose.azimuth_rad), pose.radius_m * math.sin(pose.azimuth_rad)
    np.testing.assert_allclose(data.site("grasp").xpos, [x, y, pose.height_m], atol=1e-9)
    hand_z = data.body("hand").xmat.reshape(3, 3)[:, 2]
    np.testing.assert_allclose(hand_z, [0, 0, 1], atol=1e-9)


def test_a_pose_out_of_reach_is_refused(arm: SimulatedArm) -> None:
    far = HandPose(radius_m=0.5, azimuth_rad=0, height_m=0.1, yaw_rad=0, gripper_m=0)
    with pytest.raises(ValueError, match="out of reach"):
        joint_targets(arm.geometry, far)


@pytest.mark.parametrize("camera", CAMERA_NAMES)
def test_cameras_give_rgb_pictures_of_something(seeing_arm: SimulatedArm, camera: str) -> None:
    picture = seeing_arm.render(camera)
    assert picture.shape == (480, 640, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10


@pytest.mark.parametrize(("name", "channel"), [("red", 0), ("green", 1), ("blue", 2)])
def test_the_front_camera_sees_each_cube_in_its_colour(
    seeing_arm: SimulatedArm, name: str, channel: int
) -> None:
    picture = seeing_arm.render("front").astype(int)
    others = np.delete(picture, channel, axis=2).max(axis=2)
    strong = np.count_nonzero(picture[:, :, channel] > others + 60)
    assert strong > 100, f"only {strong} {name} pixels"


def test_the_front_camera_is_not_mirrored(seeing_arm: SimulatedArm) -> None:
    """What lies to the arm's left (y) is right in a picture taken from in front of it."""

    def red_column() -> float:
        picture = seeing_arm.render("front").astype(int)
        red = picture[:, :, 0] > picture[:, :, 1:].max(axis=2) + 60
        return float(np.nonzero(red)[1].mean())

    scenes = sorted(range(4), key=lambda seed: sample_scene(seed)["red"].y_m)
    seeing_arm.reset(scenes[0])
    leftmost = red_column()
    seeing_arm.reset(scenes[-1])
    assert red_column() > leftmost + 20


def test_pictures_have_the_size_asked_for_and_go_where_asked(seeing_arm: SimulatedArm) -> None:
    renderer = CameraRenderer(seeing_arm.model, width=800, height=600)
    out = np.zeros((600, 800, 3), np.uint8)
    assert renderer.render(seeing_arm.qpos, "wrist", out=out) is out
    assert out.std() > 10
    with pytest.raises(ValueError, match="shape"):
        renderer.render(seeing_arm.qpos, "wrist", out=out[:10])
    with pytest.raises(ValueError, match="nowhere"):
        renderer.render(seeing_arm.qpos, "nowhere")
    renderer.close()


def test_rendering_in_another_thread_is_refused(seeing_arm: SimulatedArm) -> None:
    errors: list[Exception] = []

    def render() -> None:
        try:
            seeing_arm.render("front")
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert "belongs to one thread" in str(errors[0])


def test_without_opengl_the_error_names_the_packages_and_the_physics_works() -> None:
    program = """
from gr00t_ros.sim.world import SimulatedArm
arm = SimulatedArm()
arm.step(10)
arm.render("front")
"""
    environment = {**os.environ, "MUJOCO_GL": "disable", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "RenderingUnavailableError" in done.stderr
    assert "libegl1 libgl1-mesa-dri" in done.stderr
    assert "libosmesa6" in done.stderr


def test_a_users_choice_of_opengl_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert gr00t_ros.sim.choose_gl_backend() == "glfw"


JOINTS = ("a", "b")
CURRENT = {"a": 0.0, "b": 1.0}


def follower(
    names: list[str], *points: tuple[float, list[float]], now_s: float = 10.0
) -> TrajectoryFollower:
    follower = TrajectoryFollower(JOINTS)
    follower.accept(
        names, [TrajectoryPoint(*point) for point in points], current=CURRENT, now_s=now_s
    )
    return follower


def test_a_single_point_at_zero_is_the_target_at_once() -> None:
    assert follower(["b", "a"], (0.0, [0.2, 0.1])).targets(10.0) == {"a": 0.1, "b": 0.2}


def test_points_are_interpolated_from_the_current_target_and_the_last_one_stays() -> None:
    moving = follower(["b"], (1.0, [3.0]), (2.0, [0.0]))
    assert [moving.targets(10.0 + t)["b"] for t in (0.0, 0.5, 1.0, 1.5, 2.0, 9.0)] == [
        pytest.approx(value) for value in (1.0, 2.0, 3.0, 1.5, 0.0, 0.0)
    ]


def test_a_trajectory_of_some_joints_leaves_the_others_on_theirs() -> None:
    moving = follower(["a", "b"], (1.0, [1.0, 2.0]))
    moving.accept(["b"], [TrajectoryPoint(0.0, [5.0])], current=CURRENT, now_s=10.5)
    assert moving.targets(10.5) == {"a": pytest.approx(0.5), "b": 5.0}


@pytest.mark.parametrize("lead_s", [0.0001, 0.005, 0.0099])
def test_a_stream_of_commands_is_followed_whenever_the_physics_takes_it_up(lead_s: float) -> None:
    period_s, speed = 0.01, 2.0
    moving = TrajectoryFollower(JOINTS)
    taken = dict(CURRENT)  # what the physics took up last
    for tick in range(1, 201):
        now_s = tick * period_s
        # As the control node streams: be there when the next command comes.
        moving.accept(
            ["a"], [TrajectoryPoint(period_s, [speed * now_s])], current=taken, now_s=now_s
        )
        taken.update(moving.targets(now_s + lead_s))
        behind_s = period_s - lead_s  # the way of the command that is being followed
        assert taken["a"] == pytest.approx(speed * (now_s - behind_s))


@pytest.mark.parametrize(
    ("names", "points", "complaint"),
    [
        (["a", "c"], [(0.0, [0.1, 0.2])], "unknown joint 'c', the arm has a, b"),
        (["a", "a"], [(0.0, [0.1, 0.2])], "'a' is named twice"),
        (["a"], [(0.0, [0.1, 0.2])], "point 0 has 2 positions for 1 joints"),
        (["a"], [], "1 joints and 0 points"),
        ([], [(0.0, [])], "0 joints and 1 points"),
        (["a"], [(0.0, [0.1]), (1.0, [math.inf])], "point 1 has inf for joint 'a'"),
        (["a"], [(1.0, [0.1]), (1.0, [0.2])], "point 1 is at 1.0 s"),
        (["a"], [(-1.0, [0.1])], "point 0 is at -1.0 s"),
    ],
)
def test_a_bad_trajectory_is_refused_whole(
    names: list[str], points: list[tuple[float, list[float]]], complaint: str
) -> None:
    moving = follower(["a", "b"], (0.0, [7.0, 8.0]))
    with pytest.raises(TrajectoryRefusedError, match=complaint):
        moving.accept(
            names, [TrajectoryPoint(*point) for point in points], current=CURRENT, now_s=11.0
        )
    assert moving.targets(11.0) == {"a": 7.0, "b": 8.0}
