# SPDX-License-Identifier: Apache-2.0
"""A process that ends the processes of Ray that a killed server leaves behind.

Ray's processes end with the one that started them, except for some agents, which for many minutes
try to report to the processes that died. This file runs as a script, without the rest of the
package: it waits for the end of its stdin, which comes with the end of the server, and then kills
every process that writes into the session folder of that Ray. (Names and environments do not
identify them: Ray's processes overwrite their own.)
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
    """The reaper process, in the hands of the server whose end it waits for."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal does not reach it
        )

    def watch(self, folder: str) -> None:
        """Name the session folder of Ray; once."""
        if self._process.stdin is not None:
            self._process.stdin.write(folder.encode())
            self._process.stdin.flush()

    def close(self) -> None:
        """Kill what is left now, which is nothing where Ray was shut down, and end the process."""
        self._process.communicate()


def writers(folder: Path) -> list[int]:
    """The ids of processes that have a file below a folder open for writing."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _writes(path, folder)]


def _writes(process: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError):  # the process has ended, or is another user's
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if folder in descriptor.readlink().parents:
                    info = (process / "fdinfo" / descriptor.name).read_text()
                    if int(info.partition("flags:")[2].split()[0], 8) & WRITING:
                        return True
    return False


def main() -> None:
    """Wait for the end of the server, and kill what it leaves behind."""
    server = os.getppid()
    folder = sys.stdin.buffer.read().decode()
    if not folder:
        return
    while pids := [pid for pid in writers(Path(folder)) if pid != server]:
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
