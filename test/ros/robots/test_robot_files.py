# SPDX-License-Identifier: Apache-2.0
"""The files of `robots/` against the contract, the robots' URDFs, and what checkpoints need."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from robot_library import (
    DATA,
    FOLDER,
    ROBOTS,
    RobotFile,
    arm_links,
    joint_facts,
    published,
    urdf_file,
)

from gr00t_policy_core.kinematics.urdf import urdf_limits
from gr00t_policy_core.policy import ABSOLUTE_ACTIONS
from gr00t_ros.contract.compatibility import check_compatibility
from gr00t_ros.contract.contract import Contract
from gr00t_ros.interfaces.joint_names import without_prefix
from gr00t_ros.node.offline_nodes import contract_of_file

URDFS = json.loads((DATA / "robot_joints.json").read_text(encoding="utf-8"))
DESCRIBED = [name for name, entry in URDFS.items() if ".urdf of " in entry["source"]]


@pytest.fixture(scope="module")
def contracts() -> dict[str, Contract]:
    return {robot.path: contract_of_file(robot.file) for robot in ROBOTS}


def text_of_urdf(name: str) -> str:
    source = URDFS[name]["source"]
    path = urdf_file(source)
    if path is None:
        pytest.skip(f"`make robot-descriptions` writes {source}")
    return path.read_text(encoding="utf-8")


by_path = pytest.mark.parametrize("robot", ROBOTS, ids=lambda robot: robot.path)


def test_every_file_is_tested() -> None:
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*.yaml")}
    assert files == {robot.path for robot in ROBOTS}


@by_path
def test_the_file_fits_what_the_checkpoint_was_published_with(
    robot: RobotFile, contracts: dict[str, Contract]
) -> None:
    if not robot.published:
        pytest.skip("no checkpoint is published for this robot: its keys are a proposal")
    configs, dimensions = published(robot.published)
    check_compatibility(contracts[robot.path], configs, dimensions, capabilities=[ABSOLUTE_ACTIONS])


@by_path
def test_its_limits_are_inside_those_of_the_urdf(
    robot: RobotFile, contracts: dict[str, Contract]
) -> None:
    facts = robot.facts
    for output in contracts[robot.path].action:
        for joint, limits in zip(output.joints, output.limits, strict=True):
            urdf = facts[robot.urdf_name(joint)]
            assert urdf.lower <= limits.lower + 1e-5, joint
            assert limits.upper <= urdf.upper + 1e-5, joint
            assert limits.lower < limits.upper < 10.0, f"{joint} has no range of its own"
            assert limits.velocity <= urdf.velocity, joint
            given = {"lower", "upper", "velocity"}
            assert given <= output.limits_given, f"{output.name} leaves limits to our defaults"


@by_path
def test_the_measured_joints_are_those_of_the_urdf(
    robot: RobotFile, contracts: dict[str, Contract]
) -> None:
    facts = robot.facts
    for stream in contracts[robot.path].state_streams:
        joints = [robot.urdf_name(joint) for joint in stream.interface.measured_joints]
        assert set(joints) <= facts.keys(), stream.name


@by_path
def test_the_joints_of_an_arm_go_from_its_base_to_its_tip(
    robot: RobotFile, contracts: dict[str, Contract]
) -> None:
    order = list(robot.facts)
    for output in contracts[robot.path].action:
        if "hand" in output.key:  # fingers stand side by side
            continue
        places = [order.index(robot.urdf_name(joint)) for joint in output.joints]
        assert places == sorted(places), output.name


@by_path
def test_its_end_effectors_reach_from_the_base_to_the_tip_of_the_urdf(
    robot: RobotFile, contracts: dict[str, Contract]
) -> None:
    contract = contracts[robot.path]
    interfaces = [stream.interface for stream in contract.state_streams]
    interfaces += [output.interface for output in contract.action]
    frames = [of.frames for of in interfaces if hasattr(of, "frames")]
    for of in (*frames, *contract.workspaces):
        assert (robot.urdf_name(of.base), robot.urdf_name(of.tip)) == arm_links(robot.joints)


@pytest.mark.parametrize("name", [name for name in DESCRIBED if arm_links(name)])
def test_an_arm_of_the_urdf_goes_through_its_joints_in_their_order(name: str) -> None:
    base, tip = arm_links(name)
    above = {
        joint.find("child").get("link"): (joint.find("parent").get("link"), joint.get("name"))
        for joint in ElementTree.fromstring(text_of_urdf(name)).findall("joint")
    }
    link, joints = tip, []
    while link != base:
        link, joint = above[link]
        joints.append(joint)
    facts = joint_facts(name)
    in_order = [joint for joint in reversed(joints) if joint in facts]
    assert in_order == list(facts)[: len(in_order)]
    assert len(in_order) >= 5


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_joints_are_as_the_urdf_has_them(name: str) -> None:
    text = text_of_urdf(name)
    limits, mimics = urdf_limits(text), set()
    for joint in ElementTree.fromstring(text).findall("joint"):
        if joint.find("mimic") is not None:
            mimics.add(joint.get("name"))
    facts = joint_facts(name)
    assert facts.keys() == limits.keys() - mimics
    for joint, of_joint in facts.items():
        assert limits[joint].lower == pytest.approx(of_joint.lower, abs=1e-5)
        assert limits[joint].upper == pytest.approx(of_joint.upper, abs=1e-5)
        assert limits[joint].velocity == pytest.approx(of_joint.velocity, abs=1e-5)


@pytest.mark.parametrize("folder", sorted({robot.file.parent for robot in ROBOTS}))
def test_a_robot_has_notes_and_a_launch_file(folder: Path) -> None:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "## Verified" in readme
    assert "## Not verified" in readme
    launch = ElementTree.parse(folder / f"{folder.name}.launch.xml").getroot()
    declared = [arg for arg in launch.iter("arg") if arg.get("value") is None]
    arguments = {arg.get("name") for arg in declared}
    assert {"host", "config", "autostart"} <= arguments
    assert all(arg.get("description") for arg in declared)
    used = {
        word.partition(")")[0]
        for element in launch.iter()
        for value in element.attrib.values()
        for word in value.split("$(var ")[1:]
    }
    assert used == arguments
    includes = [include.get("file") or "" for include in launch.iter("include")]
    assert any(name.endswith("policy.launch.py") for name in includes)


def test_two_arms_with_like_joints_differ_by_their_prefix() -> None:
    assert without_prefix(["left_waist"], "left_") == without_prefix(["right_waist"], "right_")
