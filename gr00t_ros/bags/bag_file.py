# SPDX-License-Identifier: Apache-2.0
"""What a file of a bag offers to whoever reads it, whatever its storage. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from gr00t_policy_core.errors import PolicyError


class BagError(PolicyError, ValueError):
    """A bag cannot be read; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class BagMessage:
    """A serialized message.

    Args:
        topic: The full name of its topic.
        data: The message, in CDR.
        received_ns: When it was received, by the recorder's clock, ns.
        losses: How many parts of the bag before it are lost.
        published_ns: When it was published, by the publisher's clock, ns; None where the bag does
            not say.
    """

    topic: str
    data: bytes
    received_ns: int
    losses: int = field(default=0, compare=False)
    published_ns: int | None = field(default=None, compare=False)


class BagFile(Protocol):
    """One file of a bag.

    Attributes:
        topics: The message type of each topic, such as ``sensor_msgs/msg/Image``.
        custom_data: The entries of whoever made the bag, if the file has them.
        duration_s: The time from the first message to the last, s; 0 where it is not known.
        truncated: What is missing, and why; empty for a whole file. It may be known only after all
            messages were read.
    """

    topics: dict[str, str]
    custom_data: dict[str, str]
    duration_s: float
    truncated: str

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of some topics, in the order of the file."""
