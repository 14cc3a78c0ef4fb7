# SPDX-License-Identifier: Apache-2.0
"""What a measurement was made with, and where."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.processes import ROOT

PACKAGES = (
    *("numpy", "msgpack", "pyzmq"),
    *("msgpack-numpy", "websockets", "grpcio"),
    "rclpy",
)


def describe(load_before: float) -> dict[str, Any]:
    """Versions, machine, date; `load_before` is the load average before the measurement."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "ros_distro": os.environ.get("ROS_DISTRO"),
        "load_average": {"before": load_before, "after": os.getloadavg()[0]},
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _version(name: str) -> str | None:
    for distribution in (name, f"ros-{os.environ.get('ROS_DISTRO', '')}-{name}"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None
