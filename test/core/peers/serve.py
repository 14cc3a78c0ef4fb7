# SPDX-License-Identifier: Apache-2.0
"""A policy server in a process of its own: ``python serve.py PORT``.

It writes the port, then a line for each request that it is going to hang in.
"""

import signal
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from toy_policy import ToyPolicy

from gr00t_policy_core import PolicyServer


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class HangingPolicy(ToyPolicy):
    """Hangs in every request that asks for it."""

    def _get_action(self, observation: Any, options: Any = None) -> Any:
        if options and options.get("hang"):
            say("hanging")
            threading.Event().wait()
        return super()._get_action(observation, options)


if __name__ == "__main__":
    server = PolicyServer(
        HangingPolicy(), host="127.0.0.1", port=int(sys.argv[1]), stop_timeout_s=0.2
    )
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    say(server.port)
    server.run()
