# SPDX-License-Identifier: Apache-2.0
"""The processes of a measurement: each prints lines of JSON, and ends when its stdin does."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, cast

from gr00t_policy_core.malloc import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
MALLOC = ("default", "tuned")
END_S = 10.0
LOOK_S = 0.5  # between two looks at the processes that a line depends on


def environment(malloc: str, added: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with glibc's malloc as it is by default, or tuned."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    return {**plain, **(SETTINGS if malloc == "tuned" else {}), **(added or {})}


def keep_to_half_of_the_cores(first: bool) -> None:
    """Run on the first or the other half of the cores, where there are two.

    Which cores the two ends of a connection run on decides more than how they speak: the same
    1.8 MB over loopback take 0.4 ms where the scheduler has both I/O threads on one core, and
    0.85 ms where not, and it seldom changes its mind while the processes live.
    """
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    if half:
        os.sched_setaffinity(0, cores[:half] if first else cores[half:])


class Worker:
    """A child process; use as a context manager.

    Args:
        module: Run with `python -m`.
        arguments: Its command line.
        env: Its whole environment.
    """

    def __init__(self, module: str, *arguments: str, env: Mapping[str, str]) -> None:
        self._name = " ".join([module, *arguments])
        self._popen: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._stdin = cast(IO[str], self._popen.stdin)
        self._stdout = cast(IO[str], self._popen.stdout)

    def ask(self, request: object) -> Any:
        """Send a line and wait for the answer."""
        self._stdin.write(f"{request}\n")
        return self.read()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._popen.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._popen.poll() is not None

    def read(self, *, needed: Sequence[Worker] = ()) -> Any:
        """Wait for the next line.

        Args:
            needed: Other processes that the line depends on.

        Raises:
            RuntimeError: This process or a needed one has ended; its own words are on stderr.
        """
        while needed and not select.select([self._stdout], [], [], LOOK_S)[0]:
            for other in needed:
                if other.has_ended:
                    raise RuntimeError(f"{other._name} ended with {other._popen.wait()}")
        line = self._stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with {self._popen.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self._stdin.close()
        self._stdout.close()
        try:
            self._popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def tell(value: object) -> None:
    """In a worker: one line to the parent."""
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def end_with_stdin() -> None:
    """In a worker that never reads: end at once when the parent closes stdin, or dies."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def ask_all(workers: Sequence[Worker], request: object) -> list[Any]:
    """Send each process the same line at once, and wait for their answers."""
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(lambda worker: worker.ask(request), workers))
