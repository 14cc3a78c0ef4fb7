# SPDX-License-Identifier: Apache-2.0
"""Classes of a user's own, by ``package.module:Class``."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from gr00t_ros.contract.suggestions import did_you_mean


class UnknownTypeError(ValueError):
    """A `type:` does not name a class that fits; the text says what is wrong."""


def import_class(name: str) -> Any:
    """Import what ``package.module:Class`` names.

    Raises:
        UnknownTypeError: There is no such module or class.
    """
    module_name, _, class_name = name.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise UnknownTypeError(f"{module_name} cannot be imported ({reason})") from error
    cls = getattr(module, class_name, None)
    if cls is None:
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        hint = did_you_mean(class_name, classes)
        raise UnknownTypeError(f"{module_name} has no class {class_name}{hint}")
    return cls


def missing_methods(cls: Any, base: type[Any], base_name: str) -> str:
    """Say what keeps a class from being a complete subclass; empty where nothing does.

    Args:
        cls: Anything that a user has named.
        base: The abstract class that it has to derive from.
        base_name: The name that users import `base` by.
    """
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        return f"is not a subclass of {base_name}"
    missing = sorted(cls.__abstractmethods__)
    if missing:
        noun = "method" if len(missing) == 1 else "methods"
        return f"lacks the {noun} {', '.join(missing)}"
    return ""
