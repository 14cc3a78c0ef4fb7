# SPDX-License-Identifier: Apache-2.0
"""What is written for users is what the code says."""

import runpy
from pathlib import Path

import pytest
import yaml

from gr00t_ros.contract.contract import parse_contract

ROOT = Path(__file__).parents[2]


def test_the_page_of_parameters_is_made_from_the_table() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "parameter_docs.py"))["page"]()

    assert (ROOT / "docs" / "parameters.md").read_text() == page


@pytest.mark.parametrize("name", ["demo.yaml", "example.yaml"])
def test_a_configuration_that_we_ship_is_a_valid_contract(name: str) -> None:
    nested = yaml.safe_load((ROOT / "config" / name).read_text())
    values = dict(_flat(nested["/**"]["ros__parameters"]))

    contract = parse_contract(values)

    assert [stream.key for stream in contract.video] == ["front", "wrist"]
    assert [output.key for output in contract.action] == ["single_arm", "gripper"]


def test_the_states_and_actions_that_the_example_only_mentions_are_valid() -> None:
    text = (ROOT / "config" / "example.yaml").read_text()
    above, states = text.split("    state:\n")
    nested = yaml.safe_load(f"{above}    state:\n{states.replace('      # ', '      ')}")

    contract = parse_contract(dict(_flat(nested["/**"]["ros__parameters"])))

    dimensions = {state.key: state.dimension for state in contract.state}
    assert dimensions == {"single_arm": 5, "gripper": 1, "arms": 4, "x": 1, "yaw": 1}
    assert contract.ignored == ("base",)


def _flat(values: dict, prefix: str = ""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
