# SPDX-License-Identifier: Apache-2.0
"""The software that records, for whoever reads an episode years later. Pure."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from rclpy.utilities import get_rmw_implementation_identifier


def versions() -> dict[str, str]:
    """Version by name; what is not known is left out."""
    found = {
        "gr00t_ros": _package_version("gr00t_ros"),
        "ros_distro": os.environ.get("ROS_DISTRO", ""),
        "rmw": get_rmw_implementation_identifier(),
        "mcap": _distribution_version("mcap"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    return {name: version for name, version in found.items() if version}


def _package_version(name: str) -> str:
    """The version of a ROS package, from its package.xml."""
    try:
        text = (get_package_share_path(name) / "package.xml").read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError):
        return ""
    return text.partition("<version>")[2].partition("</version>")[0]


def _distribution_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
