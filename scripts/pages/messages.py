# SPDX-License-Identifier: Apache-2.0
"""Prints docs/reference/messages.md from the interface files: `make reference`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "msg"
INTRODUCTION = """\
# Messages

The messages, services and actions of the package, each with the comments of its file in `msg/`,
`srv/` and `action/`. Values are in SI units and radians. This page is made from the files by `make
reference`; `ros2 interface show gr00t_ros/msg/ActionChunk` shows the same.
"""
# The messages that nodes publish; all others are parts of these.
PUBLISHED = (
    *("ActionChunk", "PolicyStatus", "ControlStatus"),
    *("TaskStatus", "RecorderStatus", "VisualizationStatus"),
)
# The parts of a service and of an action, in the order of their files.
PARTS = {"srv": ("request", "response"), "action": ("goal", "result", "feedback")}
LINE = re.compile(r"(?P<type>\S+)\s+(?P<name>\w+)(?:=(?P<value>\S+))?\s*(?:#\s*(?P<comment>.*))?$")


@dataclass(frozen=True, slots=True)
class Member:
    """One field, or one constant, whose `value` is not empty; `heading` is that of its group."""

    type: str
    name: str
    value: str
    comment: str
    heading: str = ""


def page() -> str:
    """The whole of docs/reference/messages.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    names = sorted(path.stem for path in FOLDER.glob("*.msg"))
    first = [name for name in PUBLISHED if name in names]
    for name in (*first, *(name for name in names if name not in first)):
        header, members = parse((FOLDER / f"{name}.msg").read_text(encoding="utf-8"))
        yield f"## {name}\n"
        yield from _header(header)
        yield from _tables("field", members, names)
    for kind, parts in PARTS.items():
        for path in sorted((ROOT / kind).glob(f"*.{kind}")):
            yield f"## {path.stem}\n"
            yield from _sections(path.read_text(encoding="utf-8"), parts, names)


def _sections(text: str, parts: Sequence[str], messages: Sequence[str]) -> Iterator[str]:
    """A service or an action: its opening comment, and a table for each part."""
    first, *others = text.split("---\n")
    header, members = parse(first)
    yield from _header(header)
    for part, found in zip(parts, (members, *(parse(other)[1] for other in others)), strict=True):
        yield from _tables(part, found, messages)


def parse(text: str) -> tuple[list[str], list[Member]]:
    """The opening comment line by line, and the members in order.

    A line with nothing but a comment goes on with the comment of the member before it. After an
    empty line it is the heading of the members up to the next empty line.
    """
    lines = text.splitlines()
    length = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = [line.removeprefix("#").removeprefix(" ") for line in lines[:length]]
    members: list[Member] = []
    heading, is_heading = "", True
    for line in map(str.strip, lines[length:]):
        more = line.removeprefix("#").strip()
        if not line:
            heading, is_heading = "", True
        elif line.startswith("#") and is_heading:
            heading = f"{heading} {more}".strip()
        elif line.startswith("#"):
            last = members[-1]
            members[-1] = replace(last, comment=f"{last.comment} {more}".strip())
        else:
            match = LINE.match(line)
            if match is None:
                raise ValueError(f"no field, constant or comment: {line!r}")
            found = {key: value or "" for key, value in match.groupdict().items()}
            members.append(Member(**found, heading=heading))
            is_heading = False
    return header, members


def _header(lines: Sequence[str]) -> Iterator[str]:
    """The opening comment as Markdown: `Name:  text` lines become a list of their own."""
    for line in lines:
        found = re.match(r"(Published by|Offered by|Rate|QoS): +(.*)", line)
        text = _cell(re.sub(r"^ {4,}", "  ", line))
        yield f"- **{found[1]}**: {_cell(found[2])}" if found else text
    yield ""


def _tables(kind: str, members: Sequence[Member], messages: Sequence[str]) -> Iterator[str]:
    """A table of the constants, and one of the fields below each heading."""
    yield from _table("constant", [member for member in members if member.value], messages)
    fields = [member for member in members if not member.value]
    for heading, group in groupby(fields, key=lambda member: member.heading):
        if heading:
            yield f"{_cell(heading)}:\n"
        yield from _table(kind, list(group), messages)


def _table(kind: str, members: Sequence[Member], messages: Sequence[str]) -> Iterator[str]:
    if not members:
        return
    if kind == "constant":
        yield "| constant | value | meaning |"
        yield "|---|---|---|"
        for member in members:
            yield f"| `{member.name}` | {member.value} | {_cell(member.comment)} |"
    else:
        yield f"| {kind} | type | meaning |"
        yield "|---|---|---|"
        for member in members:
            kind_of = member.type.removesuffix("[]")
            link = (
                f"[`{member.type}`](#{kind_of.lower()})"
                if kind_of in messages
                else f"`{member.type}`"
            )
            yield f"| `{member.name}` | {link} | {_cell(member.comment)} |"
    yield ""


def _cell(text: str) -> str:
    """Text as Markdown: what is not code in backticks is escaped."""
    parts = text.replace("|", "\\|").split("`")
    plain = [re.sub(r"([*~])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(
        part for pair in zip_longest(plain, parts[1::2]) for part in pair if part is not None
    )


if __name__ == "__main__":
    sys.stdout.write(page())
