# SPDX-License-Identifier: Apache-2.0
"""Prints docs/reference/parameters.md from the parameter table: `make reference`."""

from __future__ import annotations

import inspect
import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.contract.parameters import (
    ACTION,
    MODALITIES,
    STATE,
    TOP,
    VIDEO,
    WORKSPACE,
    common_parameters,
    types_of,
)
from gr00t_ros.interfaces.registry import ros_type

INTRODUCTION = """\
# Parameters

Every parameter of the [YAML file](yaml-file.md), which the policy node, the control node, the
recorder and the visualization read; the [task node](task-node.md) has its own. `<key>` is a key of
the policy, as `gr00t-policy info` lists them. A parameter is an error where it can have no effect
(column "only with"), unless it asks for nothing (`false`, `0`, no text). This page is made from the
code by `make reference`; `ros2 param describe` shows the same.
"""
SECTIONS = {
    VIDEO: "Each camera: `video.<key>.…`",
    STATE: "Each state: `state.<key>.…`",
    ACTION: "Each action: `action.<key>.…`",
}
NOTES = {
    VIDEO: "The topic's type decides whether it is a `sensor_msgs/Image` or a `CompressedImage`.",
    STATE: "`type` names the message type; the parameters that it adds are listed below. See "
    "[several messages, one state](yaml-file.md#several-messages-one-state) for `sources` and "
    "`select`.",
    ACTION: "`type` names the message type; the parameters that it adds are listed below. An "
    "action of the policy that the robot has no use for has `ignore: true` and nothing else.",
}
WORKSPACES = """\
## Each workspace: `workspace.<name>.…`

A box and a floor that the tip of an arm never leaves, see
[Keep the tip inside a workspace](../how-to/end-effectors.md#keep-the-tip-inside-a-workspace). The
name is your own.
"""
TYPES = """\
## Message types

`type` says which message carries a state or an action. Cameras have no `type`: the topic's own type
decides. A class of your own is named as `type: my_package.my_module:MyInterface`, see
[add a message type](../how-to/add-a-message-type.md).

| `type` | message | as state | as action |
|---|---|---|---|"""


def page() -> str:
    """The whole of docs/reference/parameters.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    yield TYPES
    yield from _type_rows()
    yield "\n## All nodes\n"
    yield from _table(TOP)
    for modality in MODALITIES:
        yield f"## {SECTIONS[modality]}\n"
        yield f"{NOTES[modality]}\n"
        yield from _table(common_parameters(modality))
        for name, cls in types_of(modality).items():
            yield f"### {modality} with `type: {name}`\n"
            yield f"`{ros_type(cls.message_type)}`. {_description(cls)}\n"
            if cls.parameters:
                yield from _table(cls.parameters)
    yield WORKSPACES
    yield from _table(common_parameters(WORKSPACE))


def _type_rows() -> Iterator[str]:
    states, actions = types_of(STATE), types_of(ACTION)
    for name in sorted({*states, *actions}):
        message_type = (states.get(name) or actions[name]).message_type
        uses = (_description(types[name]) if name in types else "" for types in (states, actions))
        yield f"| `{name}` | `{ros_type(message_type)}` | {' | '.join(uses)} |"


def _description(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split())


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
    if isinstance(parameter.default, int) or parameter.default == []:
        return f"{parameter.minimum} … {parameter.maximum}"
    return f"{parameter.minimum:g} … {parameter.maximum:g}"


if __name__ == "__main__":
    sys.stdout.write(page())
