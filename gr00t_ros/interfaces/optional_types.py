# SPDX-License-Identifier: Apache-2.0
"""Messages and actions of packages that not every machine has, such as control_msgs."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class MissingType:
    """Stands for a class of a ROS package that is not installed; it has the name of the class."""


def optional_type(package: str, kind: str, name: str) -> type[Any]:
    """Return a message, service or action class, or a `MissingType` where the package is missing.

    Args:
        package: The ROS package, such as ``control_msgs``.
        kind: ``msg``, ``srv`` or ``action``.
        name: The name of the class.
    """
    try:
        cls: type[Any] = getattr(import_module(f"{package}.{kind}"), name)
    except (ImportError, AttributeError):
        return type(name, (MissingType,), {"__module__": f"{package}.{kind}"})
    return cls


def why_missing(cls: type[Any]) -> str:
    """Say what to install for a class of `optional_type`; empty where it is there."""
    if not issubclass(cls, MissingType):
        return ""
    package = cls.__module__.partition(".")[0]
    return (
        f"{package} with {cls.__name__} is not installed: "
        f"sudo apt install ros-$ROS_DISTRO-{package.replace('_', '-')}"
    )


def require_installed(cls: type[Any]) -> None:
    """Require that a class of `optional_type` is there.

    Raises:
        ValueError: Its package is not installed; the text says what to install.
    """
    missing = why_missing(cls)
    if missing:
        raise ValueError(missing)
