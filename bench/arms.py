# SPDX-License-Identifier: Apache-2.0
"""Arms with robot descriptions, for the measurement and the tests of inverse kinematics.

Those of real robots come from example-robot-data (`pip install example-robot-data`, 130 MB).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

# Seven joints like those of a Panda; the numbers are our own. (x y z of a joint in the one before
# it, roll of its frame, lower and upper limit)
SEVEN_JOINTS = (
    ("0 0 0.33", "0", -2.9, 2.9),
    ("0 0 0", "-1.5707963267948966", -1.8, 1.8),
    ("0 -0.32 0", "1.5707963267948966", -2.9, 2.9),
    ("0.08 0 0", "1.5707963267948966", -3.0, -0.1),
    ("-0.08 0.38 0", "-1.5707963267948966", -2.9, 2.9),
    ("0 0 0", "1.5707963267948966", -0.1, 3.7),
    ("0.09 0 0", "1.5707963267948966", -2.9, 2.9),
)


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm to solve for.

    Args:
        name: For tables and tests.
        urdf: Its robot description.
        base, tip: Links of the description.
        home: A posture from which it can move in every direction, rad.
    """

    name: str
    urdf: str
    base: str
    tip: str
    home: tuple[float, ...]


def seven_joint_arm() -> Arm:
    """An arm that needs no other package."""
    links = "".join(f'<link name="link{number}"/>' for number in range(9))
    joints = "".join(
        f'<joint name="joint{number}" type="revolute"><parent link="link{number - 1}"/>'
        f'<child link="link{number}"/><origin xyz="{place}" rpy="{roll} 0 0"/><axis xyz="0 0 1"/>'
        f'<limit lower="{lower}" upper="{upper}" velocity="2.2" effort="80"/></joint>'
        for number, (place, roll, lower, upper) in enumerate(SEVEN_JOINTS, start=1)
    )
    flange = (
        '<joint name="flange" type="fixed"><parent link="link7"/><child link="link8"/>'
        '<origin xyz="0 0 0.2" rpy="0 0 -0.785"/></joint>'
    )
    urdf = f'<robot name="seven_joints">{links}{joints}{flange}</robot>'
    home = (0.0, -0.5, 0.0, -2.0, 0.0, 1.6, 0.8)
    return Arm("seven joints", urdf, "link0", "link8", home)


def real_arms() -> list[Arm]:
    """The arms of SO-101, Panda and G1; none where example-robot-data is not installed."""
    folder = _folder()
    if folder is None:
        return []
    so101 = folder / "so_arm_description/urdf/so101.urdf"
    panda = folder / "panda_description/urdf/panda.urdf"
    g1 = folder / "g1_description/urdf/g1_29dof_rev_1_0.urdf"
    return [
        Arm(
            "SO-101", so101.read_text(), "base_link", "gripper_frame_link", (0, -0.6, 0.8, 0.4, 0.3)
        ),
        Arm(
            "Panda",
            panda.read_text(),
            "panda_link0",
            "panda_hand_tcp",
            (0.0, -0.5, 0.0, -2.0, 0.0, 1.6, 0.8),
        ),
        Arm(
            "G1",
            g1.read_text(),
            "torso_link",
            "left_rubber_hand",
            (0.2, 0.4, 0.1, 0.6, 0.0, -0.2, 0.2),
        ),
    ]


def _folder() -> Path | None:
    """Where example-robot-data lies, beside Pinocchio in one prefix."""
    spec = find_spec("pinocchio")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parents[4] / "share/example-robot-data/robots"
    return folder if folder.is_dir() else None
