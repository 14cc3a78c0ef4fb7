# SPDX-License-Identifier: Apache-2.0
"""The common parts of the message types that name their joints. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.binary_gripper import BINARY_PARAMETERS, NOT_BINARY, BinaryGripper
from gr00t_ros.interfaces.interface import (
    CommandInterface,
    ConversionError,
    GoalInterface,
    LimitedBy,
    Values,
)
from gr00t_ros.interfaces.optional_types import require_installed

_DESCRIPTION = "names of the joints, in the policy's order"
JOINTS = Parameter("joints", [], _DESCRIPTION, required=True)
OPTIONAL_JOINTS = Parameter("joints", [], _DESCRIPTION)
JOINT_PREFIX = Parameter(
    "joint_prefix",
    "",
    "how each of `joints` begins, which the names in the messages lack: two arms whose drivers "
    "name their joints alike need names that differ",
)


class JointGroupCommand(CommandInterface):
    """Positions of named joints, in a message that can hold several actions.

    `message_joints` are the names that the messages have.
    """

    parameters = (JOINTS, JOINT_PREFIX, *BINARY_PARAMETERS)
    limited_by = LimitedBy.JOINT_LIMITS

    def __init__(self, settings: Settings) -> None:
        self._settings = dict(settings)
        self.joints = unique_joints(settings)
        self.dimension = len(self.joints)
        self.joint_prefix: str = settings["joint_prefix"]
        self.message_joints = without_prefix(self.joints, self.joint_prefix)
        self.binary = BinaryGripper.of(settings, len(self.joints))

    def joined(self, others: Sequence[CommandInterface]) -> CommandInterface | None:
        if any(getattr(other, "joint_prefix", "") != self.joint_prefix for other in others):
            return None
        joints = [joint for interface in (self, *others) for joint in interface.joints]
        settings = {**self._settings, **NOT_BINARY}  # each of them has made its targets already
        return type(self)({**settings, "joints": list(dict.fromkeys(joints))})


class GripperGoalCommand(GoalInterface):
    """The position of one joint as the goal of an action."""

    parameters = (
        Parameter("joints", [], "name of the gripper's joint, a list of one", required=True),
        Parameter(
            "deadband",
            0.001,
            "m or rad, a goal is sent when the target is further than this from the last goal",
            0.0,
            10.0,
        ),
        Parameter("min_interval_s", 0.1, "s, shortest time between two goals", 0.0, 10.0),
        Parameter(
            "max_effort", 0.0, "N or Nm, largest effort; 0: the controller's own", 0.0, 10_000.0
        ),
        *BINARY_PARAMETERS,
    )
    limited_by = LimitedBy.JOINT_LIMITS
    dimension = 1

    def __init__(self, settings: Settings) -> None:
        require_installed(self.message_type)
        self.joints = unique_joints(settings)
        if len(self.joints) != 1:
            raise ValueError(f"a gripper has one joint, got {list(self.joints)}")
        self.deadband = float(settings["deadband"])
        self.min_interval_s = float(settings["min_interval_s"])
        self.max_effort = float(settings["max_effort"])
        self.binary = BinaryGripper.of(settings, len(self.joints))


def unique_joints(settings: Settings) -> tuple[str, ...]:
    """Return the value of the parameter `joints`.

    Raises:
        ValueError: A name is given twice.
    """
    joints = tuple(settings["joints"])
    repeated = sorted({joint for joint in joints if joints.count(joint) > 1})
    if repeated:
        raise ValueError(f"joints repeats {repeated}")
    return joints


def without_prefix(joints: Sequence[str], prefix: str) -> tuple[str, ...]:
    """Return the names that joints have in messages.

    Raises:
        ValueError: A name does not begin with the prefix, or has nothing after it.
    """
    wrong = [joint for joint in joints if not joint.startswith(prefix) or joint == prefix]
    if wrong:
        raise ValueError(f"joint_prefix is {prefix!r}, {', '.join(wrong)} must begin with it")
    return tuple(joint.removeprefix(prefix) for joint in joints)


def values_by_name(
    joints: Sequence[str], names: Sequence[str], positions: Sequence[float]
) -> Values:
    """Return the position of each joint in a message that may have others, and in any order.

    Args:
        joints: The joints that are wanted.
        names: The joints of the message.
        positions: Their positions, rad (or m).

    Returns:
        float64 (len(joints),).

    Raises:
        ConversionError: The message has no position of one of the joints.
    """
    known = dict(zip(names, positions, strict=False))
    missing = [joint for joint in joints if joint not in known]
    if missing:
        raise ConversionError(f"the message has no position of {missing}, only of {list(known)}")
    return np.array([known[joint] for joint in joints], dtype=np.float64)
