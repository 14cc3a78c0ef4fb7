# SPDX-License-Identifier: Apache-2.0
"""The policy client with our server."""

import os
import threading

import numpy as np
import pytest
import zmq
from toy_policy import DIMENSIONS, ToyPolicy, expected_action, toy_observation, untimed

from gr00t_policy_core import (
    ClosedError,
    EncodingError,
    ModalityConfig,
    PolicyClient,
    PolicyError,
    PolicyServer,
    ProtocolError,
    RemoteError,
    SpecError,
)
from gr00t_policy_core.testing import check_policy


def test_the_client_is_a_policy_like_any_other(client):
    check_policy(client, lambda batch: toy_observation(batch))


def test_actions_are_those_of_the_policy(client):
    observation = toy_observation(batch=2)
    action, info = client.get_action(observation, {"seed": 3})
    assert untimed(info) == {"options": {"seed": 3}, "prompt": "pick up the apple"}
    assert set(action) == set(DIMENSIONS)
    for key, values in expected_action(observation).items():
        np.testing.assert_array_equal(action[key], values)
        assert not action[key].flags.writeable


def test_our_server_tells_what_isaac_gr00t_does_not(client):
    assert client.get_dimensions() == {"state": DIMENSIONS, "action": DIMENSIONS}
    assert client.get_modality_config() == ToyPolicy().get_modality_config()


@pytest.mark.parametrize("reply_format", ["auto", "envelope", "bare"])
def test_both_reply_forms_are_understood(reply_format):
    with (
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=0, reply_format=reply_format) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        assert client.ping()
        assert client.reset() == {"options": None}
        assert client.get_action(toy_observation())[0]["gripper"].shape == (1, 16, 1)
        assert client.send_request("nope")["status"] == "error"
        with pytest.raises(RuntimeError, match="Unknown endpoint"):
            client.call_endpoint("nope")


def test_data_named_error_are_no_error_in_an_envelope(server, client):
    server.register_endpoint("state", lambda: {"error": None, "status": "x"}, requires_input=False)
    assert client.call_endpoint("state") == {"error": None, "status": "x"}


def test_kill_ends_the_server(server, client):
    client.kill_server()
    with PolicyClient("127.0.0.1", server.port, timeout_ms=200) as late:
        assert not late.ping()


# Checks before and after


def test_observations_are_checked_before_they_leave(server, client):
    received = []
    server.register_endpoint("get_action", received.append)
    observation = toy_observation()
    observation["state"]["gripper"] = observation["state"]["gripper"].astype(np.float64)
    with pytest.raises(SpecError, match=r"state\.gripper: expected a float32"):
        client.get_action(observation)
    assert not received


def test_answers_are_checked_when_they_arrive(server, client):
    server.register_endpoint("get_action", lambda observation, options: [{"gripper": 1}, {}])
    with pytest.raises(SpecError, match=r"action\.single_arm: missing"):
        client.get_action(toy_observation())


def test_without_strict_nothing_is_checked(server):
    with PolicyClient("127.0.0.1", server.port, strict=False) as client:
        server.register_endpoint("get_action", lambda observation, options: [{"x": 1}, {}])
        assert client.get_action({"anything": 1}) == ({"x": 1}, {})
        with pytest.raises(SpecError):
            client.check_observation({})


def test_a_policy_without_configs_is_used_unchecked(server, client):
    server.register_endpoint("get_modality_config", dict, requires_input=False)
    assert client.get_modality_config() == {}
    assert client.get_action(toy_observation())[0]["gripper"].shape == (1, 16, 1)


def test_a_server_that_knows_no_configs_is_used_unchecked(server, client, caplog):
    def unknown():
        raise ValueError("Unknown endpoint: get_modality_config")

    server.register_endpoint("get_modality_config", unknown, requires_input=False)
    assert client.get_action(toy_observation())[0]["gripper"].shape == (1, 16, 1)
    assert "reports no modality configs" in caplog.text
    with pytest.raises(RemoteError, match="Unknown endpoint"):
        client.get_modality_config()


def test_a_server_that_fails_to_tell_is_not_taken_for_one_that_does_not_know(server, client):
    def fail():
        raise ValueError("boom")

    for endpoint in ("get_modality_config", "get_dimensions"):
        server.register_endpoint(endpoint, fail, requires_input=False)
    for call in (client.get_dimensions, lambda: client.get_action(toy_observation())):
        with pytest.raises(RemoteError, match="boom"):
            call()


def test_a_changed_policy_is_noticed_after_a_reset(server, client):
    client.get_action(toy_observation())
    other = {"state": ModalityConfig([0], ["legs"])}
    server.register_endpoint("get_modality_config", lambda: other, requires_input=False)
    client.get_action(toy_observation())
    client.reset()
    with pytest.raises(SpecError, match=r"state\.legs: missing"):
        client.get_action(toy_observation())


@pytest.mark.parametrize("answer", [None, [], [{}], [{}, {}, {}], {"action": 1}, "text"])
def test_an_answer_that_is_no_action_and_info_is_refused(server, client, answer):
    server.register_endpoint("get_action", lambda observation, options: answer)
    with pytest.raises(ProtocolError, match=r"get_action: expected \[action, info\]"):
        client.get_action(toy_observation())
    assert client.ping()


@pytest.mark.parametrize(
    ("endpoint", "answer", "says"),
    [
        ("get_modality_config", {"video": {"delta": 1}}, "expected a modality config for video"),
        ("get_modality_config", 5, "expected a map, got int"),
        ("get_dimensions", [1], "expected a map, got list"),
        ("reset", "text", "expected a map, got str"),
    ],
)
def test_answers_of_the_wrong_kind_are_refused(server, client, endpoint, answer, says):
    server.register_endpoint(endpoint, lambda options=None: answer)
    with pytest.raises(ProtocolError, match=f"{endpoint}: {says}"):
        getattr(client, endpoint)()


def test_what_cannot_be_sent_is_named_and_costs_nothing(client):
    with pytest.raises(EncodingError, match=r"data\.options\.x: an array of dtype object"):
        client.reset({"x": np.array([None])})
    assert client.ping()


# Settings and life


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"host": ""}, "host"),
        ({"host": "*"}, "host"),
        ({"host": "tcp://robot"}, "host"),
        ({"host": None}, "host"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"port": "5555"}, "port"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"timeout_ms": -1}, "timeout_ms"),
        ({"timeout_ms": None}, "timeout_ms"),
        ({"timeout_ms": float("nan")}, "timeout_ms"),
        ({"timeout_ms": float("inf")}, "timeout_ms"),
        ({"timeout_ms": 0.5}, "timeout_ms"),
        ({"timeout_ms": True}, "timeout_ms"),
        ({"timeout_ms": np.float32("nan")}, "timeout_ms"),
        ({"port": True}, "port"),
        ({"max_message_bytes": 0}, "max_message_bytes"),
        ({"max_message_bytes": None}, "max_message_bytes"),
        ({"api_token": b"secret"}, "api_token"),
        ({"api_token": os.fsdecode(b"\xff")}, "api_token"),
        ({"strict": "false"}, "strict"),
        ({"resize": 0}, "resize"),
        ({"host": "gpu\x1b[31m"}, "host"),
    ],
)
def test_bad_settings_are_named(settings, says):
    with pytest.raises(SpecError, match=f"bad client setting: {says} must be"):
        PolicyClient(**settings)


@pytest.mark.parametrize(
    ("host", "instead"),
    [
        ("gpu-box:5556", "'gpu-box' and port=5556"),
        ("10.0.0.5:5556", r"'10\.0\.0\.5' and port=5556"),
        ("[::1]:5556", r"'\[::1\]' and port=5556"),
        ("tcp://gpu-box:5556", "'gpu-box:5556'"),
        ("http://gpu-box", "'gpu-box'"),
    ],
)
def test_a_host_with_more_than_the_host_in_it_is_refused_saying_what_to_give(host, instead):
    with pytest.raises(SpecError, match=f"host must be given without .*{instead}"):
        PolicyClient(host)


@pytest.mark.parametrize("number", [np.int64(300), np.float32(300), 300.0, np.uint16(300)])
def test_numbers_of_numpy_are_numbers(server, number):
    port = np.int64(server.port)
    with PolicyClient("127.0.0.1", port, number, quality=np.int8(80)) as client:
        assert client.ping()
        assert client.timeout_ms == 300
        client.timeout_ms = np.int32(400)
        assert client.timeout_ms == 400
        with pytest.raises(SpecError, match="timeout_ms must be"):
            client.timeout_ms = 0.5
        assert client.timeout_ms == 400


@pytest.mark.parametrize("options", [[1], "seed", 5, [("seed", 1)]])
def test_options_that_are_no_map_are_refused(client, options):
    for call in (
        lambda: client.get_action(toy_observation(), options),
        lambda: client.reset(options),
    ):
        with pytest.raises(SpecError, match=r"bad options: expected a map or None, got \w+"):
            call()


def test_all_bad_settings_are_named_at_once():
    with pytest.raises(SpecError) as refused:
        PolicyClient("", 0, 0)
    assert len(refused.value.problems) == 3


def test_nothing_happens_at_construction(monkeypatch):
    def happened(*args, **kwargs):
        pytest.fail("a context was made")

    monkeypatch.setattr(zmq, "Context", happened)
    threads = threading.active_count()
    PolicyClient("127.0.0.1", 1)
    assert threading.active_count() == threads


def test_an_address_over_ipv6_is_understood():
    server = PolicyServer(ToyPolicy(), host="::1", port=0)
    with server, PolicyClient("::1", server.port) as client:
        assert client.ping()


def test_a_closed_client_says_so_and_can_be_closed_again(server):
    client = PolicyClient("127.0.0.1", server.port)
    assert client.ping()
    client.close()
    client.close()
    for call in (client.ping, client.reset, client.get_modality_config, client.kill_server):
        with pytest.raises(ClosedError, match=rf"127\.0\.0\.1:{server.port}"):
            call()
    with pytest.raises(PolicyError):
        client.get_action(toy_observation())


def test_a_client_closed_during_a_request_of_another_thread_lets_it_end(server):
    entered, release = threading.Event(), threading.Event()

    def block():
        entered.set()
        release.wait(20)
        return "done"

    server.register_endpoint("block", block, requires_input=False)
    client = PolicyClient("127.0.0.1", server.port)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(client.call_endpoint("block")))
    asking.start()
    assert entered.wait(10)
    client.close()
    release.set()
    asking.join()
    assert answers == ["done"]
    with pytest.raises(ClosedError):
        client.ping()


def test_threads_share_a_client_and_each_gets_its_own_answer(server, client):
    server.register_endpoint("echo", lambda values: values)
    answers = {}

    def ask(number):
        sent = np.full(1000, number)
        answers[number] = [client.call_endpoint("echo", {"values": sent}) for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all((got == number).all() for number, all_got in answers.items() for got in all_got)


def test_what_is_not_printable_in_a_servers_texts_is_escaped_in_errors(server, client):
    def fail():
        raise ValueError("\x1b[2Jcleared\r\nforged")

    server.register_endpoint("fail", fail, requires_input=False)
    hostile = {"state": ModalityConfig([0], ["\x1b]0;title\x07"])}
    with pytest.raises(RemoteError) as raised:
        client.call_endpoint("fail", requires_input=False)
    assert str(raised.value).isprintable()
    assert r"\x1b[2Jcleared\r\nforged" in str(raised.value)
    server.register_endpoint("get_modality_config", lambda: hostile, requires_input=False)
    for call in (client.get_action, client.check_observation):
        with pytest.raises(SpecError) as refused:
            call(toy_observation())
        assert str(refused.value).isprintable()
        assert all(problem.isprintable() for problem in refused.value.problems)
