# SPDX-License-Identifier: Apache-2.0
"""Endpoints: a name, the handler that answers, and how a request's data become its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, TypeAlias

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.serving.wire.msgpack_reader import MAX_ITEMS

Handler: TypeAlias = Callable[..., Any]

# Those of a policy, and whether each takes the data of a request.
POLICY_ENDPOINTS = {
    "get_action": True,
    "reset": True,
    "get_modality_config": False,
    "get_dimensions": False,
}

_KEYWORD_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_SINGLE_KINDS = (inspect.Parameter.POSITIONAL_ONLY, *_KEYWORD_KINDS)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that a server can be asked for.

    Args:
        name: What requests call it.
        handler: Computes the answer.
        requires_input: The handler takes the request's data; otherwise it is called without.
        signature: Of the handler; None where Python cannot tell it.
        named: Its parameters that can be given by name.
        required: Its parameters without a default.
        max_items: Keys, values and list items that the data of a request may have.
    """

    name: str
    handler: Handler
    requires_input: bool
    signature: inspect.Signature | None
    named: frozenset[str]
    required: frozenset[str]
    max_items: int = MAX_ITEMS

    @classmethod
    def of(
        cls, name: str, handler: Handler, requires_input: bool, *, max_items: int = MAX_ITEMS
    ) -> Endpoint:
        """Look at the handler once, so that calls need not.

        Raises:
            SpecError: No name, or a handler that cannot be called.
        """
        if not isinstance(name, str) or not name:
            raise SpecError("bad endpoint", [f"name must be a non-empty str, got {name!r}"])
        if not callable(handler):
            raise SpecError(f"bad endpoint {name}", [f"handler is not callable: {handler!r}"])
        try:
            signature = inspect.signature(handler)
        except ValueError:
            signature = None
        parameters = signature.parameters.values() if signature else ()
        single = [p for p in parameters if p.kind in _SINGLE_KINDS]
        return cls(
            name,
            handler,
            requires_input,
            signature,
            named=frozenset(p.name for p in single if p.kind in _KEYWORD_KINDS),
            required=frozenset(p.name for p in single if p.default is p.empty),
            max_items=max_items,
        )

    def arguments(self, data: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the handler is called with for the data of a request.

        The entries of a map become keyword arguments where the handler takes just those, as
        Isaac-GR00T passes them. Anything else is passed whole, as the one argument.

        Args:
            data: None where the request has none.

        Raises:
            SpecError: The data do not fit the handler, with the fields that are missing or
                unexpected.
        """
        if not self.requires_input:
            return (), {}
        if data is None:
            if not self._binds():
                raise SpecError(f"bad request for {self.name}", ["it needs data, none came"])
            return (), {}
        if type(data) is dict and self.required <= data.keys() <= self.named:
            return (), data
        is_map = isinstance(data, dict) and all(isinstance(key, str) for key in data)
        if is_map and self._binds(**data):
            return (), data
        meant_as_entries = is_map and len(self.named) > 1 and not self.named.isdisjoint(data)
        if not meant_as_entries and self._binds(data):
            return (data,), {}
        raise SpecError(f"bad request for {self.name}", self._problems(data, is_map))

    def _binds(self, *args: Any, **kwargs: Any) -> bool:
        if self.signature is None:
            return True
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError:
            return False
        return True

    def _problems(self, data: Any, is_map: bool) -> list[str]:
        expected = ", ".join(sorted(self.named))
        if not is_map:
            return [f"data must be a map of {expected}, got {type(data).__name__}"]
        parameters = self.signature.parameters.values() if self.signature else ()
        missing = [
            f"field {p.name!r} is missing"
            for p in parameters
            if p.kind in _KEYWORD_KINDS and p.default is p.empty and p.name not in data
        ]
        unexpected = [
            f"unexpected field {key[:60]!r} (it takes {expected})"
            for key in data
            if key not in self.named
        ]
        return missing + unexpected[:5]


def of_policy(policy: object, max_items: int, taken: Container[str]) -> dict[str, Endpoint]:
    """The endpoints of a policy by name; what it lacks is answered with an empty map.

    Args:
        policy: Answers.
        max_items: As `Endpoint` takes it.
        taken: Names that somebody else answers.
    """
    return {
        name: Endpoint.of(name, getattr(policy, name, dict), takes_data, max_items=max_items)
        for name, takes_data in POLICY_ENDPOINTS.items()
        if name not in taken
    }
