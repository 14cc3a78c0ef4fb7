# SPDX-License-Identifier: Apache-2.0
"""Gives each topic a single name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class TopicNames:
    """Maps every spelling of a topic to the first one that was used.

    Args:
        resolve: Returns the full name of a topic, after remapping and within the node's namespace.
            It raises ValueError for a text that is not a topic name.
    """

    def __init__(self, resolve: Callable[[str], str]) -> None:
        self._resolve = resolve
        self._names: dict[str, str] = {}

    def problems(self, settings: Mapping[str, Any]) -> Iterator[str]:
        """Yield a sentence for each parameter whose value is not a topic name."""
        for name, value in settings.items():
            if not name.endswith(("topic", "topics")):
                continue
            for topic in value if isinstance(value, list) else filter(None, [value]):
                try:
                    self._resolve(topic)
                except ValueError as error:
                    yield f"{name.removesuffix('.topic')}: {error}"

    def one_name(self, topic: str) -> str:
        """The first spelling of a topic; empty for an empty text."""
        return self._names.setdefault(self._resolve(topic), topic) if topic else ""


def in_root_namespace(topic: str) -> str:
    """The full name of a topic where nothing is remapped and the node has no namespace."""
    return topic if topic.startswith(("/", "~")) else f"/{topic}"
