# SPDX-License-Identifier: Apache-2.0
"""glibc's malloc set up to keep large buffers.

By default glibc may give a large buffer back to the system as soon as it is freed, and the next
one pays for its pages again. Measured with glibc 2.36, two buffers of 2 x 480 x 640 x 3 bytes
allocated and freed in turn: 868 page faults each time in the main thread, none with `SETTINGS`.
The server's own buffers live in threads, where glibc does so less (5 faults for each request of
that size, 2 with `SETTINGS`, the round trip the same within its noise); a policy's may not.
glibc reads the settings when a process starts, hence the restart.
"""

from __future__ import annotations

import os
import sys

# In bytes as plain numbers: glibc does not understand suffixes such as "1G" here.
SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
# Restarts once, even where the system strips MALLOC_* (an interpreter with file capabilities).
MARKER = "GR00T_POLICY_MALLOC_TUNED"


def restart_tuned() -> None:
    """Replace this process by itself with `SETTINGS`; the process id stays.

    Returns where there is nothing to do: already restarted, set by the user, or no 64-bit glibc.
    """
    wanted = {name: value for name, value in SETTINGS.items() if name not in os.environ}
    if MARKER in os.environ or not wanted or not _is_64_bit_glibc() or not sys.executable:
        return
    environment = {**os.environ, **wanted, MARKER: "1"}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _is_64_bit_glibc() -> bool:
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):
        return False
