# SPDX-License-Identifier: Apache-2.0
"""Whatever a policy does, each request gets one reply, and a client's replies stay in order."""

import threading
from collections import defaultdict
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers.lines import LINES
from peers.stock import StockClient
from server_rig import wait_until

from gr00t_policy_core import BasePolicy, MsgSerializer, PolicyServer
from gr00t_policy_core.serving.server import batch_executor
from gr00t_policy_core.serving.server.batch_executor import MAX_DECODED_JPEG_BYTES, BatchExecutor
from gr00t_policy_core.serving.server.codec import RequestCodec
from gr00t_policy_core.serving.server.endpoints import EndpointTable
from gr00t_policy_core.serving.server.execution_backend import InProcessBackend
from gr00t_policy_core.serving.server.failure_log import FailureLog
from gr00t_policy_core.serving.server.metrics import Metrics
from gr00t_policy_core.serving.server.pending_request import PendingRequest
from gr00t_policy_core.serving.server.served_policy import ServedPolicy
from gr00t_policy_core.serving.transport.base import Message
from gr00t_policy_core.serving.wire import jpeg
from gr00t_policy_core.serving.wire.envelope import Request

MAX_ROWS = 8


class Abort(BaseException):
    """No `Exception`, as `SystemExit` is none."""


class UnprintableError(Exception):
    def __str__(self):
        raise Abort("not even that")


class HostileKey:
    """A batch key that raises whatever is asked of it, or answers nonsense."""

    def __init__(self, says):
        self.says = says

    def __eq__(self, other):
        return raised_or_said(self.says)

    def __hash__(self):
        return hash(raised_or_said(self.says))


class HostileInfo(dict):
    def keys(self):
        raise Abort("no keys")

    def items(self):
        raise Abort("no items")


def raised_or_said(what):
    if isinstance(what, type) and issubclass(what, BaseException):
        raise what("on purpose")
    return what


def endless():
    nested = {}
    nested["again"] = nested
    return nested


ERRORS = (ValueError, Abort, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration)
errors = st.sampled_from([*ERRORS, UnprintableError, MemoryError, RecursionError])
keys = st.one_of(
    st.just("good"),
    st.none(),
    errors,
    st.sampled_from([True, False, np.zeros(2), "text", [], NotImplemented]).map(HostileKey),
    errors.map(HostileKey),
)
infos = st.one_of(
    st.sampled_from([{}, None, 5, "text", [1, 2], {"timing": 3}, {5: 6}, {"x": object()}]),
    st.builds(HostileInfo),
    st.builds(endless),
    st.builds(lambda: {"rows": np.arange(3), "list": [1, 2, 3], "x": np.array(1.0)}),
    st.builds(lambda: {"objects": np.array([object()], dtype=object)}),
)
actions = st.sampled_from(
    ["right", "right", "right", "one row less", "no rows", "no map", "none", "list", "alias", "0-d"]
)
missing = st.sets(st.sampled_from(["strict", "batch_key", "check_observation", "check_action"]))
checks = st.one_of(st.none(), st.none(), errors)


def make_policy(key, info, action, missing, check, error):
    """A duck-typed policy; `error` is raised by every other call."""

    class Policy:
        max_batch_size = MAX_ROWS

        def __init__(self):
            self.calls = 0
            self.buffer = np.zeros((MAX_ROWS, 1), np.float32)

        def get_action(self, observation, options=None):
            self.calls += 1
            if error is not None and self.calls % 2:
                raise error("on purpose")
            return self.answer(observation["x"])

        def answer(self, x):
            if action == "none":
                return None
            if action == "list":
                return [x, info, 3]
            return {
                "right": lambda: {"a": x.copy()},
                "one row less": lambda: {"a": x[:-1]},
                "no rows": lambda: {"a": 5},
                "no map": lambda: "text",
                "alias": lambda: self.aliased(x),
                "0-d": lambda: {"a": np.array(1.0)},
            }[action](), info

        def aliased(self, x):
            self.buffer[:] = -1
            self.buffer[: len(x)] = x
            return {"a": self.buffer[: len(x)], "same": self.buffer[: len(x)]}

    if "strict" not in missing:
        Policy.strict = True
    if "batch_key" not in missing:
        Policy.batch_key = lambda self, observation, options: (
            HostileKey(key.says) if isinstance(key, HostileKey) else raised_or_said(key)
        )
    if "check_observation" not in missing:
        Policy.check_observation = lambda self, observation: raised_or_said(check)
    return Policy()


def make_request(endpoint, client, rows, value, kind):
    x = np.full((rows, 1), value, np.float32)
    pictures = {"x": x, "video": {"camera": np.zeros((rows, 1, 8, 8, 3), np.uint8)}}
    data = {
        "good": {"observation": {"x": x}},
        "pictures": {
            "observation": jpeg.to_jpeg(pictures, 90) if jpeg.is_available() else pictures
        },
        "too many rows": {"observation": {"video": {"c": np.zeros((9, 1, 8, 8, 3), np.uint8)}}},
        "with options": {"observation": {"x": x}, "options": {"seed": 1}},
        "late": {"observation": {"x": x}, "options": {"deadline_s": -1.0}},
        "malformed": None,
        "wrong": {"observations": x},
        "bad deadline": {"observation": {"x": x}, "options": {"deadline_s": "soon"}},
    }[kind]
    packed = b"\xc1" if data is None else MsgSerializer.to_bytes(data)
    message = Message([client.encode(), b""], memoryview(packed), "", "127.0.0.1")
    return PendingRequest(message, Request("get_action", None, False, memoryview(packed)), endpoint)


def executor_of(policy):
    metrics = Metrics()
    served = ServedPolicy.of(policy, EndpointTable(), MAX_ROWS)
    codec = RequestCodec(MsgSerializer, "auto", "run")
    return BatchExecutor(served, codec, metrics, FailureLog(metrics)), served.endpoint


RIGHT = ["good", "pictures", "with options"]
WRONG = ["late", "malformed", "wrong", "bad deadline", "too many rows"]
KINDS = ["good", "good", "pictures", *RIGHT, *WRONG]
requests = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.sampled_from(KINDS)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    asked=requests,
    key=keys,
    info=infos,
    action=actions,
    missing=missing,
    check=checks,
    error=st.one_of(st.none(), st.none(), errors),
    jpeg_bytes=st.sampled_from([0, MAX_DECODED_JPEG_BYTES]),
)
def test_each_request_is_answered_once_whatever_the_policy_does(
    asked, key, info, action, missing, check, error, jpeg_bytes
):
    executor, endpoint = executor_of(make_policy(key, info, action, missing, check, error))
    pending = [
        make_request(endpoint, client, rows, number, kind)
        for number, (client, rows, kind) in enumerate(asked)
    ]
    with mock.patch.object(batch_executor, "MAX_DECODED_JPEG_BYTES", jpeg_bytes):
        answers = list(executor.execute(pending))
    assert sorted(a.route for a in answers) == sorted(request.route for request in pending)
    by_client = defaultdict(list)
    for answer in answers:
        by_client[answer.route[0]].append(MsgSerializer.from_bytes(answer.body))
    for client, replies in by_client.items():
        mine = [(n, a) for n, a in enumerate(asked) if a[0].encode() == client]
        for (number, (_, rows, kind)), reply in zip(mine, replies, strict=True):
            if isinstance(reply, dict):
                assert reply["status"] == "error"
                assert reply["error"]
                continue
            assert kind in RIGHT, f"{kind} was answered with {reply}"
            if action in ("right", "alias"):
                np.testing.assert_array_equal(reply[0]["a"], np.full((rows, 1), number))


@pytest.mark.parametrize("key", [HostileKey(ValueError), HostileKey(Abort), ValueError, Abort])
def test_requests_whose_batch_keys_cannot_be_compared_are_answered_alone(key):
    policy = make_policy(key, {}, "right", set(), None, None)
    executor, endpoint = executor_of(policy)
    pending = [
        make_request(endpoint, client, 1, number, "good") for number, client in enumerate("ab")
    ]
    replies = [MsgSerializer.from_bytes(reply.body) for reply in executor.execute(pending)]
    assert [reply[0]["a"].item() for reply in replies] == [0, 1]
    assert policy.calls == 2


def test_a_duck_typed_policy_that_says_no_more_than_its_batch_size_is_asked_in_one_call():
    policy = make_policy("good", {}, "right", {"strict", "batch_key"}, None, None)
    executor, endpoint = executor_of(policy)
    pending = [
        make_request(endpoint, client, 1, number, "good") for number, client in enumerate("ab")
    ]
    replies = [MsgSerializer.from_bytes(reply.body) for reply in executor.execute(pending)]
    assert [reply[0]["a"].item() for reply in replies] == [0, 1]
    assert policy.calls == 1


@pytest.mark.parametrize("kind", ["malformed", "late", "wrong"])
def test_an_error_never_overtakes_the_answer_before_it(kind):
    policy = make_policy("good", {}, "right", set(), None, None)
    executor, endpoint = executor_of(policy)
    pending = [
        make_request(endpoint, "a", 1, 7, "good"),
        make_request(endpoint, "a", 1, 8, kind),
        make_request(endpoint, "a", 1, 9, "good"),
    ]
    replies = [MsgSerializer.from_bytes(reply.body) for reply in executor.execute(pending)]
    assert [type(reply) for reply in replies] == [list, dict, list]
    assert [replies[at][0]["a"].item() for at in (0, 2)] == [7, 9]


def test_what_a_client_that_has_left_asked_for_is_neither_decoded_nor_computed():
    policy = make_policy("good", {}, "right", set(), None, None)
    executor, endpoint = executor_of(policy)
    pending = [make_request(endpoint, name, 1, n, "good") for n, name in enumerate("abc")]
    decoded = []

    class Counting(MsgSerializer):
        @classmethod
        def decode(cls, data, **limits):
            decoded.append(data)
            return super().decode(data, **limits)

    executor._codec._serializer = Counting
    pending[1].message.sender.disconnected = True
    for asked in (pending, pending[1:2]):
        replies = [MsgSerializer.from_bytes(reply.body) for reply in executor.execute(asked)]
        (error,) = [reply["error"] for reply in replies if isinstance(reply, dict)]
        assert "dropped" in error
    assert len(decoded) == 2
    assert policy.calls == 1


class TwoCalls(InProcessBackend):
    size = 2


class Policy(BasePolicy):
    def check_observation(self, observation):
        return

    def check_action(self, action):
        return

    def _get_action(self, observation, options=None):
        return {}, {}


def test_a_handler_may_answer_with_the_same_array_every_time():
    """It is read before the next call, in another thread, writes into it."""
    buffer = np.zeros(1, np.float32)
    calls = threading.Semaphore(0)
    overtaken = []

    class Slow(MsgSerializer):
        @staticmethod
        def encode_custom_classes(obj):
            if obj is buffer:
                overtaken.append(calls.acquire(timeout=0.3))
            return obj

    def handler(observation, options=None):
        if buffer.any():  # not the first one
            calls.release()
        buffer[:] = observation["x"]
        return {"a": buffer}, {}

    answers = {}

    def ask(port, value):
        with StockClient(LINES["n1d7"](), port) as client:
            x = np.full(1, value, np.float32)
            answers[value] = client.call("get_action", data={"observation": {"x": x}})[0]["a"]

    backend = TwoCalls()
    with PolicyServer(
        Policy(), host="127.0.0.1", port=0, backend=backend, serializer=Slow
    ) as server:
        server.register_endpoint("get_action", handler)
        threads = [threading.Thread(target=ask, args=(server.port, n)) for n in (1.0, 2.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert {value: answer.item() for value, answer in answers.items()} == {1: 1, 2: 2}
    assert overtaken[0] is False


def test_two_robots_are_answered_by_a_policy_whose_batch_keys_raise():
    begun, release = threading.Event(), threading.Event()

    class Hostile(Policy):
        max_batch_size = 4

        def batch_key(self, observation, options):
            return HostileKey(ValueError)

        def _get_action(self, observation, options=None):
            begun.set()
            release.wait(10)
            return {"a": observation["x"]}, {}

    answers = {}

    def ask(port, value):
        with StockClient(LINES["n1d7"](), port) as client:
            x = np.full((1, 1), value, np.float32)
            answers[value] = client.call("get_action", data={"observation": {"x": x}})[0]["a"]

    with PolicyServer(Hostile(strict=False), host="127.0.0.1", port=0) as server:
        threads = [threading.Thread(target=ask, args=(server.port, n)) for n in range(3)]
        threads[0].start()
        assert begun.wait(10)
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: server.metrics()["waiting"]["requests"] == 2)
        release.set()
        for thread in threads:
            thread.join(20)
    assert {value: answer.item() for value, answer in answers.items()} == {0: 0, 1: 1, 2: 2}
