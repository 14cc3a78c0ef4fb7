# SPDX-License-Identifier: Apache-2.0
"""One small family of errors: catch `PolicyError` for all of them.

Each also derives from the built-in that existing Isaac-GR00T code catches in its place.
"""

from __future__ import annotations

from pathlib import Path


def printable(text: str) -> str:
    """The text with everything escaped that is not printable.

    Texts hold what the other end of a connection has sent: as it is, it could steer a terminal or
    begin a line of its own in a log.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class PolicyError(Exception):
    """Anything that kept a policy from answering. As text it is one printable line."""

    def __str__(self) -> str:
        return printable(super().__str__())


class SpecError(PolicyError, ValueError):
    """An observation, an action or a setting does not fit what is expected of it.

    `problems` holds one sentence for each thing that is wrong.
    """

    def __init__(self, what: str, problems: list[str]) -> None:
        super().__init__(f"{what}: {'; '.join(problems)}")
        self.what = what
        self.problems = [printable(problem) for problem in problems]

    def __reduce__(self) -> tuple[type[SpecError], tuple[str, list[str]]]:
        return type(self), (self.what, self.problems)  # as it crosses to another process


class DatasetError(PolicyError, ValueError):
    """A recorded dataset that cannot be played: `file` is missing, damaged, or of another kind."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file
        self.problem = problem

    def __reduce__(self) -> tuple[type[DatasetError], tuple[Path, str]]:
        return type(self), (self.file, self.problem)


class CheckpointError(PolicyError, ValueError):
    """A model's checkpoint that cannot be run: `file` is missing, damaged, or of another kind."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file
        self.problem = problem

    def __reduce__(self) -> tuple[type[CheckpointError], tuple[Path, str]]:
        return type(self), (self.file, self.problem)


class ProtocolError(PolicyError, ValueError):
    """Bytes that are no message of ours: malformed, oversized, or a refused kind of array."""


class EncodingError(PolicyError, TypeError):
    """An object that cannot be put into a message."""


class RemoteError(PolicyError, RuntimeError):
    """The server answered that it could not do what was asked."""


class PolicyTimeoutError(PolicyError, TimeoutError):
    """No answer within the time allowed, or none that can still come: the connection was lost."""


class AddressError(PolicyError, OSError):
    """An address that cannot be listened on or connected to."""


class ClosedError(PolicyError, RuntimeError):
    """A client or server was used after `close()`."""
