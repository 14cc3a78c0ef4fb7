# SPDX-License-Identifier: Apache-2.0
"""The simulated arm and its table, without ROS."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from gr00t_ros.sim.kinematics import HOME, JOINT_NAMES, ArmGeometry, joint_targets
from gr00t_ros.sim.rendering import CameraRenderer

MODEL_PATH = Path(__file__).with_name("arm.xml")
CUBE_NAMES = ("red", "green", "blue")
CAMERA_NAMES = ("front", "wrist")

CUBE_HALF_SIZE_M = 0.0125
_BIN_HALF_SIZE_M = 0.046
_BIN_RIM_HEIGHT_M = 0.022

# Where cubes may lie: in reach with the hand vertical, and clear of the bin.
_CUBE_RADIUS_M = (0.145, 0.225)
_CUBE_AZIMUTH_RAD = (-0.20, 1.00)
# Room for an open jaw between two cubes: half a cube's diagonal, jaw opening and jaw thickness.
_CUBE_SPACING_M = 0.065
_MAX_DRAWS = 10_000

# Where a cube may be laid by hand: on the table, and not into another cube or the jaws.
_TABLE_RADIUS_M = 0.30
_BASE_RADIUS_M = 0.08
_CLEARANCE_M = 0.04


@dataclass(frozen=True, slots=True)
class CubePlacement:
    """Where a cube lies on the table: its centre in m, its turn about the vertical in rad."""

    x_m: float
    y_m: float
    yaw_rad: float


def sample_scene(seed: int) -> dict[str, CubePlacement]:
    """The cubes' places of scene ``seed``: in reach, clear of each other, the same on any machine.

    Args:
        seed: Any integer; the same one gives the same scene.

    Returns:
        A placement for each of ``CUBE_NAMES``; yaw between -pi/4 and pi/4, since a cube looks the
        same after a quarter turn.

    Raises:
        RuntimeError: No place was found for a cube.
    """
    # random.Random promises the same sequence in every Python version, numpy's generators do not.
    draw = random.Random(seed)
    scene: dict[str, CubePlacement] = {}
    for _ in range(_MAX_DRAWS):
        radius, azimuth = draw.uniform(*_CUBE_RADIUS_M), draw.uniform(*_CUBE_AZIMUTH_RAD)
        cube = CubePlacement(
            x_m=radius * math.cos(azimuth),
            y_m=radius * math.sin(azimuth),
            yaw_rad=draw.uniform(-math.pi / 4, math.pi / 4),
        )
        if all(_distance_m(cube, other) >= _CUBE_SPACING_M for other in scene.values()):
            scene[CUBE_NAMES[len(scene)]] = cube
        if len(scene) == len(CUBE_NAMES):
            return scene
    raise RuntimeError(f"no room for {len(CUBE_NAMES)} cubes after {_MAX_DRAWS} draws, seed {seed}")


def is_in_bin(
    position: Sequence[float], bin_position: Sequence[float], below_m: float = _BIN_RIM_HEIGHT_M
) -> bool:
    """Whether a cube whose centre is there lies inside the bin.

    Args:
        position: Centre of the cube, x y z in m.
        bin_position: Centre of the bin, x y z in m.
        below_m: Height of the centre above the table that is still inside, m.
    """
    x, y, z = (abs(a - b) for a, b in zip(position, bin_position, strict=True))
    return bool(max(x, y) < _BIN_HALF_SIZE_M and z < below_m)


def _distance_m(a: CubePlacement, b: CubePlacement) -> float:
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)


class SimulatedArm:
    """The arm, its table, three cubes and a bin, stepped by hand.

    Joint vectors are float64 (7,) in the order of ``joint_names``: six angles in rad, then the
    gripper in m (distance of each jaw from the middle, 0 closed, 0.025 open). Positions are in the
    base frame: x forward, y left, z up, origin on the table top.

    Not thread-safe: one thread at a time.

    Args:
        seed: Scene to start with, see ``reset``.
    """

    def __init__(self, seed: int = 0) -> None:
        self.model = mujoco.MjModel.from_xml_path(str(MODEL_PATH))
        self._data = mujoco.MjData(self.model)
        self._renderer: CameraRenderer | None = None
        joints = [self.model.joint(name) for name in JOINT_NAMES]
        self._qpos_index = np.array([int(joint.qposadr[0]) for joint in joints])
        self._qvel_index = np.array([int(joint.dofadr[0]) for joint in joints])
        self._actuator = {name: int(self.model.actuator(name).id) for name in JOINT_NAMES}
        self._cube = {name: int(self.model.body(f"{name}_cube").id) for name in CUBE_NAMES}
        self.geometry = _read_geometry(self.model)
        self.reset(seed)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the seven joints, gripper last."""
        return JOINT_NAMES

    @property
    def timestep_s(self) -> float:
        """Length of one physics step in s."""
        return float(self.model.opt.timestep)

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset in s."""
        return float(self._data.time)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Measured joint positions, float64 (7,): rad, the gripper in m."""
        return self._data.qpos[self._qpos_index]

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Measured joint velocities, float64 (7,): rad/s, the gripper in m/s."""
        return self._data.qvel[self._qvel_index]

    @property
    def targets(self) -> NDArray[np.float64]:
        """Commanded joint positions, float64 (7,): rad, the gripper in m."""
        return self._data.ctrl[[self._actuator[name] for name in JOINT_NAMES]]

    @property
    def qpos(self) -> NDArray[np.float64]:
        """A copy of MuJoCo's generalised positions, what ``CameraRenderer.render`` takes."""
        return self._data.qpos.copy()

    @property
    def bin_position(self) -> NDArray[np.float64]:
        """Centre of the bin on the table, float64 (3,) in m."""
        return self.model.body("bin").pos.copy()

    def reset(self, seed: int) -> None:
        """Put the arm home, at rest, and the cubes where scene ``seed`` has them, at time 0."""
        mujoco.mj_resetData(self.model, self._data)
        home = joint_targets(self.geometry, HOME)
        self._data.qpos[self._qpos_index] = home
        self._data.qpos[int(self.model.joint("gripper_mirror").qposadr[0])] = HOME.gripper_m
        self.set_targets(dict(zip(JOINT_NAMES, home, strict=True)))
        for name, place in sample_scene(seed).items():
            self._lay_down(name, place)
        mujoco.mj_forward(self.model, self._data)

    def place_cube(self, name: str, place: CubePlacement) -> None:
        """Take a cube from where it is, and lay it down at rest somewhere else on the table.

        Raises:
            ValueError: There is no such cube, or no room for it there; then nothing is changed.
        """
        if name not in self._cube:
            raise ValueError(f"no cube {name!r}, there are {', '.join(CUBE_NAMES)}")
        x_m, y_m = place.x_m, place.y_m
        if not math.hypot(x_m, y_m) < _TABLE_RADIUS_M:  # NaN, too
            raise ValueError(
                f"the {name} cube must lie within {_TABLE_RADIUS_M:g} m of the base, got "
                f"x {x_m:g}, y {y_m:g}"
            )
        if math.hypot(x_m, y_m) < _BASE_RADIUS_M:
            raise ValueError(f"x {x_m:g}, y {y_m:g} is inside the base of the arm")
        others = {f"the {other} cube": self.cube_position(other) for other in CUBE_NAMES}
        del others[f"the {name} cube"]
        for thing, (x, y, z) in {**others, "the hand": self.grasp_point()}.items():
            if z < _CLEARANCE_M and math.hypot(x_m - x, y_m - y) < _CLEARANCE_M:
                raise ValueError(f"there is no room for the {name} cube: {thing} is there")
        self._lay_down(name, place)
        velocity = int(self.model.jnt_dofadr[self.model.body_jntadr[self._cube[name]]])
        self._data.qvel[velocity : velocity + 6] = 0.0
        mujoco.mj_forward(self.model, self._data)

    def _lay_down(self, name: str, place: CubePlacement) -> None:
        start = int(self.model.jnt_qposadr[self.model.body_jntadr[self._cube[name]]])
        half_yaw = place.yaw_rad / 2
        self._data.qpos[start : start + 7] = (
            *(place.x_m, place.y_m, CUBE_HALF_SIZE_M),
            *(math.cos(half_yaw), 0.0, 0.0, math.sin(half_yaw)),
        )

    def set_targets(self, targets: Mapping[str, float]) -> None:
        """Command some joints; the others keep their targets. Beyond a joint's range means its end.

        Args:
            targets: Joint name to position in rad, the gripper in m.

        Raises:
            ValueError: If a joint is unknown or a value not finite; then nothing is changed.
        """
        for name, value in targets.items():
            if name not in self._actuator:
                raise ValueError(f"no joint {name!r}, the arm has {', '.join(JOINT_NAMES)}")
            if not math.isfinite(value):
                raise ValueError(f"the target of joint {name!r} must be finite, got {value}")
        for name, value in targets.items():
            self._data.ctrl[self._actuator[name]] = value

    def set_target_vector(self, targets: Sequence[float] | NDArray[np.floating]) -> None:
        """Command all seven joints, in the order of ``joint_names``; else like ``set_targets``."""
        self.set_targets(dict(zip(JOINT_NAMES, targets, strict=True)))

    def step(self, count: int = 1) -> None:
        """Advance the physics by ``count`` steps of ``timestep_s``."""
        mujoco.mj_step(self.model, self._data, nstep=count)

    def step_to(self, time_s: float) -> None:
        """Advance to the step nearest to ``time_s``; nothing happens where that is past."""
        count = round((time_s - self.time_s) / self.timestep_s)
        if count > 0:
            self.step(count)

    def cube_position(self, name: str) -> NDArray[np.float64]:
        """Centre of a cube, float64 (3,) in m.

        Raises:
            KeyError: If ``name`` is none of ``CUBE_NAMES``.
        """
        return self._data.xpos[self._cube[name]].copy()

    def cube_quaternion(self, name: str) -> NDArray[np.float64]:
        """Orientation of a cube, float64 (4,) in ROS's order x, y, z, w."""
        return np.roll(self._data.xquat[self._cube[name]], -1)

    def cube_yaw_rad(self, name: str) -> float:
        """Turn of a cube that lies on the table about the vertical, in rad."""
        x, y, z, w = self.cube_quaternion(name)
        return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))

    def cube_in_bin(self, name: str) -> bool:
        """Whether a cube's centre is inside the bin and below its rim."""
        return is_in_bin(self.cube_position(name).tolist(), self.bin_position.tolist())

    def grasp_point(self) -> NDArray[np.float64]:
        """Where the middle between the jaws is, float64 (3,) in m."""
        return self._data.site("grasp").xpos.copy()

    def render(self, camera: str) -> NDArray[np.uint8]:
        """Render an image of a camera; always call it from the thread that rendered first.

        Returns:
            uint8 (480, 640, 3), RGB.

        Raises:
            ValueError: If ``camera`` is none of ``CAMERA_NAMES``.
            RenderingUnavailableError: If this machine has no OpenGL to render with.
        """
        if self._renderer is None:
            self._renderer = CameraRenderer(self.model)
        return self._renderer.render(self._data.qpos, camera)

    def close(self) -> None:
        """Free the renderer, in the thread that rendered."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _read_geometry(model: mujoco.MjModel) -> ArmGeometry:
    """The lengths from the model itself, so that arm.xml is the only place that has them."""
    height = {name: float(model.body(name).pos[2]) for name in ("shoulder", "upper_arm", "forearm")}
    hand = sum(float(model.body(name).pos[2]) for name in ("wrist_fork", "hand"))
    return ArmGeometry(
        shoulder_height_m=height["shoulder"] + height["upper_arm"],
        upper_arm_m=height["forearm"],
        forearm_m=float(model.body("wrist").pos[0]),
        hand_m=-(hand + float(model.site("grasp").pos[2])),
    )
