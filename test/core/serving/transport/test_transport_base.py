# SPDX-License-Identifier: Apache-2.0
"""The server's transport, between the thread that receives and those that send."""

import threading

from toy_policy import toy_observation

from gr00t_policy_core import PolicyClient

ROUNDS = 300


def test_a_message_that_comes_while_a_reply_goes_out_is_seen(server):
    """Both ask at once, and neither asks again before both have their answers: a message whose
    arrival was noticed only by the thread that sends would lie there until its client gives up."""
    together = threading.Barrier(2, timeout=30)
    answered = []

    def ask() -> None:
        with PolicyClient("127.0.0.1", server.port, timeout_ms=10_000) as client:
            for _ in range(ROUNDS):
                together.wait()
                client.get_action(toy_observation())
                answered.append(True)

    robots = [threading.Thread(target=ask) for _ in range(2)]
    for robot in robots:
        robot.start()
    for robot in robots:
        robot.join(60)
    assert len(answered) == 2 * ROUNDS
