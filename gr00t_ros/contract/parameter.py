# SPDX-License-Identifier: Apache-2.0
"""The description of one ROS parameter: default, range, unit, purpose, and its condition.

Pure: nothing here imports ROS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gr00t_ros.interfaces.interface import CommandInterface

Settings = Mapping[str, Any]
"""The value of each parameter by its name, its default where the user gave none."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on top-level parameters: giving a parameter while it does not hold is an error.

    Args:
        text: The condition, to be read after "only with".
        holds: Whether it holds, given all parameters by full name.
    """

    text: str
    holds: Callable[[Settings], bool]


@dataclass(frozen=True, slots=True)
class ActionCondition:
    """A condition on the commands of an action: it holds where a parameter has an effect.

    A parameter of an action needs it of that action, a top-level parameter of any action.

    Args:
        text: The condition, to be read after "only with".
        holds: Whether it holds, given the action's interface and its parameters by short name.
    """

    text: str
    holds: Callable[[CommandInterface, Settings], bool]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A condition that holds where one of several does.

    Args:
        text: The condition, to be read after "only with".
        conditions: The several.
    """

    text: str
    conditions: tuple[Condition | ActionCondition, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, or one field of every entry of a modality.

    Args:
        name: ``policy.host``, or the field's name after ``<modality>.<key>.``.
        default: The value when none is given; its type is the parameter's type.
        description: The purpose of the parameter, with its unit.
        minimum: Smallest number allowed, in the parameter's unit.
        maximum: Largest number allowed, in the parameter's unit.
        choices: The strings allowed, in a list for each item; empty for any.
        required: Whether the user has to give it, because no default makes sense.
        only_with: The condition under which it has an effect; None if it always has.
    """

    name: str
    default: bool | int | float | str | list[Any]
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    only_with: Condition | ActionCondition | AnyOf | None = None
