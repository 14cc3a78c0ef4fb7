# SPDX-License-Identifier: Apache-2.0
"""Topics by the name that ROS knows them by. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class TopicNames:
    """Gives one name to every topic, however it is written: that which came first.

    Args:
        resolve: Tells what a topic is called after remapping, within the node's namespace. It
            raises ValueError for what cannot be a topic.
    """

    def __init__(self, resolve: Callable[[str], str]) -> None:
        self._resolve = resolve
        self._names: dict[str, str] = {}

    def problems(self, settings: Mapping[str, Any]) -> Iterator[str]:
        """A sentence for each parameter whose topic cannot be one."""
        for name, topic in settings.items():
            if name.endswith("topic") and topic:
                try:
                    self._resolve(topic)
                except ValueError as error:
                    yield f"{name.removesuffix('.topic')}: {error}"

    def one_name(self, topic: str) -> str:
        """The one name of a topic; empty of none."""
        return self._names.setdefault(self._resolve(topic), topic) if topic else ""


def in_root_namespace(topic: str) -> str:
    """What a topic is called where nothing is remapped and the node has no namespace."""
    return topic if topic.startswith(("/", "~")) else f"/{topic}"
