# SPDX-License-Identifier: Apache-2.0
"""A process that ends the processes of Ray that a killed server leaves behind.

Ray's processes end with the one that started them, except for some agents, which for many minutes
try to report to the processes that died. This file runs as a script, without the rest of the
package: it waits for the end of its stdin, which comes with the end of the server, and then kills
every process that writes into the session folder of that Ray. (Names and environments do not
identify them: Ray's processes overwrite their own.) The folder bears the id of the server's process
(``session_<date>_<pid>``, ray/_private/node.py), so the reaper knows it before Ray has started, and
also ends what a server leaves that ends while Ray starts.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR


class OrphanReaper:
    """The reaper process, as a handle of the server whose end it waits for."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal does not reach it
        )

    def close(self) -> None:
        """Kill the remaining processes (none, if Ray was shut down), and end the reaper."""
        self._process.communicate()


def writers(server: int) -> list[int]:
    """The ids of processes that have a file of a server's Ray session open for writing.

    Args:
        server: The id of the process that started Ray.
    """
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _writes(path, server)]


def _is_of_session(file: Path, server: int) -> bool:
    return any(
        folder.name.startswith("session_") and folder.name.endswith(f"_{server}")
        for folder in file.parents
    )


def _writes(process: Path, server: int) -> bool:
    with contextlib.suppress(OSError):  # the process has ended, or is another user's
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if _is_of_session(descriptor.readlink(), server):
                    info = (process / "fdinfo" / descriptor.name).read_text()
                    if int(info.partition("flags:")[2].split()[0], 8) & WRITING:
                        return True
    return False


def main() -> None:
    """Wait for the end of the server, and kill what it leaves behind."""
    server = int(sys.argv[1])
    sys.stdin.buffer.read()
    while pids := [pid for pid in writers(server) if pid != server]:
        for pid in pids:  # and look again: a killed process may have started another one before
            _end(pid)


def _end(pid: int) -> None:
    """Kill a process, a child of this one or not, and wait until it has ended (pidfd_open(2))."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [])
        finally:
            os.close(process)


if __name__ == "__main__":
    main()
