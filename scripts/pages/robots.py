# SPDX-License-Identifier: Apache-2.0
"""Prints docs/reference/robots.md from the notes in robots/: `make reference`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "robots"
INTRODUCTION = """\
# Known robots

`robots/` has a folder for each of these robots: the YAML file of both nodes with limits, a launch
file, and notes on what was verified and what was not. The launch file starts the robot's driver as
well where there is an official one; `driver:=false` leaves that out. The other arguments of
`policy.launch.py` (`port`, `instruction`, …) and of the driver's launch file can be given, too.
**None of them has run on the robot itself**: begin slowly, and with an emergency stop within reach.
`ros2 pkg prefix --share gr00t_ros` shows where they are installed. This page is made from their
notes by `make reference`.

[Check or write a robot's file](../how-to/check-a-robot.md) helps with a robot that is not here.
"""


def page() -> str:
    """The whole of docs/reference/robots.md."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    folders = sorted(path.parent for path in FOLDER.glob("*/README.md"))
    yield "| robot | files |"
    yield "|---|---|"
    for folder in folders:
        title = _title(folder)
        files = ", ".join(f"`{folder.name}/{file.name}`" for file in _files(folder))
        yield f"| [{title}](#{_anchor(title)}) | {files} |"
    yield ""
    for folder in folders:
        text = (folder / "README.md").read_text(encoding="utf-8")
        yield _one_level_down(text)


def _title(folder: Path) -> str:
    first = (folder / "README.md").read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ")


def _files(folder: Path) -> list[Path]:
    """The YAML files, the robot's main one first."""
    return sorted(folder.glob("*.yaml"), key=lambda file: (file.stem != "robot", file.name))


def _anchor(title: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _one_level_down(text: str) -> str:
    """The text with its headings one level lower; those within a robot without an anchor."""
    lines = []
    for line in text.splitlines():
        if line.startswith("## "):
            line = f"**{line.removeprefix('## ')}**"
        elif line.startswith("# "):
            line = f"#{line}"
        lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
