# SPDX-License-Identifier: Apache-2.0
"""The base classes of message types: one for states, one for commands. Pure.

`docs/how-to/add-a-message-type.md` shows how to write one.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.control.action_layout import POSE_DIMENSION
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.samples import SampleBuffer
from gr00t_policy_core.control.workspace import Side
from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.command_path import ChunkStart, CommandPath

if TYPE_CHECKING:
    from gr00t_ros.interfaces.binary_gripper import BinaryGripper
    from gr00t_ros.interfaces.joint_buffer import Buffer

Values = NDArray[np.float64]


class ConversionError(ValueError):
    """A message or an action cannot be converted; the text says which one and why."""


class LimitedBy(enum.Enum):
    """What keeps a command within bounds."""

    JOINT_LIMITS = "joint limits"
    """Position, velocity, acceleration and jerk of each of `CommandInterface.joints`."""
    BODY_LIMITS = "body limits"
    """Linear and angular velocity and acceleration of a pose or a twist."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class MeasuredPose:
    """A pose: float64 (7,), x y z in m and a quaternion x y z w, in `frame_id`."""

    values: Values
    frame_id: str


class StateInterface(ABC):
    """One message type that states are read from. An instance serves one stream of the contract.

    Attributes:
        message_type: The class of the ROS messages.
        parameters: The YAML parameters of this type, beside those that every state has. Their
            values are checked (type, range, choices) before an instance is made.
        dimension: D, the number of values that `read` returns; None if only a message shows it.
        measured_joints: The joints whose positions it measures, in rad (or m).
        measures_pose: Whether it measures a pose.
        needs_description: Whether it can be read only with a robot description (`described`).
        measured_frames: Which pose it measures, in words; None where the message says that.

    Args:
        settings: The value of each of `parameters` by name.

    Raises:
        ValueError: The parameters contradict each other; the text goes after "state.<key>: ".
    """

    message_type: ClassVar[type[Any]]
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    dimension: int | None = None
    measured_joints: tuple[str, ...] = ()
    measures_pose: bool = False
    needs_description: bool = False
    measured_frames: str | None = None

    def __init__(self, settings: Settings) -> None:
        del settings  # a type without parameters has none to read

    @abstractmethod
    def read(self, message: Any) -> Values:
        """Return the values of a message, float64 (D,), in SI units and rad.

        Args:
            message: A `message_type`, or a sample that the buffer of `make_buffer` has merged.

        Raises:
            ConversionError: The message lacks these values.
        """

    def make_buffer(self, span_ns: int) -> Buffer:
        """Make the buffer for the messages of one stream; by default it keeps them unchanged.

        Args:
            span_ns: How far back its samples reach, ns.
        """
        return SampleBuffer(span_ns=span_ns)

    def joint_positions(self, message: Any) -> tuple[Sequence[str], Sequence[float]]:
        """Return names and positions (rad or m) of the joints in a message that measures some."""
        return self.measured_joints, self.read(message).tolist()

    def sampled_positions(self, sample: Any) -> Mapping[str, float]:
        """Return the positions, rad (or m), of `measured_joints` in a sample of the buffer."""
        return dict(zip(self.measured_joints, self.read(sample).tolist(), strict=True))

    def described(self, urdf: str) -> StateInterface:
        """Return the interface of the same stream for the robot of a description.

        Raises:
            ValueError: The description does not fit; the text goes after "state.<key>: ".
        """
        return self

    def pose(self, message: Any) -> MeasuredPose:
        """Return the pose in a message; called if `measures_pose` is set."""
        raise NotImplementedError(f"{type(self).__name__} measures a pose and has no method pose")


class CommandInterface(ABC):
    """One message type that commands go out in. An instance serves one action of the contract.

    Attributes:
        message_type: The class of the ROS messages.
        parameters: The YAML parameters of this type, beside those that every action has. Their
            values are checked (type, range, choices) before an instance is made.
        dimension: D, the number of values in one step of the policy's action; None if only the
            policy's answer shows it.
        joints: The joints that the values belong to, in their order; empty where it has none.
        limited_by: What keeps the commands within bounds.
        frame_id: The frame of a pose or a twist; a measured pose must be in the same frame.
        commands_pose: The SI values are x y z (m) and a quaternion x y z w; a state of the same
            key measures the pose.
        sends_trajectories: Each path goes out as one message of all its points, made of what
            `trajectory_in` returns; `fill` is not called.
        holds_zero: The values are velocities or steps: to hold is to command zero. Where it is
            false they are positions: to hold is to repeat the last one, and a state has to measure
            them.
        needs_description: Whether it makes commands only with a robot description (`described`).
        commanded_frames: Which pose it commands, in words; None where the message says that. A
            state of the same key measures the same.
        sides: Box and floor in `frame_id` that the commanded pose never leaves.
        binary: Turns targets into open and closed; None where every target is commanded as it is.

    Args:
        settings: The value of each of `parameters` by name.

    Raises:
        ValueError: The parameters contradict each other; the text goes after "action.<key>: ".
    """

    message_type: ClassVar[type[Any]]
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    dimension: int | None = None
    joints: tuple[str, ...] = ()
    frame_id: str = ""
    limited_by: LimitedBy = LimitedBy.NOTHING
    commands_pose: bool = False
    sends_trajectories: bool = False
    holds_zero: bool = False
    needs_description: bool = False
    commanded_frames: str | None = None
    sides: tuple[Side, ...] = ()
    binary: BinaryGripper | None = None

    def __init__(self, settings: Settings) -> None:
        del settings  # a type without parameters has none to read

    @property
    def is_action(self) -> bool:
        """Whether commands are the goals of an action of ROS, not the messages of a topic."""
        return hasattr(self.message_type, "Goal")

    @property
    def command_dimension(self) -> int | None:
        """The number of SI values in one command; None if only the policy's answer shows it."""
        return POSE_DIMENSION if self.commands_pose else self.dimension

    @property
    def carrier(self) -> CommandInterface:
        """The interface that writes the commands into messages, by default this one."""
        return self

    def si_values(self, values: Values) -> Values:
        """Convert a chunk to the layout of the commands, in which action chunks are published.

        Args:
            values: float64 (horizon, D), in SI units and rad.

        Returns:
            float64 (horizon, `command_dimension`).

        Raises:
            ConversionError: The values are not valid, such as a rotation of length zero.
        """
        return values

    def policy_values(self, values: Values) -> Values:
        """Convert one command to the policy's layout: the opposite of `si_values`.

        Args:
            values: float64 (`command_dimension`,), in SI units and rad, as `read` returns them.

        Returns:
            float64 (D,), in SI units and rad.

        Raises:
            ConversionError: The values are not valid, such as a rotation of length zero.
        """
        return values

    def path(self, values: Values, start: ChunkStart) -> CommandPath:
        """Return the commands of a chunk, given where it begins; by default `si_values`.

        Args:
            values: float64 (horizon, D), in SI units and rad.
            start: The measured joints, and the step of the chunk.

        Raises:
            ConversionError: The values are not valid, or cannot be commanded.
        """
        return CommandPath(self.si_values(values))

    def described(self, urdf: str, limits: Sequence[JointLimits]) -> CommandInterface:
        """Return the interface of the same action for the robot of a description.

        Args:
            urdf: The URDF document.
            limits: The limits of `joints` in the contract.

        Raises:
            ValueError: The description does not fit; the text goes after "action.<key>: ".
        """
        return self

    @abstractmethod
    def make_message(self, period_s: float) -> Any:
        """Make the message that `fill` writes every command of this stream into.

        Args:
            period_s: Time between two commands, s.
        """

    @abstractmethod
    def fill(self, message: Any, values: Values, stamp: Any) -> None:
        """Write one command into the message, at the control rate.

        Args:
            message: From `make_message`; it still holds the previous command, if there was one.
            values: float64 (`command_dimension`,), in SI units and rad.
            stamp: The time of the command, a builtin_interfaces/Time.
        """

    def trajectory_in(self, message: Any) -> Any:
        """Return the trajectory_msgs/JointTrajectory in a message that sends whole trajectories."""
        raise NotImplementedError(f"{type(self).__name__} sends no trajectories")

    def outcome(self, result: Any) -> str:
        """Say how the goal of an action ended, such as "reached 0.04" or "stalled at 0.02".

        Args:
            result: A `message_type.Result`, where `message_type` is the class of an action.
        """
        raise NotImplementedError(f"{type(self).__name__} sends no goals")

    def has_failed(self, result: Any) -> bool:
        """Whether a goal that was aborted or canceled has failed, and was not just replaced.

        Args:
            result: As for `outcome`.
        """
        return False

    def read(self, message: Any) -> Values:
        """Return the values of a command that somebody else published, as `fill` writes them.

        Teleoperation devices and recorded demonstrations are read with it.

        Args:
            message: A `message_type`.

        Returns:
            float64 (`command_dimension`,), in SI units and rad.

        Raises:
            ConversionError: The message lacks these values, or this type is only written.
        """
        raise ConversionError(f"{type(self).__name__} has no method read: it is only written")

    def joined(self, others: Sequence[CommandInterface]) -> CommandInterface | None:
        """Return the interface of one message for this command and others that share its topic.

        Args:
            others: Commands of the same class as this one.

        Returns:
            An interface with all values in order; None if each command needs a topic of its own.
        """
        return None


class GoalInterface(CommandInterface):
    """An action of ROS that commands are sent to as goals, such as that of a gripper.

    A goal is sent when the target has changed, never at every tick. `message_type` is the class of
    the action; `make_message` makes a goal, and `fill` writes the target into it.

    Attributes:
        deadband: A goal is sent when the target is further than this from the last goal, rad or m.
        min_interval_s: Shortest time between two goals, s.
    """

    deadband: float
    min_interval_s: float


def require_frame(message: Any, frame_id: str) -> None:
    """Require that a stamped message is in a frame.

    Raises:
        ConversionError: It is in another one.
    """
    if message.header.frame_id != frame_id:
        raise ConversionError(
            f"the message is in frame {message.header.frame_id!r}, expected {frame_id!r}"
        )
