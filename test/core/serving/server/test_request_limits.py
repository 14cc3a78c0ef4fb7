# SPDX-License-Identifier: Apache-2.0
"""Requests that would cost more than the policy can need are refused before they cost anything."""

from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import pytest
from crowds import assert_answered, crowded, observe
from raw_client import PING, handshaken, reply_from, request
from server_rig import serving, wait_until
from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import ModalityConfig
from gr00t_policy_core.serving.server import batch_executor
from gr00t_policy_core.serving.server.request_limits import RequestLimits
from gr00t_policy_core.serving.transport import rate_limit
from gr00t_policy_core.serving.wire import jpeg
from gr00t_policy_core.serving.wire.msgpack_reader import MAX_ITEMS

simplejpeg = pytest.importorskip("simplejpeg", reason="pip install '.[jpeg]'")
FRAME = simplejpeg.encode_jpeg(np.zeros((48, 64, 3), np.uint8))


def as_jpeg(batch: int = 1, steps: int = 1) -> dict[str, Any]:
    shape = [batch, steps, 48, 64, 3]
    return {jpeg.MARKER: True, "shape": shape, "frames": [FRAME] * batch * steps}


def with_jpeg(batch: int = 1, **others: Any) -> dict[str, Any]:
    observation = toy_observation(batch)
    observation["video"] = {"front": as_jpeg(batch), "wrist": as_jpeg(batch), **others}
    return observation


@pytest.fixture
def decoded(monkeypatch) -> list[Any]:
    """The JPEGs that were unpacked."""
    seen: list[Any] = []
    decode = simplejpeg.decode_jpeg

    def counting(frame: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(frame)
        return decode(frame, *args, **kwargs)

    monkeypatch.setattr(simplejpeg, "decode_jpeg", counting)
    return seen


def act(ask: Any, server: Any, observation: Any) -> Any:
    return ask(server, {"endpoint": "get_action", "data": {"observation": observation}})


# Pictures


def test_jpeg_of_a_camera_that_the_policy_has_not_is_ignored_and_never_unpacked(
    server, ask, decoded
):
    others = {f"unknown{n}": as_jpeg() for n in range(8)}
    action, _ = act(ask, server, with_jpeg(**others))
    assert "single_arm" in action
    assert len(decoded) == 2
    reply = act(ask, server, {**toy_observation(), "video": others})
    assert "video.front: missing" in reply["error"]
    flat = {f"video.{name}": video for name, video in others.items()}
    act(ask, server, {**toy_observation(), **flat})
    assert len(decoded) == 2


def test_jpeg_of_another_length_than_the_policy_reads_is_never_unpacked(server, ask, decoded):
    reply = act(ask, server, with_jpeg(wrist=as_jpeg(steps=3)))
    assert "'wrist', whose T is 1" in reply["error"]
    assert decoded == []


def test_all_pictures_of_a_message_are_bounded_together(server, ask, decoded, monkeypatch):
    size = 48 * 64 * 3
    monkeypatch.setattr(jpeg, "MAX_VIDEO_BYTES", 2 * size)
    assert "single_arm" in act(ask, server, with_jpeg())[0]
    monkeypatch.setattr(jpeg, "MAX_VIDEO_BYTES", 2 * size - 1)
    reply = act(ask, server, with_jpeg())
    assert f"JPEG videos of {2 * size} bytes in all: at most {2 * size - 1}" in reply["error"]
    assert len(decoded) == 2


def test_requests_whose_pictures_are_too_many_together_are_answered_after_one_another(monkeypatch):
    monkeypatch.setattr(
        batch_executor, "MAX_DECODED_JPEG_BYTES", 2 * 2 * 48 * 64 * 3 - 1
    )  # of one and a half
    with crowded() as crowd:
        for seed in range(1, 5):
            observation = observe(seed)
            observation["video"] = {"front": as_jpeg(), "wrist": as_jpeg()}
            crowd.ask(seed, observation)
        results = crowd.finish()
        for seed in range(1, 5):
            assert_answered(results[seed], observe(seed))
        assert crowd.policy.later_calls == [2, 2]


# Rows


def test_more_rows_than_a_call_may_have_are_refused_saying_what_to_do(ask):
    with serving(max_batch=4) as server:
        assert len(act(ask, server, toy_observation(4))[0]["gripper"][b"data"])
        for observation in (toy_observation(5), with_jpeg(5)):
            reply = act(ask, server, observation)
            assert "5 rows (B) in one request, at most 4" in reply["error"]
            assert "max_batch" in reply["error"]
        flat = {f"state.{k}": v for k, v in toy_observation(3000)["state"].items()}
        assert "3000 rows (B)" in act(ask, server, flat)["error"]


def test_a_server_that_joins_nothing_takes_requests_of_many_rows(ask):
    with serving(max_batch=1) as server:
        assert isinstance(act(ask, server, toy_observation(40)), list)


# Items


def lists(items: int) -> list[list[int]]:
    return [[1] * 9 for _ in range(items // 10)]


@pytest.mark.parametrize(
    "message",
    [
        {"endpoint": "get_action", "data": {"observation": lists(6000)}},
        {"data": {"observation": lists(6000)}, "endpoint": "get_action", "api_token": "x"},
        {"endpoint": "reset", "data": {"options": {"x": lists(6000)}}},
        {"endpoint": "ping", "data": lists(6000), "api_token": "x"},
        {"endpoint": "ping", "x": lists(100)},
        {"endpoint": lists(100)},
    ],
)
def test_a_request_of_more_items_than_the_policy_can_need_is_refused(server, ask, message):
    assert "more than" in ask(server, message)["error"]
    assert server.metrics()["errors"] == {"ProtocolError": 1}


def test_an_endpoint_of_ones_own_takes_as_many_items_as_before(server, ask):
    server.register_endpoint("count", lambda data: sum(map(len, data)))
    for later in ({}, {"api_token": "x"}):
        assert ask(server, {"endpoint": "count", "data": lists(100_000), **later}) == 90_000


def test_what_robots_send_has_few_items_beside_the_limit():
    limits = RequestLimits.of(ToyPolicy(), 16)
    assert 4096 < limits.items < 5000
    assert limits.cameras == {"front": 1, "wrist": 1}
    assert limits.rows == 16


@pytest.mark.parametrize(
    ("configs", "items"),
    [
        ({}, MAX_ITEMS),
        ({"language": ModalityConfig([0], ["task"])}, MAX_ITEMS),
        ({"state": ModalityConfig([0], ["arm"])}, 4096 + 16 + 16 * 2),
    ],
)
def test_a_policy_that_tells_little_of_what_it_reads_bounds_little(configs, items):
    policy = SimpleNamespace(get_modality_config=lambda: configs)
    assert RequestLimits.of(policy, 16).items == items


def test_a_policy_that_cannot_tell_what_it_reads_is_served_all_the_same(ask, caplog):
    class Shy(ToyPolicy):
        def get_modality_config(self):
            raise OSError("not now")

    with serving(Shy(strict=False)) as server:
        assert isinstance(act(ask, server, toy_observation()), list)
    assert "cannot limit requests by the policy's modality config: not now" in caplog.text


# What messages cost


def test_who_sends_expensive_messages_has_to_pause_and_nobody_else_has(monkeypatch):
    monkeypatch.setattr(rate_limit, "ADDRESS_ITEMS_PER_S", 1e-9)
    monkeypatch.setattr(rate_limit, "ADDRESS_BURST_ITEMS", 0.0)
    expensive = request(msgpack.packb({"endpoint": "reset", "data": lists(4000), "x": 0}))
    with (
        serving() as server,
        handshaken(server.port) as attacking,
        handshaken(server.port) as robot,
    ):
        for _ in range(200):
            attacking.sendall(expensive)
        wait_until(lambda: server.metrics()["requests"].get("reset", 0) > 0)
        robot.sendall(request(PING))
        reply_from(robot)
        attacking.sendall(request(PING))
        robot.sendall(request(PING))
        assert b"Server is running" in reply_from(robot)
        assert server.metrics()["requests"]["ping"] == 2
        assert server.metrics()["requests"]["reset"] < 200
