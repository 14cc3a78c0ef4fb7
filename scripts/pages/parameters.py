# SPDX-License-Identifier: Apache-2.0
"""Prints docs/reference/parameters.md from the parameter table: `make reference`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from gr00t_ros.contract.parameters import ACTION, FIELDS, STATE, TOP, VIDEO, Parameter

INTRODUCTION = """\
# Parameters

Every parameter of the [YAML file](yaml-file.md), which both nodes read. `<key>` is a key of the
policy, as `gr00t-policy info` lists them. A parameter is an error where it can have no effect
(column "only with"), unless it asks for nothing (`false`, `0`, no text). This page is made from the
code by `make reference`; `ros2 param describe` shows the same.
"""
SECTIONS = {
    VIDEO: "Each camera: `video.<key>.…`",
    STATE: "Each group of states: `state.<key>.…`",
    ACTION: "Each group of commands: `action.<key>.…`",
}
NOTES = {
    VIDEO: "The topic's type tells whether it is a `sensor_msgs/Image` or a `CompressedImage`.",
    STATE: "With `joints` the topic is a `JointState`, with `representation` a `PoseStamped`, with "
    "neither a `Float64MultiArray`. Joints are found by name. What the policy reads is "
    "`message * scale + offset`.",
    ACTION: "Joint groups that share a topic go out as one message. What is published is "
    "`policy value * scale + offset`. A `pose_stamped` is held against the `PoseStamped` of the "
    "state of the same key, in the same frame (`max_jump`, `max_age_s`). Every position and pose "
    "that is commanded has to be measured by a state, or the key says `unmeasured: true`. No joint "
    "is commanded twice, and no command goes out on a topic that is also read; topics are compared "
    "as ROS resolves them, within the node's namespace and after remapping.",
}


def page() -> str:
    """The whole of docs/reference/parameters.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    yield "## Both nodes\n"
    yield from _table(TOP)
    for modality, fields in FIELDS.items():
        yield f"## {SECTIONS[modality]}\n"
        yield f"{NOTES[modality]}\n"
        yield from _table(fields)


def _table(parameters: Iterable[Parameter]) -> Iterator[str]:
    yield "| parameter | default | range | what it is | only with |"
    yield "|---|---|---|---|---|"
    for parameter in parameters:
        default = "**required**" if parameter.required else f"`{_yaml(parameter.default)}`"
        use = parameter.only_with.text if parameter.only_with is not None else ""
        cells = (f"`{parameter.name}`", default, _range(parameter), parameter.description, use)
        yield f"| {' | '.join(cells)} |"
    yield ""


def _yaml(value: bool | int | float | str | list[Any]) -> str:
    """A value as a YAML file has it."""
    if isinstance(value, float):
        return f".{value}".replace(".-", "-.") if math.isinf(value) else repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return value if isinstance(value, str) and value else json.dumps(value)


def _range(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(f"`{choice}`" for choice in parameter.choices if choice)
    if parameter.minimum is None or parameter.maximum is None:
        return ""
    if isinstance(parameter.default, int):
        return f"{parameter.minimum} … {parameter.maximum}"
    return f"{parameter.minimum:g} … {parameter.maximum:g}"


if __name__ == "__main__":
    sys.stdout.write(page())
