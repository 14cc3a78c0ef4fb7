# SPDX-License-Identifier: Apache-2.0
"""Sockets of all kinds, several clients at once, and addresses."""

import threading

import msgpack
import pytest
import zmq
from server_rig import RUNNING, serving, wait_until
from toy_policy import PROMPT_KEY, ToyPolicy, toy_observation

from gr00t_policy_core import AddressError, MsgSerializer, PolicyClient, PolicyServer


def test_a_dealer_with_any_envelope_gets_its_envelope_back(server, sockets):
    dealer = sockets.socket(zmq.DEALER)
    dealer.connect(f"tcp://127.0.0.1:{server.port}")
    ping = msgpack.packb({"endpoint": "ping"})
    for envelope in ([], [b""], [b"id", b""], [b"a", b"b", b""]):
        dealer.send_multipart([*envelope, ping])
        assert dealer.poll(10_000)
        *returned, reply = dealer.recv_multipart()
        assert returned == envelope
        assert msgpack.unpackb(reply) == RUNNING


def test_a_correlating_req_client_is_answered(server, sockets):
    asking = sockets.socket(zmq.REQ)
    asking.setsockopt(zmq.REQ_CORRELATE, 1)
    asking.connect(f"tcp://127.0.0.1:{server.port}")
    asking.send(msgpack.packb({"endpoint": "ping"}))
    assert asking.poll(10_000)
    assert msgpack.unpackb(asking.recv()) == RUNNING


def test_requests_are_answered_one_at_a_time_and_each_to_its_own_client():
    running: list[int] = []
    most: list[int] = []

    def handle(number):
        running.append(number)
        most.append(len(running))
        running.remove(number)
        return number

    def ask_often(port, numbers, answers):
        with PolicyClient("127.0.0.1", port) as client:
            answers.extend(client.call_endpoint("echo", {"number": n}) for n in numbers)

    with serving() as server:
        server.register_endpoint("echo", handle)
        asked = [list(range(start, start + 50)) for start in (0, 100, 200, 300)]
        answered: list[list[int]] = [[] for _ in asked]
        threads = [
            threading.Thread(target=ask_often, args=(server.port, *pair))
            for pair in zip(asked, answered, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answered == asked
    assert max(most) == 1


def test_ping_is_answered_during_a_long_inference(server, client):
    entered, release = threading.Event(), threading.Event()

    def long_inference():
        entered.set()
        release.wait(20)
        return "done"

    server.register_endpoint("long", long_inference, requires_input=False)
    answers = []

    def ask():
        with PolicyClient("127.0.0.1", server.port) as other:
            answers.append(other.call_endpoint("long"))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert entered.wait(10)
        assert client.ping()
        assert not answers
    finally:
        release.set()
        asking.join()
    assert answers == ["done"]


def test_every_interface_is_listened_on_by_default():
    with PolicyServer(ToyPolicy(), port=0) as server:
        with PolicyClient("127.0.0.1", server.port) as client:
            assert client.ping()
        with PolicyClient("localhost", server.port) as client:
            assert client.ping()


def test_localhost_can_be_listened_on():
    with (
        PolicyServer(ToyPolicy(), host="localhost", port=0) as server,
        PolicyClient("localhost", server.port) as client,
    ):
        assert client.ping()


def test_an_address_in_use_is_named_with_what_to_do(server):
    with pytest.raises(AddressError, match=rf"127\.0\.0\.1:{server.port}.*another port"):
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=server.port)


def test_listening_on_every_ipv6_address_takes_ipv4_clients_too():
    with (
        PolicyServer(ToyPolicy(), host="::", port=0) as server,
        PolicyClient("127.0.0.1", server.port) as client,
        PolicyClient("::1", server.port) as other,
    ):
        assert client.ping()
        assert other.ping()


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 0),
        ("127.0.0.1", 70_000),
        ("127.0.0.1", -1),
        ("a" * 300, 0),
        ("no\0host", 0),
        ("ipc:///no\0path", 0),
        (f"ipc://{__file__}/policy.sock", 0),
    ],
)
def test_what_cannot_be_listened_on_is_an_address_error(host, port):
    with pytest.raises(AddressError, match="cannot listen on"):
        PolicyServer(ToyPolicy(), host=host, port=port)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(AddressError, match=r"192\.0\.2\.1"):
        PolicyServer(ToyPolicy(), host="192.0.2.1", port=0)


def test_a_clients_answers_keep_its_order_although_a_later_one_could_be_joined_earlier(sockets):
    class Joining(ToyPolicy):
        max_batch_size = 8

        def _get_action(self, observation, options=None):
            entered.set()
            assert release.wait(20)
            return super()._get_action(observation, options)

    def ask(dealer, height, prompt):
        observation = toy_observation(height=height)
        observation["language"][PROMPT_KEY] = [[prompt]]
        request = {"endpoint": "get_action", "data": {"observation": observation}}
        dealer.send_multipart([b"", MsgSerializer.to_bytes(request)])

    entered, release = threading.Event(), threading.Event()
    with serving(Joining()) as server:
        first, other, dealer = (sockets.socket(zmq.DEALER) for _ in range(3))
        for each in (first, other, dealer):
            each.connect(f"tcp://127.0.0.1:{server.port}")
        ask(first, 48, "first")
        assert entered.wait(10)
        for waiting, (asking, height) in enumerate(((other, 48), (dealer, 50), (dealer, 48)), 1):
            ask(asking, height, f"height {height}")
            wait_until(lambda n=waiting: server.metrics()["waiting"]["requests"] == n)
        release.set()
        prompts = []
        for _ in range(2):
            assert dealer.poll(10_000)
            _, info = MsgSerializer.from_bytes(dealer.recv_multipart()[-1])
            prompts.append(info["prompt"])
    assert prompts == ["height 50", "height 48"]
