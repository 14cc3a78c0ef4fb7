# SPDX-License-Identifier: Apache-2.0
"""Joint limits out of a robot description."""

import math

import pytest

from gr00t_policy_core.kinematics.urdf import (
    UrdfLimits,
    robot_element,
    root_link,
    sliding_joints,
    urdf_limits,
)


def limits_of(joint: str) -> UrdfLimits:
    return urdf_limits(f'<robot name="arm">{joint}</robot>')["j"]


def test_the_joints_that_slide_are_the_prismatic_ones() -> None:
    kinds = {"a": "revolute", "b": "prismatic", "c": "continuous", "d": "fixed"}
    joints = "".join(f'<joint name="{name}" type="{kind}"/>' for name, kind in kinds.items())
    assert sliding_joints(f"<robot>{joints}</robot>") == {"b"}


def test_the_limits_of_a_revolute_joint_are_read() -> None:
    limit = '<limit lower="-1.5" upper="2" velocity="3.1" effort="9"/>'
    assert limits_of(f'<joint name="j" type="revolute">{limit}</joint>') == UrdfLimits(-1.5, 2, 3.1)


@pytest.mark.parametrize("limit", ['<limit lower="0" upper="0" velocity="2"/>', ""])
def test_a_range_of_no_width_is_ignored_with_a_warning(limit: str) -> None:
    limits = limits_of(f'<joint name="j" type="revolute">{limit}</joint>')
    assert (limits.lower, limits.upper) == (-math.inf, math.inf)
    assert "joint j: its range from 0 to 0 is ignored; give it lower < upper" in limits.warning


def test_soft_limits_of_no_width_leave_the_hard_ones() -> None:
    joint = (
        '<joint name="j" type="revolute"><limit lower="-1" upper="1"/>'
        '<safety_controller soft_lower_limit="0" soft_upper_limit="0"/></joint>'
    )
    limits = limits_of(joint)
    assert (limits.lower, limits.upper) == (-1.0, 1.0)
    assert "from 0 to 0 is ignored" in limits.warning


def test_a_range_the_wrong_way_round_is_kept_for_the_contract_to_refuse() -> None:
    limits = limits_of('<joint name="j" type="revolute"><limit lower="1" upper="-1"/></joint>')
    assert (limits.lower, limits.upper, limits.warning) == (1.0, -1.0, "")


def test_what_is_left_out_of_a_limit_is_zero_as_the_format_has_it() -> None:
    joint = '<joint name="j" type="prismatic"><limit upper="0.04" velocity="0.1"/></joint>'
    assert limits_of(joint) == UrdfLimits(0.0, 0.04, 0.1)


def test_a_continuous_joint_has_no_range() -> None:
    limit = '<limit lower="-1" upper="1" velocity="2"/>'
    joint = f'<joint name="j" type="continuous">{limit}</joint>'
    assert limits_of(joint) == UrdfLimits(-math.inf, math.inf, 2.0)


def test_a_velocity_of_zero_is_one_that_nobody_knows() -> None:
    joint = '<joint name="j" type="revolute"><limit lower="-1" upper="1" velocity="0"/></joint>'
    assert limits_of(joint).velocity == math.inf


def test_soft_limits_hold_where_they_are_tighter() -> None:
    joint = (
        '<joint name="j" type="revolute"><limit lower="-1" upper="1" velocity="2"/>'
        '<safety_controller soft_lower_limit="-0.9" soft_upper_limit="1.2" k_velocity="1"/></joint>'
    )
    assert limits_of(joint) == UrdfLimits(-0.9, 1.0, 2.0)


def test_joints_that_do_not_move_are_left_out() -> None:
    joints = '<joint name="f" type="fixed"/><joint name="m" type="continuous"/>'
    assert urdf_limits(f"<robot>{joints}</robot>") == {"m": UrdfLimits()}


def test_joints_of_transmissions_are_none() -> None:
    text = '<robot><transmission><joint name="j"><x/></joint></transmission></robot>'
    assert urdf_limits(text) == {}


JOINT = '<joint name="j" type="revolute"><limit lower="-1" upper="2" velocity="3"/></joint>'
ROBOT = f'<robot name="arm">{JOINT}</robot>'
LAUGHS = (
    '<!DOCTYPE robot [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY % p "x"><!-- don\'t -->]>'
)


@pytest.mark.parametrize(
    "text",
    [
        ROBOT.replace("<robot ", '<robot xmlns="http://www.ros.org/wiki/urdf" '),
        f"\n  {ROBOT}",
        f'\n\n<?xml version="1.0" encoding="ISO-8859-1"?>\n{ROBOT}',
        f"\ufeff{ROBOT}",
        f'\ufeff<?xml version="1.0"?>{ROBOT}',
        f"{ROBOT}\n\0",
        ROBOT.replace(JOINT, f"<!-- made by xacro -- do not edit --->{JOINT}"),
        ROBOT.replace(JOINT, f"<!----><![CDATA[ <!-- ]]>{JOINT}<!-- & -->"),
        ROBOT.replace(JOINT, f'<xacro:arg name="x"/><gazebo a:b="1"/>{JOINT}'),
        ROBOT.replace(JOINT, f'{JOINT}<link name="a&b;&c"/>'),
        f"<!DOCTYPE robot>{ROBOT}",
        f'<!DOCTYPE robot SYSTEM "file:///etc/passwd">{ROBOT}',
        f'<!DOCTYPE robot [<!ENTITY x SYSTEM "file:///etc/passwd">]>{ROBOT}',
        f"{LAUGHS}{ROBOT}",
        ROBOT.replace(JOINT, f'{JOINT}<gazebo><joint name="j" type="revolute"/></gazebo>'),
    ],
)
def test_what_urdfdom_reads_is_read(text: str) -> None:
    assert urdf_limits(text) == {"j": UrdfLimits(-1, 2, 3)}


def test_a_doctype_gives_no_attributes() -> None:
    doctype = '<!DOCTYPE robot [<!ATTLIST limit velocity CDATA "9">]>'
    without = ROBOT.replace(' velocity="3"', "")
    assert urdf_limits(doctype + without) == {"j": UrdfLimits(-1, 2)}


def test_no_entity_is_expanded() -> None:
    limit = LAUGHS + ROBOT.replace('velocity="3"', 'velocity="&b;"')
    with pytest.raises(ValueError, match="velocity is not a number: '&b;'"):
        urdf_limits(limit)
    levels = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    laughs = f'<!DOCTYPE robot [<!ENTITY l0 "ha">{levels}]>'
    assert urdf_limits(f"{laughs}{ROBOT.replace(JOINT, f'&l9;{JOINT}')}")["j"].velocity == 3


@pytest.mark.parametrize("opening", ["<!--", "<?", "<![CDATA[", "<!DOCTYPE ["])
def test_markup_that_never_ends_is_refused_at_once(opening: str) -> None:
    with pytest.raises(ValueError, match="not XML"):
        urdf_limits(opening * 200_000)  # 200 000 searches to the end would take minutes


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<robot", "not XML"),
        ("", "not XML"),
        ("<robot><!-- <joint/> </robot>", "not XML"),
        ("<?xml <robot/>", "not XML"),
        ("<robot></robot><robot>", "not XML"),
        ("<sdf><robot/></sdf>", "it is a <sdf>, not a <robot>"),
        (
            '<robot><joint name="j" type="revolute"/><joint name="j" type="revolute"/></robot>',
            "two joints j",
        ),
        (
            '<robot><joint name="j" type="revolute"><limit velocity="1_0"/></joint></robot>',
            "joint j: velocity is not a number: '1_0'",
        ),
        (
            '<robot><joint name="j" type="revolute"><limit velocity="fast"/></joint></robot>',
            "joint j: velocity is not a number: 'fast'",
        ),
        (
            '<robot><joint name="j" type="revolute"><limit lower="nan"/></joint></robot>',
            "joint j: lower is not a number: 'nan'",
        ),
    ],
)
def test_what_is_no_description_is_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        urdf_limits(text)


def links(*joints: tuple[str, str]) -> str:
    """A robot of the links a, b and c, and a joint from each parent to its child."""
    elements = ['<link name="a"/><link name="b"/><link name="c"/>']
    elements += [f'<joint><parent link="{p}"/><child link="{c}"/></joint>' for p, c in joints]
    return f'<robot name="arm">{"".join(elements)}</robot>'


def test_the_root_is_the_link_that_no_joint_moves() -> None:
    assert root_link(robot_element(links(("b", "a"), ("b", "c")))) == "b"


@pytest.mark.parametrize(("joints", "count"), [((("a", "b"), ("b", "c"), ("c", "a")), 0), ((), 3)])
def test_a_robot_without_one_root_is_named(joints: tuple, count: int) -> None:
    with pytest.raises(ValueError, match=f"has {count} root links, expected one"):
        root_link(robot_element(links(*joints)))
