# SPDX-License-Identifier: Apache-2.0
"""The forward kinematics of one chain of joints, by Pinocchio."""

from __future__ import annotations

from copy import copy
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core import rotation
from gr00t_policy_core.kinematics.chain_description import describe_chain

Array = NDArray[np.float64]

NO_TOOL = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
TOOL_FRAME = "tool"
INSTALL = "install it with `pip install pin`, or `apt install ros-$ROS_DISTRO-pinocchio`"


class KinematicsUnavailableError(ImportError):
    """Pinocchio is not installed; the text says how to install it."""


class Chain:
    """The joints from a base to a tip, and where they put a tool at the tip.

    An instance holds the working memory of its computations: each thread needs its own, such as a
    deep copy, which shares the model alone.

    Args:
        description: The URDF of the robot.
        base: The link in which poses are expressed.
        tip: The link that carries the tool.
        tool: The pose of the tool in the frame of the tip: x y z, m, and a quaternion x y z w of
            any norm above zero.

    Attributes:
        joints: The moving joints from the base to the tip.
        limits: The limits of the joints in the URDF, in their order.
        levers: float64 (n,), the most that the tool moves for each joint, m per rad (or m).

    Raises:
        ValueError: The description has no such chain; see `describe_chain`.
        KinematicsUnavailableError: Pinocchio is not installed.
    """

    def __init__(
        self, description: str, base: str, tip: str, tool: tuple[float, ...] = NO_TOOL
    ) -> None:
        pin = load_pinocchio()
        placement = np.array(tool, dtype=np.float64)
        placement[3:] = rotation.quaternion_from_matrix(
            rotation.matrix_from_quaternion(placement[3:])
        )
        length_m = float(np.linalg.norm(placement[:3]))
        chain = describe_chain(description, base, tip, length_m)
        self.joints = chain.joints
        self.limits = chain.limits
        self.levers = np.array(chain.levers)
        self._pin = pin
        self._model, self._frame = _model(pin, chain.urdf, tip, placement)
        self._data = self._model.createData()
        self._order = [self._model.getJointId(name) - 1 for name in self.joints]
        if self._order != list(range(len(self.joints))):
            raise ValueError(f"the joints {', '.join(self.joints)} do not follow one another")

    def __deepcopy__(self, memo: object) -> Chain:
        twin = copy(self)
        twin._data = self._model.createData()
        return twin

    @property
    def size(self) -> int:
        """The number of joints."""
        return len(self.joints)

    def position(self, joints: Array) -> Array:
        """Where the tool is in the base, float64 (3,), m.

        Args:
            joints: Positions of the joints, float64 (n,), rad (or m).
        """
        return np.array(self.placement(joints).translation)

    def pose(self, joints: Array) -> Array:
        """Where the tool is and how it is turned, float64 (7,): x y z, m, and x y z w.

        Args:
            joints: Positions of the joints, float64 (n,), rad (or m).
        """
        return np.array(self._pin.SE3ToXYZQUAT(self.placement(joints)))

    def placement(self, joints: Array) -> Any:
        """The same as `pose`, as Pinocchio's SE3: valid until the next call."""
        self._pin.forwardKinematics(self._model, self._data, joints)
        return self._pin.updateFramePlacement(self._model, self._data, self._frame)

    def placement_of(self, pose: Array) -> Any:
        """Pinocchio's SE3 of a pose, float64 (7,)."""
        return self._pin.XYZQUATToSE3(pose)

    def jacobian(self, joints: Array) -> Array:
        """The motion of the tool for each joint, in the tool's own axes, float64 (6, n).

        Rows: linear, m per rad (or m), then angular, rad per rad (or m).
        """
        jacobian = self._pin.computeFrameJacobian(
            self._model, self._data, joints, self._frame, self._pin.LOCAL
        )
        return np.asarray(jacobian)

    def error(self, placement: Any, target: Any) -> Array:
        """The motion between two placements, float64 (6,), m and rad, in the first one's axes."""
        return np.asarray(self._pin.log6(placement.actInv(target)).vector)


def load_pinocchio() -> ModuleType:
    """Import Pinocchio.

    Raises:
        KinematicsUnavailableError: It is not installed.
    """
    try:
        pinocchio = import_module("pinocchio")
    except ImportError as error:
        raise KinematicsUnavailableError(
            f"end effectors and workspaces need Pinocchio ({error}): {INSTALL}"
        ) from error
    return pinocchio


def _model(pin: ModuleType, urdf: str, tip: str, placement: Array) -> tuple[Any, int]:
    model = pin.buildModelFromXML(urdf)
    tip_frame = model.frames[model.getFrameId(tip, pin.BODY)]
    parent = getattr(tip_frame, "parentJoint", None)
    parent = tip_frame.parent if parent is None else parent  # before Pinocchio 3
    tool = pin.Frame(
        TOOL_FRAME, parent, tip_frame.placement * pin.XYZQUATToSE3(placement), pin.OP_FRAME
    )
    return model, model.addFrame(tool)
