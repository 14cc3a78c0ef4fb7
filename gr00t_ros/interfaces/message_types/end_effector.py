# SPDX-License-Identifier: Apache-2.0
"""Poses of an end effector: measured by forward, commanded by inverse kinematics of the URDF."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.kinematics.chain import Chain
from gr00t_policy_core.kinematics.path_solver import PathSolver
from gr00t_policy_core.kinematics.solved_path import PathLimits, SolvedPath
from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.command_path import ChunkStart, CommandPath, PathQuality
from gr00t_ros.interfaces.end_effector_frames import (
    FRAME_PARAMETERS,
    PARAMETERS,
    EndEffectorFrames,
    with_tool,
)
from gr00t_ros.interfaces.interface import (
    CommandInterface,
    ConversionError,
    LimitedBy,
    StateInterface,
    Values,
)
from gr00t_ros.interfaces.joint_buffer import JointBuffer
from gr00t_ros.interfaces.joint_names import OPTIONAL_JOINTS
from gr00t_ros.interfaces.optional_types import optional_type
from gr00t_ros.interfaces.pose_representations import poses_as_quaternions, represented
from gr00t_ros.interfaces.registry import command_interface, find_command, state_interface
from gr00t_ros.interfaces.transform_buffer import TransformBuffer, require_tf2

# The message types that the joints of an end effector can be commanded in.
JOINT_COMMANDS = ("joint_trajectory", "joint_state", "float64_multi_array")
UNREACHABLE_MODES = ("refuse", "truncate")
TF = "tf"
SOURCE = Parameter(
    "source",
    "joint_states",
    "where the pose comes from: the measured joints and the robot description, or tf at the time "
    "of the observation",
    choices=("joint_states", TF),
)
TFMessage = optional_type("tf2_msgs", "msg", "TFMessage")
LEAST_STEPS = 2  # of a chunk that was cut short


@state_interface("end_effector")
class EndEffectorState(StateInterface):
    """The pose of a link or a tool: of the measured joints and the robot description, or from tf.

    From tf it is the pose at the time of the observation, interpolated by tf2, never extrapolated.
    """

    message_type = JointState
    parameters = (SOURCE, OPTIONAL_JOINTS, *FRAME_PARAMETERS)

    def __init__(self, settings: Settings) -> None:
        self.frames = EndEffectorFrames.of(settings)
        self._is_from_tf = settings["source"] == TF
        if self._is_from_tf == bool(self.frames.joints):
            wanted = "has no joints" if self._is_from_tf else "needs joints"
            raise ValueError(f"source {settings['source']} {wanted}")
        if self._is_from_tf:
            require_tf2()
            self.message_type = TFMessage
        self.needs_description = not self._is_from_tf
        self.joints = self.measured_joints = self.frames.joints
        self.dimension = self.frames.dimension
        self.measured_frames = self.frames.words
        self._convention = self.frames.convention
        self._chain: Chain | None = None
        self._order: list[int] = []

    def make_buffer(self, span_ns: int) -> JointBuffer | TransformBuffer:
        if self._is_from_tf:
            return TransformBuffer(self.frames.base, self.frames.tip)
        return JointBuffer(self.joints, "position", span_ns=span_ns)

    def read(self, message: Any) -> Values:
        """Return the pose for a sample: the joints in their order, or the pose of the tip.

        Raises:
            ConversionError: No robot description has arrived yet.
        """
        if self._is_from_tf:
            pose = with_tool(np.asarray(message, dtype=np.float64), self.frames.tool)
            return represented(self._convention.to_policy(pose), self.frames.representation)
        if self._chain is None:
            raise ConversionError("no robot description has arrived")
        pose = self._chain.pose(np.asarray(message, dtype=np.float64)[self._order])
        return represented(self._convention.to_policy(pose), self.frames.representation)

    def joint_positions(self, message: JointState) -> tuple[Sequence[str], Sequence[float]]:
        return message.name, message.position

    def sampled_positions(self, sample: Any) -> Mapping[str, float]:
        return dict(zip(self.joints, np.asarray(sample).tolist(), strict=True))

    def described(self, urdf: str) -> EndEffectorState:
        if self._is_from_tf:
            return self
        state = copy.copy(self)
        state._chain = chain = self.frames.chain(urdf)
        state._order = [self.joints.index(joint) for joint in chain.joints]
        return state


@command_interface("end_effector")
class EndEffectorCommand(CommandInterface):
    """A pose of a link or a tool, commanded as positions of the joints that move it.

    The policy node solves each chunk as soon as it is answered; the control node plays joints.
    """

    message_type = JointTrajectory
    parameters = (
        *PARAMETERS,
        Parameter(
            "command",
            JOINT_COMMANDS[0],
            "message type in which the joints are commanded",
            choices=JOINT_COMMANDS,
        ),
        Parameter(
            "on_unreachable",
            UNREACHABLE_MODES[0],
            "what to do with a chunk that has an unreachable step: refuse it, or truncate it "
            "before that step",
            choices=UNREACHABLE_MODES,
        ),
        Parameter(
            "position_tolerance",
            0.001,
            "m, a step that misses its position by more is unreachable",
            1e-5,
            1.0,
        ),
        Parameter(
            "orientation_tolerance",
            0.005,
            "rad, a step that misses its orientation by more is unreachable; an arm of five joints "
            "needs more",
            1e-4,
            4.0,
        ),
    )
    limited_by = LimitedBy.JOINT_LIMITS
    needs_description = True

    def __init__(self, settings: Settings) -> None:
        self.frames = EndEffectorFrames.of(settings)
        self.joints = self.frames.joints
        self.dimension = self.frames.dimension
        self.commanded_frames = self.frames.words
        self._convention = self.frames.convention
        self._truncates = settings["on_unreachable"] == "truncate"
        self._tolerances = settings["position_tolerance"], settings["orientation_tolerance"]
        cls = find_command(settings["command"])
        defaults = {parameter.name: parameter.default for parameter in cls.parameters}
        self._carrier = cls({**defaults, "joints": list(self.joints)})
        self.message_type = self._carrier.message_type
        self._solver: PathSolver | None = None
        self._order: list[int] = []

    @property
    def carrier(self) -> CommandInterface:
        return self._carrier

    @property
    def command_dimension(self) -> int:
        return len(self.joints)

    def described(self, urdf: str, limits: Sequence[JointLimits]) -> EndEffectorCommand:
        command = copy.copy(self)
        chain = self.frames.chain(urdf)
        command._order = [self.joints.index(joint) for joint in chain.joints]
        ordered = [limits[index] for index in command._order]
        command._solver = PathSolver(chain, _path_limits(chain, ordered, self._tolerances))
        return command

    def path(self, values: Values, start: ChunkStart) -> CommandPath:
        if self._solver is None:
            raise ConversionError("no robot description has arrived")
        missing = [joint for joint in self.joints if joint not in start.positions]
        if missing:
            raise ConversionError(f"the observation does not measure {', '.join(missing)}")
        poses = poses_as_quaternions(values, self.frames.representation)
        measured = np.array([start.positions[self.joints[index]] for index in self._order])
        begun_s = time.perf_counter()
        path = self._solver.solve(self._convention.from_policy(poses), measured, start.step_s)
        solve_s = time.perf_counter() - begun_s
        self._require_reached(path)
        joints = np.empty_like(path.joints)
        joints[:, self._order] = path.joints
        return CommandPath(joints, _quality(path, solve_s))

    def make_message(self, period_s: float) -> Any:
        return self._carrier.make_message(period_s)

    def fill(self, message: Any, values: Values, stamp: Any) -> None:
        self._carrier.fill(message, values, stamp)

    def read(self, message: Any) -> Values:
        return self._carrier.read(message)

    def _require_reached(self, path: SolvedPath) -> None:
        why = path.why_it_ends()
        if not why or (self._truncates and path.steps >= LEAST_STEPS):
            return
        raise ConversionError(why if not self._truncates else f"{why}; nothing is left to play")


def _path_limits(
    chain: Chain, limits: Sequence[JointLimits], tolerances: tuple[float, float]
) -> PathLimits:
    """The tighter of the limits in the contract and in the robot description, joint by joint."""
    described = chain.limits
    pairs = list(zip(limits, described, strict=True))
    lower = np.array([max(own.lower, urdf.lower) for own, urdf in pairs])
    upper = np.array([min(own.upper, urdf.upper) for own, urdf in pairs])
    for joint, low, high in zip(chain.joints, lower, upper, strict=True):
        if not low < high:
            raise ValueError(f"joint {joint}: lower limit {low} must be below upper limit {high}")
    return PathLimits(
        lower=lower,
        upper=upper,
        velocity=np.array([min(own.velocity, urdf.velocity) for own, urdf in pairs]),
        position_m=tolerances[0],
        orientation_rad=tolerances[1],
    )


def _quality(path: SolvedPath, solve_s: float) -> PathQuality:
    warnings = (path.why_it_ends(), path.near_singular())
    return PathQuality(
        position_error_m=float(path.position_errors_m.max(initial=0.0)),
        orientation_error_rad=float(path.orientation_errors_rad.max(initial=0.0)),
        manipulability=float(path.manipulability.min(initial=np.inf)),
        solve_s=solve_s,
        warning="; ".join(filter(None, warnings)),
    )
