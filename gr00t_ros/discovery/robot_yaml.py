# SPDX-License-Identifier: Apache-2.0
"""Writes a proposal as the YAML file of both nodes, with comments for whoever reads it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gr00t_ros.discovery.matching import Entry, Proposal

FOUND_DESCRIPTION = "/robot_description"  # by the nodes, without a parameter
# An arm of any size may begin with these; above what a robot description allows, that applies.
STARTING_LIMITS = (
    "max_velocity: 1.0   # rad/s; begin slowly",
    "max_acceleration: 5.0   # rad/s²",
)
SLIDING_LIMITS = (
    "max_velocity: 0.1   # m/s, for what slides; 1 value, or one for each joint",
    "max_acceleration: 0.5   # m/s²",
)
OR_WHERE = {
    "action": "or, if that controller is active",
    "state": "or, if the robot is measured there",
}
IGNORED: Mapping[str, object] = {"ignore": True}
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.]*")
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "inf", "nan"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHead:
    """What the file says beside the keys.

    Args:
        host: Of the policy server.
        port: Its TCP port.
        action_rate_hz: The rate of the data that the policy was trained on, Hz.
        has_instruction: Whether the policy takes an instruction.
        descriptions: Topics of robot descriptions, whose limits apply.
        sliding_joints: The prismatic joints, whose limits are in metres.
        server_key: Public key of a secured server, or its file; empty: none.
        keys: File of the nodes' own keys; empty: none.
    """

    host: str
    port: int
    action_rate_hz: float
    has_instruction: bool
    descriptions: tuple[str, ...]
    sliding_joints: frozenset[str] = frozenset()
    server_key: str = ""
    keys: str = ""


def robot_yaml(proposal: Proposal, head: FileHead) -> str:
    """Return the text of the file, which `gr00t-policy check` reads."""
    return "\n".join(_lines(proposal, head)) + "\n"


def _lines(proposal: Proposal, head: FileHead) -> Iterator[str]:
    yield "# Written by `gr00t-policy new-robot` from a running robot. Names were matched, neither"
    yield "# units nor directions were: read all of it before the robot moves."
    yield "/**:"
    yield "  ros__parameters:"
    yield from _policy(head)
    if head.has_instruction:
        yield '    instruction: ""           # what the robot is to do'
    yield f"    action_rate_hz: {head.action_rate_hz}        # Hz, the rate of the training data"
    yield "    control_rate_hz: 100.0      # Hz, no more than the controllers take"
    yield from _description(head.descriptions)
    yield from _section(
        "video", proposal.video, ["rate_hz: 30.0   # expected; a slower camera is reported"]
    )
    yield from _section(
        "state",
        proposal.state,
        ["scale: 57.29577951308232   # where the policy was trained on degrees"],
    )
    yield from _section(
        "action",
        proposal.action,
        ["scale: 0.017453292519943295   # where the policy answers degrees"],
        head.sliding_joints,
    )


def _policy(head: FileHead) -> Iterator[str]:
    """The server. A token is a secret, and this file is one that others read."""
    yield "    policy:"
    yield "      backend: server"
    yield f"      host: {_value(head.host)}"
    yield f"      port: {head.port}"
    if head.server_key:
        yield f"      server_key: {_value(head.server_key)}"
    if head.keys:
        yield f"      keys: {_value(head.keys)}"
    yield "      # token: what the server was given as --api-token, if anything"


def _description(topics: tuple[str, ...]) -> Iterator[str]:
    """Name the topic of the robot description, where the nodes would not find it."""
    if not topics:
        yield "    # No robot_description was published: give min_position and max_position below."
    elif FOUND_DESCRIPTION in topics:
        return
    elif len(topics) == 1:
        yield f"    robot_description_topic: {_value(topics[0])}"
    else:
        yield "    # Several descriptions were published; give one as robot_description_topic:"
        yield f"    # {_printable(', '.join(topics))}"


def _section(
    modality: str,
    entries: Sequence[Entry],
    suggestions: Sequence[str],
    sliding_joints: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """Yield a block for each key; one line for each parameter where a key has a dot.

    When a block ends, rcl drops only the last part of its name, see `parameter_files`.
    """
    yield ""
    is_flat = any("." in entry.key for entry in entries)
    if not is_flat and any(_parameters(modality, entry) for entry in entries):
        yield f"    {modality}:"
    for entry in entries:
        name = f"{modality}.{entry.key}" if is_flat else _value(entry.key)
        margin = "    " if is_flat else "      "
        if entry.why:
            yield f"{margin}# {_printable(name)}: nothing was found. {_printable(entry.why)}"
        parameters = _parameters(modality, entry)
        if parameters and not is_flat:
            yield f"{margin}{name}:"
        slides = not sliding_joints.isdisjoint(_joints(parameters))
        limits = STARTING_LIMITS if modality == "action" and _joints(parameters) else ()
        lines = [f"{parameter}: {_value(value)}" for parameter, value in parameters.items()]
        for line in [*lines, *(() if slides else limits)]:
            parameter, _, value = line.partition(": ")
            place = margin + _value(f"{name}.{parameter}") if is_flat else f"{margin}  {parameter}"
            yield f"{place}: {value}"
        for alternative in entry.alternatives:
            yield f"{margin}  # {OR_WHERE[modality]}: {_printable(alternative)}"
        if not entry.why:
            more = [*suggestions, *(SLIDING_LIMITS if slides else ())]
            yield from (f"{margin}  # {suggestion}" for suggestion in more)


def _joints(parameters: Mapping[str, object]) -> list[str]:
    joints = parameters.get("joints")
    return joints if isinstance(joints, list) else []


def _parameters(modality: str, entry: Entry) -> Mapping[str, object]:
    """The parameters of an entry; an action for which nothing was found moves nothing."""
    return IGNORED if modality == "action" and not entry.parameters else entry.parameters


def _value(value: object) -> str:
    """A value in YAML's flow style. JSON is YAML, and quotes what YAML might read otherwise."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(character: str) -> str:
    """A character of a quoted text; YAML knows no pairs of surrogates, as JSON writes them."""
    if character.isascii():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _printable(text: str) -> str:
    """One line of a comment, whatever names a graph has."""
    return "".join(c if c.isprintable() else "?" for c in text)
