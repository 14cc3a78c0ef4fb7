# SPDX-License-Identifier: Apache-2.0
"""Finds enders by their name in a goal, or by the class in a user's own module.

Every module of `gr00t_ros.task.enders` registers itself here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TypeVar

from gr00t_ros.contract.class_names import UnknownTypeError, import_class, missing_methods
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.task.ender import Ender

EnderClass = TypeVar("EnderClass", bound=type[Ender])

ENDERS = "gr00t_ros.task.enders"
_ENDERS: dict[str, type[Ender]] = {}


def ender(name: str) -> Callable[[EnderClass], EnderClass]:
    """Register an `Ender` under the name that a goal's ``type`` gives.

    Raises:
        ValueError: The name is taken.
    """

    def register(cls: EnderClass) -> EnderClass:
        if name in _ENDERS:
            taken = _ENDERS[name].__name__
            raise ValueError(f"{name} is registered twice: {taken}, {cls.__name__}")
        _ENDERS[name] = cls
        return cls

    return register


def ender_types() -> Mapping[str, type[Ender]]:
    """The registered enders, by name."""
    import_module(ENDERS)
    return dict(sorted(_ENDERS.items()))


def find_ender(name: str) -> type[Ender]:
    """Find the class of an ender's `type`: a registered name, or ``package.module:Class``.

    Raises:
        UnknownTypeError: There is no such class, or it is not a complete `Ender`.
    """
    types = ender_types()
    if ":" in name:
        cls: type[Ender] = import_class(name)
        problem = missing_methods(cls, Ender, "gr00t_ros.task.Ender")
        if problem:
            raise UnknownTypeError(f"{name} {problem}")
        return cls
    if name not in types:
        raise UnknownTypeError(
            f"{name!r} is not an ender; write one of {' | '.join(types)}, or package.module:Class "
            f"for one of your own{did_you_mean(name, types)}"
        )
    return types[name]
