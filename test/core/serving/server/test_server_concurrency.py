# SPDX-License-Identifier: Apache-2.0
"""A policy that allows two calls at once has its next batch prepared during the one before."""

import threading

from conftest import wait_until
from crowds import GatedPolicy, assert_answered, observe
from peers.lines import LINES
from peers.stock import StockClient

from gr00t_policy_core import PolicyServer
from gr00t_policy_core.policy import PolicyWrapper


class CheckedPolicy(GatedPolicy):
    """Counts the observations that were decoded and checked."""

    def __init__(self) -> None:
        super().__init__()
        self.checked = 0

    def check_observation(self, observation):
        self.checked += 1
        super().check_observation(observation)


class OverlappingPolicy(CheckedPolicy):
    concurrent_calls = 2


def ask_in_thread(server, results, seed):
    def run() -> None:
        with StockClient(LINES["n1d7"](), server.port) as client:
            data = {"observation": observe(seed), "options": None}
            results[seed] = client.call("get_action", data=data)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_next_batch_is_prepared_while_one_is_computed():
    policy, results = OverlappingPolicy(), {}
    with PolicyServer(policy, "127.0.0.1", 0, max_batch=8) as server:
        threads = [ask_in_thread(server, results, 1)]
        assert policy.entered.wait(20)
        checked = policy.checked
        threads.append(ask_in_thread(server, results, 2))
        wait_until(lambda: len(policy.calls) == 2)
        assert policy.checked > checked, "decoded and checked, though the first call still computes"
        policy.release.set()
        for thread in threads:
            thread.join(20)
    for seed in (1, 2):
        assert_answered(results[seed], observe(seed))


def test_no_other_policy_is_called_twice_at_once():
    for policy in (CheckedPolicy(), PolicyWrapper(OverlappingPolicy())):
        inner, results = getattr(policy, "policy", policy), {}
        with PolicyServer(policy, "127.0.0.1", 0, max_batch=8) as server:
            threads = [ask_in_thread(server, results, 1)]
            assert inner.entered.wait(20)
            checked = inner.checked
            threads.append(ask_in_thread(server, results, 2))
            wait_until(lambda: server.metrics()["waiting"]["requests"] == 1)
            assert (len(inner.calls), inner.checked) == (1, checked)
            inner.release.set()
            for thread in threads:
                thread.join(20)
        assert len(inner.calls) == 2
