# SPDX-License-Identifier: Apache-2.0
"""The parameters that say which pose an end effector has, for its state and its command. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gr00t_policy_core import rotation
from gr00t_policy_core.kinematics.chain import NO_TOOL, Chain
from gr00t_policy_core.kinematics.pose_convention import NO_ROTATION, PoseConvention
from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.interface import Values
from gr00t_ros.interfaces.joint_names import JOINTS, unique_joints
from gr00t_ros.interfaces.pose_representations import DIMENSIONS, FORMS

BASE = Parameter("base", "", "link in whose frame poses are expressed", required=True)
TIP = Parameter("tip", "", "link whose pose is meant, or that carries the tool", required=True)
TOOL = Parameter(
    "tool",
    list(NO_TOOL),
    "pose of the tool in the frame of the tip: x y z in m, and a quaternion x y z w",
)
FRAME_PARAMETERS = (
    BASE,
    TIP,
    TOOL,
    Parameter(
        "rotation_before",
        list(NO_ROTATION),
        "fixed rotation B of the policy's pose B·T·A, a quaternion x y z w: the base of the URDF "
        "in the policy's base",
    ),
    Parameter(
        "rotation_after",
        list(NO_ROTATION),
        "fixed rotation A of the policy's pose B·T·A, a quaternion x y z w: the policy's tool in "
        "the tool of the URDF",
    ),
    Parameter(
        "representation",
        "",
        f"how the policy writes a pose: x y z in m, and then {FORMS}",
        choices=tuple(DIMENSIONS),
        required=True,
    ),
)
PARAMETERS = (JOINTS, *FRAME_PARAMETERS)
SIZES = {"tool": 7, "rotation_before": 4, "rotation_after": 4}


@dataclass(frozen=True, slots=True)
class EndEffectorFrames:
    """Which joints move which tool in which frame, and how the policy writes its pose.

    Args:
        joints: The joints between `base` and `tip`, in the order of the messages; none where
            tf measures the pose.
        base: The link in which poses are expressed.
        tip: The link that carries the tool.
        tool: The pose of the tool in the tip: x y z, m, and a quaternion x y z w.
        before, after: The fixed rotations of `PoseConvention`.
        representation: A key of `DIMENSIONS`.
    """

    joints: tuple[str, ...]
    base: str
    tip: str
    tool: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    representation: str

    @classmethod
    def of(cls, settings: Settings) -> EndEffectorFrames:
        """Make them from the values of `PARAMETERS`.

        Raises:
            ValueError: A joint is repeated, a list has a wrong number of values, or a quaternion
                has norm zero.
        """
        for name, size in SIZES.items():
            values = settings[name]
            if not isinstance(values, list) or len(values) != size:
                raise ValueError(f"{name} needs {size} values, got {values}")
            if not np.linalg.norm(values[-4:]) > 0.0:
                raise ValueError(f"{name}: a quaternion of norm 0 is not a rotation, got {values}")
        return cls(
            joints=unique_joints(settings),
            base=settings["base"],
            tip=settings["tip"],
            tool=tuple(map(float, settings["tool"])),
            before=tuple(map(float, settings["rotation_before"])),
            after=tuple(map(float, settings["rotation_after"])),
            representation=settings["representation"],
        )

    @property
    def dimension(self) -> int:
        """The number of values that the policy writes a pose with."""
        return DIMENSIONS[self.representation]

    @property
    def words(self) -> str:
        """Which pose they mean, whatever representation it is written in."""
        return (
            f"{self.tip} in {self.base}, tool {list(self.tool)}, rotation_before "
            f"{list(self.before)}, rotation_after {list(self.after)}"
        )

    @property
    def convention(self) -> PoseConvention:
        """The fixed rotations."""
        return PoseConvention(self.before, self.after)

    def chain(self, urdf: str) -> Chain:
        """Make the kinematics for the robot of a description.

        Raises:
            ValueError: The description has no such chain, or other joints move the tip.
        """
        chain = Chain(urdf, self.base, self.tip, self.tool)
        missing = [joint for joint in chain.joints if joint not in self.joints]
        if missing:
            raise ValueError(
                f"{', '.join(missing)} moves {self.tip} against {self.base}, too: add it to the "
                "joints, or choose another base"
            )
        beside = [joint for joint in self.joints if joint not in chain.joints]
        if beside:
            raise ValueError(
                f"{', '.join(beside)} does not move {self.tip} against {self.base}; the joints "
                f"that do are {', '.join(chain.joints)}"
            )
        return chain


def with_tool(pose: Values, tool: tuple[float, ...]) -> Values:
    """The pose of a tool that a body carries, float64 (7,).

    Args:
        pose: The pose of the body: x y z, m, and a quaternion x y z w.
        tool: The pose of the tool in the body, in the same form.
    """
    offset = np.array(tool)
    position = pose[:3] + rotation.matrix_from_quaternion(pose[3:]) @ offset[:3]
    turned = rotation.quaternion_product(pose[3:], offset[3:] / np.linalg.norm(offset[3:]))
    return np.concatenate([position, turned])
