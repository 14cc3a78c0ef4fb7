# SPDX-License-Identifier: Apache-2.0
"""Whether the process that started a node is still alive. Pure.

`ros2 launch` forwards SIGINT to its nodes; at SIGTERM or SIGKILL it ends and leaves them running. A
node that commands an arm must not go on when the process that would have stopped it is gone.
"""

from __future__ import annotations

import os
import select


class ParentWatch:
    """Watches a process, usually the `ros2 launch` that started this one.

    On Linux it holds a pidfd, which refers to that very process even after its number has been
    given to another process. Unlike PR_SET_PDEATHSIG it does not depend on the thread that started
    this process, nor on processes in between (a shell, `prefix`). Elsewhere it checks whether any
    process has the number.

    Args:
        pid: Number of the process; 0 for none, which never ends.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._poll: select.poll | None = None
        self._was_there = True
        if pid > 0:
            self._watch()

    def has_ended(self) -> bool:
        """Whether the process has ended or never existed; takes a microsecond."""
        if self.pid <= 0:
            return False
        if self._poll is not None:
            return bool(self._poll.poll(0))
        return not (self._was_there and _is_there(self.pid))

    def _watch(self) -> None:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._was_there = False
            return
        except (AttributeError, OSError):  # not Linux, or a kernel before 5.3
            return
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
