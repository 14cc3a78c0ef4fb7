# SPDX-License-Identifier: Apache-2.0
"""Servers, or clients, that are restarted as soon as they die: `python -m peers.phoenix …`.

phoenix server PORT    serves a `ToyPolicy` there
phoenix client PORT    asks the server there again and again

Tells the process id of each on a line of stdout. Forked, so that a new one is there in
milliseconds; ends when stdin does.
"""

import os
import select
import signal
import sys
from collections.abc import Callable

from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import AddressError, PolicyClient, PolicyServer

AGAIN_S = 0.01


def serve(port: int) -> None:
    while True:  # the port of the one before may still be on its way out
        try:
            server = PolicyServer(ToyPolicy(), host="127.0.0.1", port=port)
        except AddressError:
            select.select([], [], [], AGAIN_S)
            continue
        server.run()
        return


def ask(port: int) -> None:
    with PolicyClient("127.0.0.1", port) as client:
        while True:
            client.reset()  # tells this client's requests from others'
            client.get_action(toy_observation())


def main() -> None:
    role: Callable[[int], None] = {"server": serve, "client": ask}[sys.argv[1]]
    while True:
        child = os.fork()
        if child == 0:
            role(int(sys.argv[2]))
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if select.select([sys.stdin], [], [], AGAIN_S)[0]:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return


if __name__ == "__main__":
    main()
