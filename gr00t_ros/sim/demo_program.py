# SPDX-License-Identifier: Apache-2.0
"""What the demo programs share: lines on the terminal, exit statuses instead of tracebacks."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

INTERRUPTED = 130


def write_line(text: str) -> None:
    """Write a line to the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def exit_status(program: str, run: Callable[[], int]) -> int:
    """Run a program whose SIGTERM is that of Ctrl-C.

    Args:
        program: Its name, before each line.
        run: Returns the exit status.

    Returns:
        What `run` returned; 1 where it raised an error of the machine or of a part, 130 where
        Ctrl-C ended it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run()
    except KeyboardInterrupt:
        write_line(f"\n{program}: ended")
        return INTERRUPTED
    except BrokenPipeError:  # the reader has gone, as in `make demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        write_line(f"\n{program}: {error.strerror or error}{where}")
    except RuntimeError as error:
        write_line(f"\n{program}: {error}")
    return 1
