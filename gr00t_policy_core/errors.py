# SPDX-License-Identifier: Apache-2.0
"""The errors of this package, all derived from `PolicyError`.

Each also derives from the built-in error that Isaac-GR00T raises in its place.
"""

from __future__ import annotations

from pathlib import Path


def printable(text: str) -> str:
    """The text with its unprintable characters escaped.

    Error texts quote what a peer has sent, which could otherwise control a terminal or forge a line
    in a log.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class PolicyError(Exception):
    """The base class: a policy did not compute an action. Its text is one printable line."""

    def __str__(self) -> str:
        return printable(super().__str__())


class SpecError(PolicyError, ValueError):
    """An observation, an action or a setting is wrong.

    Args:
        what: What is wrong, for example ``bad observation``.
        problems: One sentence for each problem, which names the key or the setting.
    """

    def __init__(self, what: str, problems: list[str]) -> None:
        super().__init__(f"{what}: {'; '.join(problems)}")
        self.what = what
        self.problems = [printable(problem) for problem in problems]

    def __reduce__(self) -> tuple[type[SpecError], tuple[str, list[str]]]:
        return type(self), (self.what, self.problems)  # for pickle, between processes


class DatasetError(PolicyError, ValueError):
    """A dataset cannot be read: a file is missing, damaged, or of another kind.

    Args:
        file: The path of the file.
        problem: What is wrong with it, as the end of a sentence that begins with the path.
    """

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file
        self.problem = problem

    def __reduce__(self) -> tuple[type[DatasetError], tuple[Path, str]]:
        return type(self), (self.file, self.problem)


class CheckpointError(PolicyError, ValueError):
    """A checkpoint cannot be used: a file is missing, damaged, or of another kind.

    Args:
        file: The path of the file.
        problem: What is wrong with it, as the end of a sentence that begins with the path.
    """

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file
        self.problem = problem

    def __reduce__(self) -> tuple[type[CheckpointError], tuple[Path, str]]:
        return type(self), (self.file, self.problem)


class ProtocolError(PolicyError, ValueError):
    """Received bytes are not a valid message: malformed, too large, or a forbidden array type."""


class EncodingError(PolicyError, TypeError):
    """An object cannot be encoded in a message."""


class RemoteError(PolicyError, RuntimeError):
    """The server answered a request with an error."""


class PolicyTimeoutError(PolicyError, TimeoutError):
    """No reply came before the timeout, or the connection was lost before it."""


class AddressError(PolicyError, OSError):
    """A server cannot listen on an address, or a client cannot connect to it."""


class ClosedError(PolicyError, RuntimeError):
    """A client or server was used after `close()`."""
