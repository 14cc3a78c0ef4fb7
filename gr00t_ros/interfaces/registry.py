# SPDX-License-Identifier: Apache-2.0
"""Finds message types by their name in a YAML file, or by the class in a user's own module.

Every module of `gr00t_ros.interfaces.message_types` registers itself here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from gr00t_ros.contract.class_names import UnknownTypeError, import_class, missing_methods
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.interfaces.interface import CommandInterface, StateInterface

State = TypeVar("State", bound=type[StateInterface])
Command = TypeVar("Command", bound=type[CommandInterface])
Base = TypeVar("Base", StateInterface, CommandInterface)

MESSAGE_TYPES = "gr00t_ros.interfaces.message_types"
_STATES: dict[str, type[StateInterface]] = {}
_COMMANDS: dict[str, type[CommandInterface]] = {}


def state_interface(name: str) -> Callable[[State], State]:
    """Register a `StateInterface` under the name that a state's ``type:`` gives."""

    def register(cls: State) -> State:
        _add(_STATES, name, cls)
        return cls

    return register


def command_interface(name: str) -> Callable[[Command], Command]:
    """Register a `CommandInterface` under the name that an action's ``type:`` gives."""

    def register(cls: Command) -> Command:
        _add(_COMMANDS, name, cls)
        return cls

    return register


def state_types() -> Mapping[str, type[StateInterface]]:
    """The registered message types of states, by name."""
    import_module(MESSAGE_TYPES)
    return dict(sorted(_STATES.items()))


def command_types() -> Mapping[str, type[CommandInterface]]:
    """The registered message types of actions, by name."""
    import_module(MESSAGE_TYPES)
    return dict(sorted(_COMMANDS.items()))


def find_state(name: str) -> type[StateInterface]:
    """Find the class of a state's `type`: a registered name, or ``package.module:Class``.

    Raises:
        UnknownTypeError: There is no such class, or it is not a complete `StateInterface`.
    """
    hint = "is for actions, not for states; " if name in command_types() else ""
    return _found(name, StateInterface, state_types(), hint)


def find_command(name: str) -> type[CommandInterface]:
    """Find the class of an action's `type`: a registered name, or ``package.module:Class``.

    Raises:
        UnknownTypeError: There is no such class, or it is not a complete `CommandInterface`.
    """
    hint = "is for states, not for actions; " if name in state_types() else ""
    return _found(name, CommandInterface, command_types(), hint)


def ros_type(message_type: type[Any]) -> str:
    """The name of a class as ROS writes it: ``sensor_msgs/msg/JointState``, or of an action."""
    package, kind, *_ = message_type.__module__.split(".")
    return f"{package}/{kind}/{message_type.__name__}"


def _add(types: dict[str, Any], name: str, cls: type[Any]) -> None:
    if name in types:
        raise ValueError(f"{name} is registered twice: {types[name].__name__}, {cls.__name__}")
    types[name] = cls


def _found(name: str, base: type[Base], types: Mapping[str, type[Base]], hint: str) -> type[Base]:
    """Find a class among the registered ones, or in a user's own module."""
    if ":" in name:
        return _imported(name, base)
    if name not in types:
        raise UnknownTypeError(_not_registered(name, types, hint))
    return types[name]


def _not_registered(name: str, types: Mapping[str, object], hint: str) -> str:
    return (
        f"{name!r} {hint or 'is not a message type; '}write one of {' | '.join(types)}, or "
        f"package.module:Class for one of your own{did_you_mean(name, types)}"
    )


def _imported(name: str, base: type[Base]) -> type[Base]:
    """Import and check a class from a user's own module."""
    cls: type[Base] = import_class(name)
    problem = _class_problem(cls, base)
    if problem:
        raise UnknownTypeError(f"{name} {problem}")
    return cls


def _class_problem(cls: Any, base: type[Base]) -> str:
    """Say what a class lacks; empty for a complete one."""
    problem = missing_methods(cls, base, f"gr00t_ros.interfaces.{base.__name__}")
    if problem:
        return problem
    if not hasattr(getattr(cls, "message_type", None), "get_fields_and_field_types"):
        return "lacks message_type, the class of a ROS message"
    is_state = issubclass(cls, StateInterface)
    if is_state and cls.measures_pose and cls.pose is StateInterface.pose:
        return "measures a pose and lacks the method pose"
    return ""
