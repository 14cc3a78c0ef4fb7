# SPDX-License-Identifier: Apache-2.0
"""How the policy client reads replies, and bytes that are not a reply."""

import threading

import msgpack
import numpy as np
import pytest
import zmq

from gr00t_policy_core import (
    MsgSerializer,
    PolicyClient,
    PolicyTimeoutError,
    ProtocolError,
)


@pytest.fixture
def replying(sockets):
    """A client of a server that sends the given bytes, whatever it is asked."""
    clients = []
    stopping = threading.Event()
    threads = []

    def answer(listener, frames):
        while not stopping.is_set():
            if listener.poll(20):
                listener.recv_multipart()
                listener.send_multipart(frames)

    def make(*frames, **settings):
        listener = sockets.socket(zmq.REP)
        port = listener.bind_to_random_port("tcp://127.0.0.1")
        threads.append(threading.Thread(target=answer, args=(listener, frames)))
        threads[-1].start()
        clients.append(PolicyClient("127.0.0.1", port, **settings))
        return clients[-1]

    yield make
    stopping.set()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"\xc1",),
        (b"ERROR",),
        (b"\xdd\xff\xff\xff\xff",),
        (b"\xc0", b"\xc0"),
        (msgpack.packb({"__ndarray_class__": True, "as_npy": b"PK\x03\x04"}),),
    ],
)
def test_a_reply_that_is_no_message_is_a_typed_error(replying, frames):
    client = replying(*frames)
    for _ in range(2):
        with pytest.raises(ProtocolError, match=rf"127\.0\.0\.1:{client.port} reset: "):
            client.reset()
        assert client.ping() is False


def test_a_reply_larger_than_allowed_is_not_received(replying):
    client = replying(bytes(100_000), max_message_bytes=10_000, timeout_ms=300)
    with pytest.raises(ProtocolError, match="100000 bytes is announced, the limit is 10000"):
        client.reset()


@pytest.mark.parametrize(
    ("reply", "normalised"),
    [
        (None, {"status": "success", "data": None}),
        ([1], {"status": "success", "data": [1]}),
        ({"status": "success", "data": 1}, {"status": "success", "data": 1}),
        ({"status": "success"}, {"status": "success", "data": {"status": "success"}}),
        ({"status": "ok", "x": 1}, {"status": "success", "data": {"status": "ok", "x": 1}}),
        ({"status": "error", "error": "boom"}, {"status": "error", "error": "boom"}),
        ({"error": "boom"}, {"status": "error", "error": "boom"}),
        ({"error": 5}, {"status": "error", "error": "5"}),
        (
            {"status": "error"},
            {"status": "error", "error": "the server gives no reason"},
        ),
    ],
)
def test_every_form_of_reply_is_brought_into_one(replying, reply, normalised):
    assert replying(MsgSerializer.to_bytes(reply)).send_request("any") == normalised


def test_arrays_where_a_reply_has_text_are_no_trouble(replying):
    """They compare element by element, which is not an answer to whether something is a text."""
    strange = MsgSerializer.to_bytes({"status": np.zeros(3), "state": np.zeros(3), "data": 1})
    reply = replying(strange).send_request("any")
    assert reply["status"] == "success"
    assert reply["data"].keys() == {"status", "state", "data"}
    assert isinstance(replying(strange).get_state(), str)
    with pytest.raises(PolicyTimeoutError):
        replying(strange).wait_until_ready(0.1)


def test_golden_replies_are_understood(replying, golden, golden_arrays, line):
    action, info = replying(golden(line.name, "get_action_reply"), strict=False).get_action({})
    assert info == {}
    np.testing.assert_array_equal(action["gripper"], golden_arrays["action/gripper"])
    error = replying(golden(line.name, "error_reply"))
    assert error.send_request("any") == {"status": "error", "error": "boom"}
    configs = replying(golden(line.name, "get_modality_config_reply")).get_modality_config()
    assert configs["action"].modality_keys == ["single_arm", "gripper"]
    replying(golden(line.name, "kill_reply")).kill_server()
