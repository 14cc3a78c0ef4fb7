# SPDX-License-Identifier: Apache-2.0
"""A policy of the user's own, by the name of its class: `serve --policy my_module:MyPolicy`."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.policy import BasePolicy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CustomPolicy:
    """Makes the policy that ``module:name`` names; an instance can be pickled.

    Args:
        name: ``module:name``; the name is a class, or a function that returns a policy.
        arguments: Keyword arguments of the class or function.
        folder: The folder that the module is looked for in first, absolute.
    """

    name: str
    arguments: Mapping[str, Any]
    folder: str

    @classmethod
    def in_current_folder(cls, name: str, arguments: Mapping[str, Any]) -> CustomPolicy:
        """The policy of a module in the current folder, or of an installed one."""
        return cls(name, arguments, str(Path.cwd()))

    def make(self) -> BasePolicy:
        """Import the module and make the policy.

        Raises:
            SpecError: The module, the class or its arguments are wrong; the log has the traceback
                of what the module itself raised.
        """
        make = self._find()
        try:
            policy = make(**self.arguments)
        except PolicyError:
            raise
        except Exception as error:  # a policy of the user's may raise anything
            logger.exception("%s raised", self.name)
            raise self._error(f"cannot be made ({type(error).__name__}: {error})") from error
        if not isinstance(policy, BasePolicy):
            kind = type(policy).__name__
            raise self._error(f"makes a {kind}, which is not a gr00t_policy_core.BasePolicy")
        return policy

    def _find(self) -> Callable[..., Any]:
        module_name, _, attribute = self.name.partition(":")
        if self.folder not in sys.path:
            sys.path.insert(0, self.folder)
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            if not isinstance(error, ModuleNotFoundError) or error.name != module_name:
                logger.exception("%s raised while it was imported", module_name)
            problem = f"cannot be imported from {self.folder} ({type(error).__name__}: {error})"
            raise self._error(f"its module {problem}") from error
        make = getattr(module, attribute, None)
        if make is None:
            similar = get_close_matches(attribute, vars(module), n=1)
            hint = f" (did you mean {similar[0]}?)" if similar else ""
            raise self._error(f"{module_name} has no {attribute}{hint}")
        if not callable(make):
            raise self._error(f"is not a class or function but a {type(make).__name__}")
        return make  # type: ignore[no-any-return]

    def _error(self, problem: str) -> SpecError:
        return SpecError("bad --policy", [f"{self.name}: {problem}"])


def policy_name(text: str) -> str:
    """An argparse type: ``module:name``."""
    module, _, attribute = text.partition(":")
    parts = [*module.split("."), attribute]
    if not all(part.isidentifier() for part in parts):
        raise argparse.ArgumentTypeError(
            f"must be MODULE:NAME, such as my_module:MyPolicy, got {text!r}"
        )
    return text


def policy_argument(text: str) -> tuple[str, Any]:
    """An argparse type: ``NAME=VALUE``; the value is JSON, or else text."""
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
