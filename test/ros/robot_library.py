# SPDX-License-Identifier: Apache-2.0
"""The files of `robots/`, with the URDF and the published modality configs that each belongs to."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from gr00t_policy_core import ModalityConfig

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "robots"
DATA = ROOT / "test" / "data"
PUBLISHED = DATA / "modality_configs"


@dataclass(frozen=True, slots=True)
class RobotFile:
    """A YAML file of `robots/`.

    Args:
        path: Below `robots/`.
        joints: The entry of test/data/robot_joints.json.
        gripper: Another entry, for a gripper that is not of the arm's URDF.
        published: The file of test/data/modality_configs; empty where no checkpoint is published
            for this robot, and the keys are our proposal.
        names: How the file's joint names begin, and how those of the URDF do.
    """

    path: str
    joints: str
    published: str = ""
    gripper: str = ""
    names: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> Path:
        return FOLDER / self.path

    @property
    def facts(self) -> dict[str, JointFacts]:
        """The joints of the arm's URDF, from the base to the tips, and that of its gripper."""
        return joint_facts(self.joints) | (joint_facts(self.gripper) if self.gripper else {})

    def urdf_name(self, joint: str) -> str:
        for ours, theirs in self.names:
            if joint.startswith(ours):
                return theirs + joint.removeprefix(ours)
        return joint


ROBOTS = (
    RobotFile("so100/robot.yaml", "so100", "so_arm"),
    RobotFile("so101/robot.yaml", "so101", "so_arm"),
    RobotFile("ur5e/robot.yaml", "ur5"),
    RobotFile("ur5e/robotiq_2f_85.yaml", "ur5", gripper="robotiq_2f_85"),
    RobotFile("ur10e/robot.yaml", "ur10"),
    RobotFile("ur10e/robotiq_2f_85.yaml", "ur10", gripper="robotiq_2f_85"),
    RobotFile("franka/robot.yaml", "panda", "n1d7_droid", names=(("fr3_", "panda_"),)),
    RobotFile("franka/droid_n1d6.yaml", "panda", "n1d6_droid", names=(("fr3_", "panda_"),)),
    RobotFile("xarm7/robot.yaml", "xarm7", gripper="xarm_gripper"),
    RobotFile("kinova_gen3/robot.yaml", "gen3", gripper="robotiq_2f_85"),
    RobotFile("unitree_g1/robot.yaml", "g1", "n1d7_unitree_g1"),
    RobotFile("unitree_g1/real_g1.yaml", "g1", "n1d7_real_g1"),
    RobotFile("unitree_g1/sonic.yaml", "g1", "n1d7_unitree_g1_sonic"),
    RobotFile("fourier_gr1/robot.yaml", "gr1t2", "n1d7_robocasa_gr1"),
    RobotFile("aloha/robot.yaml", "vx300s", names=(("left_", ""), ("right_", ""))),
)


@dataclass(frozen=True, slots=True)
class JointFacts:
    """The range of a joint, rad or m, and its velocity, per s; infinite where there is none."""

    lower: float
    upper: float
    velocity: float


def joint_facts(name: str) -> dict[str, JointFacts]:
    """The joints of a URDF, from the base to the tips."""
    joints = json.loads((DATA / "robot_joints.json").read_text(encoding="utf-8"))[name]["joints"]
    return {
        joint: JointFacts(
            -math.inf if lower is None else lower,
            math.inf if upper is None else upper,
            velocity or math.inf,  # 0 is what exporters write for "not known"
        )
        for joint, (lower, upper, velocity) in joints.items()
    }


def arm_links(name: str) -> tuple[str, str] | None:
    """The base and the tip of the arm of a URDF; None for a robot of several arms, or a hand."""
    entry = json.loads((DATA / "robot_joints.json").read_text(encoding="utf-8"))[name]
    return (entry["base"], entry["tip"]) if "tip" in entry else None


def published(name: str) -> tuple[dict[str, ModalityConfig], dict[str, dict[str, int]]]:
    """The modality configs and the dimensions that a checkpoint was published with."""
    content = json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))
    configs = {}
    for modality, fields in content["configs"].items():
        deltas = fields["delta_indices"]
        if isinstance(deltas, dict):  # {"range": 40}
            fields["delta_indices"] = list(range(deltas["range"]))
        configs[modality] = ModalityConfig(**fields)
    return configs, content["dimensions"]


def urdf_file(source: str) -> Path | None:
    """A URDF that `make robot-descriptions` has written; None where it has not.

    Args:
        source: As in test/data/robot_joints.json: ``<file> of <package> <version> …``.
    """
    folder = Path(os.environ.get("GR00T_ROBOT_DESCRIPTIONS", ROOT / "build/robot_descriptions"))
    file = folder / source.partition(" ")[0]
    return file if file.is_file() else None
