# SPDX-License-Identifier: Apache-2.0
"""What a client tells about the robot that it drives, with its requests and between them.

It is for the people who watch a fleet (`gr00t-policy top`, metrics): no policy gets to see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gr00t_policy_core.errors import PolicyError

# The key of ``options``, the endpoint between requests, and the capability of a server with both.
CLIENT_INFO = "client_info"
MAX_CHARS = 120  # of a text; the rest is cut off
MAX_COUNTS = 16  # outcomes or reasons; the rarest are left out
MAX_ITEMS = 1000  # keys and values of a message: a robot counts at most some dozens of reasons
TEXTS = ("robot", "task", "state", "reason")
COUNTS = ("outcomes", "holds")


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """A robot as its client describes it. Everything may be empty.

    Args:
        robot: Name of the robot.
        task: What it is doing: the instruction.
        state: State of its control node, such as ``running``.
        reason: Why it does not move.
        outcomes: Number of ended tasks by outcome.
        holds: Number of times that it came to hold, by reason.
    """

    robot: str = ""
    task: str = ""
    state: str = ""
    reason: str = ""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    holds: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any) -> ClientInfo:
        """Read what a client sent, capped to what a server keeps of each client.

        Args:
            value: A map with some of the fields; others are left out.

        Raises:
            PolicyError: It is not a map, or a field has another type.
        """
        if not isinstance(value, Mapping):
            raise PolicyError(f"{CLIENT_INFO} must be a map, got {_kind(value)}")
        texts = {name: _text(name, value.get(name, "")) for name in TEXTS}
        counts = {name: _counts(name, value.get(name, {})) for name in COUNTS}
        return cls(
            robot=texts["robot"],
            task=texts["task"],
            state=texts["state"],
            reason=texts["reason"],
            outcomes=counts["outcomes"],
            holds=counts["holds"],
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain data."""
        texts = {name: getattr(self, name) for name in TEXTS}
        return {**texts, **{name: dict(getattr(self, name)) for name in COUNTS}}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise PolicyError(f"{CLIENT_INFO}.{name} must be a text, got {_kind(value)}")
    return value[:MAX_CHARS]


def _counts(name: str, value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise PolicyError(f"{CLIENT_INFO}.{name} must be a map of counts, got {_kind(value)}")
    for key, count in value.items():
        is_count = isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**63
        if not isinstance(key, str) or not is_count:
            raise PolicyError(f"{CLIENT_INFO}.{name} must map texts to counts, has {key!r}")
    largest = sorted(value.items(), key=lambda item: -item[1])[:MAX_COUNTS]
    return {key[:MAX_CHARS]: count for key, count in largest}


def _kind(value: Any) -> str:
    return type(value).__name__
