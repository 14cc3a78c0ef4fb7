# SPDX-License-Identifier: Apache-2.0
"""Prints docs/parameters.md from the parameter table: python scripts/parameter_docs.py > docs/…"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator

from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.contract.parameters import (
    ACTION,
    MODALITIES,
    STATE,
    TOP,
    VIDEO,
    common_parameters,
    types_of,
)
from gr00t_ros.interfaces.registry import ros_type

INTRODUCTION = """\
# Parameters

One YAML file serves both nodes; `config/example.yaml` is a starting point, `config/demo.yaml` a
working one. Keys (`<key>`) are the policy's own, as `gr00t-policy info` lists them. Wrong or
missing parameters stop `configure`, which names everything that is wrong at once; so does one that
is given where it can have no effect (column "only with"), unless it asks for nothing (`false`,
`0`, no text). The tables below are made from the code by `scripts/parameter_docs.py`;
`ros2 param describe` shows the same.
"""
SECTIONS = {
    VIDEO: "Each camera: `video.<key>.…`",
    STATE: "Each state: `state.<key>.…`",
    ACTION: "Each action: `action.<key>.…`",
}
NOTES = {
    VIDEO: "The topic's type tells whether it is a `sensor_msgs/Image` or a `CompressedImage`.",
    STATE: "`type` names the message type; what it needs beside these parameters stands below, and "
    "[how to add one of your own](how-to/add-a-message-type.md) on a page of its own. What the "
    "policy reads is `message * scale + offset`, of the values that `select` names. A state that "
    "one message does not hold has `sources`; a message that holds several states is read by each "
    "of them, with a `select` of its own.",
    ACTION: "`type` names the message type; what it needs beside these parameters stands below. An "
    "action of "
    "the policy that the robot has no use for says `ignore: true` and nothing else. Groups of "
    "joints that share a topic go out as one message. What is commanded is `policy value * scale + "
    "offset`. The command of a pose is compared with the pose that the state of the same key "
    "measures, in the same frame (`max_jump`, `max_age_s`). Every position and pose that is "
    "commanded has to be measured by a state, or the key says `unmeasured: true`. No joint is "
    "commanded twice, and no command goes out on a topic that is also read; topics are compared as "
    "ROS resolves them, within the node's namespace and after remapping.",
}


def page() -> str:
    """The whole of docs/parameters.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    yield "## Both nodes\n"
    yield from _table(TOP)
    for modality in MODALITIES:
        yield f"## {SECTIONS[modality]}\n"
        yield f"{NOTES[modality]}\n"
        yield from _table(common_parameters(modality))
        for name, cls in types_of(modality).items():
            yield f"### {modality} with `type: {name}`\n"
            description = " ".join((inspect.getdoc(cls) or "").split())
            yield f"`{ros_type(cls.message_type)}`. {description}\n"
            if cls.parameters:
                yield from _table(cls.parameters)


def _table(parameters: Iterable[Parameter]) -> Iterator[str]:
    yield "| parameter | default | range | what it is | only with |"
    yield "|---|---|---|---|---|"
    for parameter in parameters:
        default = "**required**" if parameter.required else f"`{parameter.default!r}`"
        use = parameter.only_with.text if parameter.only_with is not None else ""
        cells = (f"`{parameter.name}`", default, _range(parameter), parameter.description, use)
        yield f"| {' | '.join(cells)} |"
    yield ""


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
