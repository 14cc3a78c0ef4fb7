# SPDX-License-Identifier: Apache-2.0
"""Clients must not notice replicas: order, errors, resets, and handlers of one's own."""

import os
import signal
import threading

import numpy as np
import pytest
import zmq
from replica_policies import LoadToy, noted, observe
from replicas_helpers import (
    WAIT_S,
    assert_answered,
    needs_ray,
    one_ray_for_all,  # noqa: F401
    served,
)
from server_rig import wait_until
from toy_policy import DIMENSIONS, ToyPolicy

from gr00t_policy_core import MsgSerializer, PolicyServer, RemoteError, SpecError
from gr00t_policy_core.policies import SimPolicyWrapper
from gr00t_policy_core.serving.replicas import ReplicaPool

needs_ray()


def test_one_clients_requests_are_answered_in_its_order(tmp_path, sockets) -> None:
    asked = [observe("hold", 0), *(observe("go", seed) for seed in range(1, 5))]
    with served(tmp_path) as running:
        dealer = sockets.socket(zmq.DEALER)
        dealer.connect(f"tcp://127.0.0.1:{running.server.port}")
        for observation in asked:
            request = {"endpoint": "get_action", "data": {"observation": observation}}
            dealer.send_multipart([b"", MsgSerializer.to_bytes(request)])
        wait_until(lambda: len(noted(tmp_path, "held")) == 1, WAIT_S)
        with running.client() as other:  # the second replica is free, and not for this client's
            assert_answered(other.get_action(observe()))
        assert not dealer.poll(0)
        (tmp_path / "release").touch()
        for seed in range(len(asked)):
            assert dealer.poll(WAIT_S * 1000)
            assert_answered(MsgSerializer.from_bytes(dealer.recv_multipart()[-1]), seed)


def test_errors_are_those_of_the_policy(tmp_path) -> None:
    def errors(ask) -> list[str]:
        texts = []
        bad = observe()
        bad["state"]["gripper"] = np.zeros((1, 1, 1))
        for observation in (bad, observe("fail")):
            with pytest.raises(RemoteError) as raised:
                ask(observation)
            texts.append(str(raised.value).partition("get_action: ")[2])
        return texts

    (tmp_path / "one").mkdir()
    alone = PolicyServer(LoadToy(str(tmp_path / "one"))(), "127.0.0.1", 0)
    with served(tmp_path) as running, running.client() as client, alone:
        client.strict = False
        replicated = errors(client.get_action)
        assert running.server.metrics()["errors"] == {"SpecError": 1, "RemoteError": 1}
        client.close()
        running.server = alone
        with running.client() as client:
            client.strict = False
            assert errors(client.get_action) == replicated
    assert "state.gripper" in replicated[0]
    assert replicated[1] == "ValueError: this one fails"


def test_a_reset_reaches_every_replica_while_none_answers(tmp_path) -> None:
    with served(tmp_path) as running, running.client() as client:
        running.hold("a")
        resetting = threading.Thread(target=client.reset, args=({"episode": 1},))
        resetting.start()
        wait_until(lambda: running.server.metrics()["requests"].get("reset") == 1)
        assert noted(tmp_path, "reset") == []
        running.finish()
        resetting.join(WAIT_S)
        assert sorted(noted(tmp_path, "reset")) == sorted(noted(tmp_path, "load"))
        assert client.reset({"episode": 2}) == {"options": {"episode": 2}, "resets": 2}


def test_a_replacement_is_reset_as_the_others_were(tmp_path) -> None:
    with served(tmp_path) as running, running.client() as client:
        client.reset({"episode": 3})
        os.kill(noted(tmp_path, "load")[0], signal.SIGKILL)
        wait_until(lambda: running.replicas()["deaths"] == 1, WAIT_S)
        running.wait_until_all_are_ready()
        assert sorted(noted(tmp_path, "reset")) == sorted(noted(tmp_path, "load"))


def test_resets_of_many_clients_at_once_hold_up_nobody(tmp_path) -> None:
    def reset_and_ask(seed: int) -> None:
        with running.client() as client:
            for _ in range(5):
                client.reset()
                answered.append(assert_answered(client.get_action(observe(seed=seed)), seed))

    answered: list[dict] = []
    with served(tmp_path) as running:
        threads = [threading.Thread(target=reset_and_ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert len(answered) == 20
        assert running.server.metrics()["errors"] == {}


def test_a_bad_reset_is_refused_with_the_policys_error(tmp_path) -> None:
    with served(tmp_path) as running, running.client() as client:
        with pytest.raises(RemoteError, match="ValueError: a bad option"):
            client.reset({"bad": 1})
        assert noted(tmp_path, "reset") == []


def test_handlers_of_ones_own_never_run_beside_each_other(tmp_path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def handle(number: int) -> int:
        inside.append(number)
        most.append(len(inside))
        released.wait(0.01)
        inside.remove(number)
        return number

    def ask(number: int) -> None:
        with running.client() as client:
            answers.append(client.call_endpoint("own", {"number": number}))

    released = threading.Event()
    answers: list[int] = []
    with served(tmp_path) as running:
        running.server.register_endpoint("own", handle)
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    assert sorted(answers) == list(range(8))
    assert max(most) == 1


def test_requests_are_joined_in_a_replica_and_what_looks_wrong_is_not(tmp_path) -> None:
    with served(tmp_path, 1, joins=True) as running:
        running.hold("a")
        for seed, instruction in enumerate(("go", "stay", "go"), 1):
            running.ask(f"b{seed}", instruction, seed)
        not_finite = observe("nan")
        not_finite["state"]["gripper"] = np.full((1, 1, 1), np.nan, np.float32)
        running.ask_for("odd", not_finite)
        wait_until(lambda: running.server.metrics()["waiting"]["requests"] == 4)
        results = running.finish()
        for seed in (1, 2, 3):
            assert assert_answered(results[f"b{seed}"], seed)["prompts"]
        assert len(noted(tmp_path, "call-3")) == 1
        assert results["odd"]["status"] == "error"


def test_the_pool_tells_what_its_policy_is_like(tmp_path) -> None:
    pool = ReplicaPool(LoadToy(str(tmp_path), True), 1)
    try:
        policy = pool.start()
        known = ToyPolicy()
        assert policy.get_modality_config() == known.get_modality_config()
        assert policy.get_dimensions() == known.get_dimensions()
        assert policy.get_capabilities() == ()
        assert policy.max_batch_size == 8
        assert_answered(policy.get_action(observe()))
        with pytest.raises(SpecError, match="video"):
            policy.check_observation({})
        flat = SimPolicyWrapper(policy)
        observation = observe()
        action, _ = flat.get_action(
            {
                **{f"video.{key}": value for key, value in observation["video"].items()},
                **{f"state.{key}": value for key, value in observation["state"].items()},
                "annotation.human.task_description": ["go"],
            }
        )
        assert sorted(action) == sorted(f"action.{key}" for key in DIMENSIONS)
    finally:
        pool.close()


def test_a_policy_that_may_depend_on_earlier_calls_is_warned_about(tmp_path, caplog) -> None:
    for joins, warned in ((True, False), (False, True)):
        caplog.clear()
        with served(tmp_path, 2, joins=joins):
            assert ("each client stays with one replica" in caplog.text) is warned
