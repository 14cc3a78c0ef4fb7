# SPDX-License-Identifier: Apache-2.0
"""Endpoints: names that clients ask for, and the handlers that answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.serving.wire.envelope import HEAD_ITEMS
from gr00t_policy_core.serving.wire.msgpack_reader import MAX_ITEMS

Handler: TypeAlias = Callable[..., Any]

ACTION_ENDPOINT = "get_action"
# The endpoints of a policy, and whether each takes the data of a request.
POLICY_ENDPOINTS = {
    ACTION_ENDPOINT: True,
    "reset": True,
    "get_modality_config": False,
    "get_dimensions": False,
}

_KEYWORD_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_SINGLE_KINDS = (inspect.Parameter.POSITIONAL_ONLY, *_KEYWORD_KINDS)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A handler under the name that clients ask for.

    Args:
        name: The name that requests carry as ``endpoint``.
        handler: Computes the result. What it raises becomes an error reply.
        requires_input: Whether the handler takes the request's data; if not, it gets no arguments.
        signature: The handler's signature; None if Python cannot determine it.
        named: The parameters that can be given by name.
        required: The parameters without a default.
        max_items: How many keys, values and list items the data of a request may have.
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
        """Make an endpoint, and inspect the signature of its handler once for all calls.

        Raises:
            SpecError: `name` is not a non-empty str, or `handler` is not callable.
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
        """The arguments to call the handler with: ``(args, kwargs)``.

        The entries of a map become keyword arguments where the handler takes just those, as
        Isaac-GR00T passes them. Anything else is passed whole, as the only argument.

        Args:
            data: The decoded data of a request; None where it has none.

        Raises:
            SpecError: The data do not fit the handler. It names missing and unexpected fields.
        """
        if not self.requires_input:
            return (), {}
        if data is None:
            if not self._binds():
                raise SpecError(
                    f"bad request for {self.name}", ["it needs data, the request has none"]
                )
            return (), {}
        if type(data) is dict and self.required <= data.keys() <= self.named:
            return (), data
        is_map = isinstance(data, dict) and all(isinstance(key, str) for key in data)
        if is_map and self._binds(**data):
            return (), data
        looks_like_entries = is_map and len(self.named) > 1 and not self.named.isdisjoint(data)
        if not looks_like_entries and self._binds(data):
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


class EndpointTable:
    """The endpoints whose handlers run in the policy's threads, by name. Thread-safe."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}

    def register(self, endpoint: Endpoint) -> None:
        """Add an endpoint; it replaces one of the same name."""
        self._endpoints[endpoint.name] = endpoint

    def register_policy(self, policy: object, max_items: int) -> None:
        """Add the endpoints of a policy, except those whose names are registered already.

        A method that the policy lacks is answered with an empty map.

        Args:
            policy: Its methods of the names in `POLICY_ENDPOINTS` become the handlers.
            max_items: The limit of `Endpoint` for each of them.
        """
        for name, takes_data in POLICY_ENDPOINTS.items():
            if name not in self._endpoints:
                handler = getattr(policy, name, dict)
                self.register(Endpoint.of(name, handler, takes_data, max_items=max_items))

    def find(self, name: str) -> Endpoint | None:
        """Return the endpoint of a name; None if there is none."""
        return self._endpoints.get(name)

    def names(self) -> set[str]:
        """The names of all endpoints."""
        return set(self._endpoints)

    def max_items(self, name: str) -> int:
        """Return how many items the data of a request for `name` may have; few if it is unknown."""
        endpoint = self._endpoints.get(name)
        return HEAD_ITEMS if endpoint is None else endpoint.max_items
