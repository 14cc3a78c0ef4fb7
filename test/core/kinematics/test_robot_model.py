# SPDX-License-Identifier: Apache-2.0
"""Where all links of a robot are."""

import math

import numpy as np
import pytest

from gr00t_policy_core.kinematics.prefixed_urdf import prefixed_urdf

pytest.importorskip("pinocchio", reason="Pinocchio is not installed: pip install pin")

from gr00t_policy_core.kinematics.robot_model import RobotModel

HALF_TURN = math.pi / 2

HAND = """<robot name="hand">
  <link name="base"/><link name="upper"/><link name="lower"/><link name="left"/><link name="right"/>
  <joint name="shoulder" type="continuous">
    <parent link="base"/><child link="upper"/><axis xyz="0 0 1"/>
  </joint>
  <joint name="elbow" type="revolute">
    <parent link="upper"/><child link="lower"/><origin xyz="1 0 0"/><axis xyz="0 0 1"/>
    <limit lower="-2" upper="2" velocity="1" effort="1"/>
  </joint>
  <joint name="finger" type="prismatic">
    <parent link="lower"/><child link="left"/><origin xyz="0.5 0 0"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="0.1" velocity="1" effort="1"/>
  </joint>
  <joint name="other_finger" type="prismatic">
    <parent link="lower"/><child link="right"/><origin xyz="0.5 0 0"/><axis xyz="0 1 0"/>
    <limit lower="-0.1" upper="0" velocity="1" effort="1"/>
    <mimic joint="finger" multiplier="-2" offset="0.01"/>
  </joint>
  <transmission name="drive"><joint name="shoulder"/></transmission>
</robot>"""


def test_links_are_where_the_joints_put_them() -> None:
    model = RobotModel(HAND)

    model.place({"shoulder": HALF_TURN, "elbow": -HALF_TURN, "unknown": 9.0})

    assert model.pose("lower")[:3] == pytest.approx([0.0, 1.0, 0.0], abs=1e-9)
    assert model.pose("left")[:3] == pytest.approx([0.5, 1.0, 0.0], abs=1e-9)
    assert model.pose("left", "lower")[:3] == pytest.approx([0.5, 0.0, 0.0], abs=1e-9)
    tool = (0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0)
    with_tool = model.pose("lower", "base", (*tool[:3], 0.0, 0.0, 0.0, 1.0))
    assert with_tool[:3] == pytest.approx([0.1, 1.0, 0.0], abs=1e-9)


def test_a_joint_that_mimics_follows_unless_it_is_measured() -> None:
    model = RobotModel(HAND)

    model.place({"finger": 0.05})
    assert model.pose("right")[:3] == pytest.approx([1.5, -0.09, 0.0])

    model.place({"finger": 0.05, "other_finger": -0.02})
    assert model.pose("right")[:3] == pytest.approx([1.5, -0.02, 0.0])


def test_the_ends_of_joints_are_the_last_links_that_they_move() -> None:
    model = RobotModel(HAND)

    assert model.root == "base"
    assert model.ends_of(["shoulder", "elbow"]) == ("lower",)
    assert model.ends_of(["shoulder", "finger", "other_finger"]) == ("left", "right")
    assert model.ends_of(["nothing"]) == ()


@pytest.mark.parametrize(
    ("urdf", "why"),
    [
        (HAND.replace('<link name="base"/>', '<link name="base"/><link name="lone"/>'), "2 root"),
        (HAND.replace('<parent link="base"/>', '<parent link="left"/>'), "no joints lead|root"),
        ("<sdf/>", "not a URDF"),
    ],
)
def test_what_is_not_one_tree_is_refused(urdf: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RobotModel(urdf)


def test_a_prefixed_robot_is_the_same_robot_under_other_names() -> None:
    ghost = RobotModel(prefixed_urdf(HAND, "ghost/"))
    robot = RobotModel(HAND)

    ghost.place({"ghost/shoulder": 0.3, "ghost/elbow": 0.4, "ghost/finger": 0.05})
    robot.place({"shoulder": 0.3, "elbow": 0.4, "finger": 0.05})

    assert ghost.links == tuple(f"ghost/{link}" for link in robot.links)
    assert np.allclose(ghost.pose("ghost/right"), robot.pose("right"))
    assert "transmission" not in prefixed_urdf(HAND, "ghost/")
