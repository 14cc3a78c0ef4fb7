# SPDX-License-Identifier: Apache-2.0
"""Single keys from a terminal, without Enter. Pure."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import tty
from collections.abc import Iterator

SPACE, BACKSPACE, QUIT = " ", "\x7f", "q"
SAME_KEYS = {"\b": BACKSPACE, "\x04": QUIT}  # what other terminals send; Ctrl-D


class TerminalKeys:
    """Reads keys from a terminal in cbreak mode.

    Args:
        descriptor: The terminal.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, timeout_s: float) -> str:
        """The next key, `QUIT` when the terminal is closed; empty when the time is over."""
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return ""
        try:
            data = os.read(self._descriptor, 64)
        except OSError:  # its other end has gone
            return QUIT
        if not data:
            return QUIT
        if data.startswith(b"\x1b"):
            return ""  # an arrow or a function key
        key = chr(data[0]).lower()
        return SAME_KEYS.get(key, key)


@contextlib.contextmanager
def terminal_keys(descriptor: int) -> Iterator[TerminalKeys]:
    """Have keys come one by one and unseen within the context.

    Raises:
        OSError: The descriptor is not a terminal.
    """
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:
        raise OSError("keys are read from a terminal; stdin is none") from None
    try:
        tty.setcbreak(descriptor)
        yield TerminalKeys(descriptor)
    finally:
        with contextlib.suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
