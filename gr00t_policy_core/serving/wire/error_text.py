# SPDX-License-Identifier: Apache-2.0
"""Error texts: for a client, without the server's paths, and for the server's own log."""

from __future__ import annotations

import re
from pathlib import PurePath

from gr00t_policy_core.errors import PolicyError, printable

MAX_ERROR_CHARS = 2000

_START = r"(?:file://)?(?:~[\w-]*|\.{1,2})?"
_PART = r"[^\s/'\"`<>|,;:()\[\]{}]+"
# Paths of at least two components: "m/s" is not a path, "/joint_states" not of a file system.
_QUOTED_PATH = re.compile(rf"(?P<quote>['\"`])(?P<path>{_START}/[^'\"`\n/]+/[^'\"`\n]*)(?P=quote)")
_BARE_PATH = re.compile(rf"(?:\bfile:/|(?<![\w./~]))(?P<path>{_START}/(?:{_PART}/)+(?:{_PART})?)")


def error_text(error: BaseException) -> str:
    """An error for a client: one line, without a traceback and without paths of the server."""
    text = _text(error)[: 2 * MAX_ERROR_CHARS]
    if isinstance(error, OSError) and not isinstance(error, PolicyError):
        text = str(error.strerror or "failed")
    file = getattr(error, "file", None)
    if isinstance(file, PurePath):
        text = text.replace(str(file), _name(str(file)))
    text = _QUOTED_PATH.sub(lambda m: f"{m['quote']}{_name(m['path'])}{m['quote']}", text)
    text = _BARE_PATH.sub(lambda m: _name(m["path"]), text)
    return _with_kind(error, text)


def log_text(error: BaseException) -> str:
    """An error for the server's log: with paths, which the operator of the server needs."""
    return _with_kind(error, _text(error))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as unprintable:
        return f"unprintable ({type(unprintable).__name__})"


def _with_kind(error: BaseException, text: str) -> str:
    if not isinstance(error, PolicyError):
        kind = type(error).__name__
        text = f"{kind}: {text}" if text else kind
    return printable(text[:MAX_ERROR_CHARS])


def _name(path: str) -> str:
    return f"…/{path.rstrip('/').rpartition('/')[2]}"
