# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for ROS packages: launch files and executables that write down what they are given."""

from __future__ import annotations

import json
from pathlib import Path

# A launch file that notes the launch configurations it sees. It declares arguments of its own that
# are named like ours, as drivers do.
LAUNCH_FILE = """\
import json

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction


def note(context):
    with open({notes!r}, "a") as file:
        file.write(json.dumps(dict(context.launch_configurations)) + "\\n")


def generate_launch_description():
    declared = [DeclareLaunchArgument(name, default_value="its own") for name in {declared!r}]
    return LaunchDescription([*declared, OpaqueFunction(function=note)])
"""
EXECUTABLE = """\
#!/bin/sh
echo "$@" >> {notes}
"""


class PackageDoubles:
    """A prefix of stand-ins that is searched before the installed packages.

    Args:
        prefix: An empty folder.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix

    def add_launch_file(self, package: str, name: str, *, declared: tuple[str, ...] = ()) -> None:
        """Add a launch file to the stand-in of a package.

        Args:
            package: The package.
            name: The file's name.
            declared: Arguments that it declares, with a default.
        """
        folder = self._share(package) / "launch"
        folder.mkdir(exist_ok=True)
        notes = str(self._notes(package))
        (folder / name).write_text(LAUNCH_FILE.format(notes=notes, declared=declared))

    def add_executable(self, package: str, name: str) -> None:
        """Add an executable to the stand-in of a package."""
        self._share(package)
        file = self.prefix / "lib" / package / name
        file.parent.mkdir(parents=True)
        file.write_text(EXECUTABLE.format(notes=self._notes(package)))
        file.chmod(0o755)

    def launched(self, package: str) -> list[dict[str, str]]:
        """The launch configurations that each include of the package's launch file has seen."""
        return [json.loads(line) for line in self._lines_of(package)]

    def executed(self, package: str) -> list[str]:
        """The arguments of each start of the package's executable."""
        return self._lines_of(package)

    def _lines_of(self, package: str) -> list[str]:
        notes = self._notes(package)
        return notes.read_text().splitlines() if notes.exists() else []

    def _share(self, package: str) -> Path:
        marker = self.prefix / "share/ament_index/resource_index/packages" / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        share = self.prefix / "share" / package
        share.mkdir(exist_ok=True)
        return share

    def _notes(self, package: str) -> Path:
        return self.prefix / f"{package}.notes"
