# SPDX-License-Identifier: Apache-2.0
"""Which robot description counts where several topics may carry one. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class DescriptionChoice:
    """The topic of the description in use: the earliest of a list wins.

    A description on a later topic is used until then.

    Args:
        topics: The topics, in order of preference.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self.topics = tuple(topics)
        self._rank = len(self.topics)

    @property
    def topic(self) -> str:
        """The topic on which the description arrived; empty before that."""
        return self.topics[self._rank] if self._rank < len(self.topics) else ""

    def prefers(self, topic: str) -> bool:
        """Whether a description on this topic replaces the one in use; it is the choice then."""
        rank = self.topics.index(topic)
        if rank > self._rank:
            return False
        self._rank = rank
        return True
