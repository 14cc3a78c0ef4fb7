# SPDX-License-Identifier: Apache-2.0
"""The pages on tasks say what the code does."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.contract.task_parameters import TASK_PARAMETERS
from gr00t_ros.task.ender_goal import ender_message, read_ender
from gr00t_ros.task.ender_registry import ender_types

ROOT = Path(__file__).parents[3]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("parameter", TASK_PARAMETERS, ids=lambda parameter: parameter.name)
def test_the_page_of_the_node_has_every_parameter_with_its_default(parameter: Parameter) -> None:
    row = f"| `{parameter.name}` | `{json.dumps(parameter.default)}` |"
    assert row in page("reference/task-node.md")


@pytest.mark.parametrize("name", sorted(ender_types()))
def test_the_guide_has_every_ender_with_its_settings_and_outcome(name: str) -> None:
    lines = page("how-to/run-a-task.md").splitlines()
    (row,) = [line for line in lines if line.startswith(f"| `{name}` |")]
    cls = ender_types()[name]
    assert [p.name for p in cls.parameters if f"`{p.name}`" not in row] == []
    assert row.endswith(f"| {cls.outcome.text} |")


def test_the_tree_of_the_examples_has_goals_that_can_be_run() -> None:
    leaves = list(ElementTree.parse(ROOT / "examples" / "task_tree.xml").iter("RunPolicy"))
    assert len(leaves) == 2
    for leaf in leaves:
        read_ender(ender_message(leaf.attrib["ender"]))
        assert leaf.attrib["instruction"]
        assert float(leaf.attrib["time_limit_s"]) > 0.0
