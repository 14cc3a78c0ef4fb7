# SPDX-License-Identifier: Apache-2.0
"""Configures glibc's malloc to keep large buffers.

By default glibc may return a large buffer to the system when it is freed, and the next buffer pays
for its pages again. Measured with glibc 2.36, for two buffers of 2 x 480 x 640 x 3 bytes allocated
and freed in turn: 868 page faults each time in the main thread, none with `SETTINGS`. In threads,
where the server allocates its own buffers, glibc does so less: 5 faults for each request of that
size, 2 with `SETTINGS`, and the same round trip within noise. A policy's buffers may be in the main
thread. glibc reads the settings when a process starts, so the process must restart.
"""

from __future__ import annotations

import os
import sys

# Bytes; glibc does not accept suffixes such as "1G" here.
SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
# Limits the restarts to one, even if the system strips MALLOC_* (for file capabilities).
MARKER = "GR00T_POLICY_MALLOC_TUNED"


def restart_tuned() -> None:
    """Restart this process with `SETTINGS` in its environment; it keeps its process id.

    It returns without a restart if the process was restarted already, if the user has set the
    variables, or if there is no 64-bit glibc.
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
