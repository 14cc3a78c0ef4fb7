# SPDX-License-Identifier: Apache-2.0
"""A process that ends what a killed server has left of Ray.

Ray's own processes end with the one that started them, but for some agents, which first try to
report to what has died for many minutes. This file is run by itself, without the rest of the
package: it waits for the end of its stdin, which comes with the server's, and then ends every
process that writes into the folder of that Ray. (Names and environments do not tell: Ray's
processes overwrite their own.)
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR


class Undertaker:
    """The process, as the one sees it whose end it waits for."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal is not for it
        )

    def watch(self, folder: str) -> None:
        """Tell it the folder, once."""
        if self._process.stdin is not None:
            self._process.stdin.write(folder.encode())
            self._process.stdin.flush()

    def close(self) -> None:
        """Have it do its work now; there is nothing left to do where Ray was shut down."""
        self._process.communicate()


def writers(folder: Path) -> list[int]:
    """The processes that have a file below a folder open for writing."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _writes(path, folder)]


def _writes(process: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if folder in descriptor.readlink().parents:
                    info = (process / "fdinfo" / descriptor.name).read_text()
                    if int(info.partition("flags:")[2].split()[0], 8) & WRITING:
                        return True
    return False


def main() -> None:
    """Wait, and end them."""
    server = os.getppid()
    folder = sys.stdin.buffer.read().decode()
    if not folder:
        return
    while pids := [pid for pid in writers(Path(folder)) if pid != server]:
        for pid in pids:  # and then again: what ends may have begun something meanwhile
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
