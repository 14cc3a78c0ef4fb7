# SPDX-License-Identifier: Apache-2.0
"""Endpoints: how a request's data become a handler's arguments."""

import numpy as np
import pytest
from server_rig import serving

from gr00t_policy_core import MsgSerializer, PolicyClient, SpecError


def one(data):
    return {"data": data}


def two(a, b=2):
    return {"a": a, "b": b}


def none():
    return "nothing"


def anything(**entries):
    return entries


def defaults(a=1, b=2):
    return {"a": a, "b": b}


def keyword_only(*, a):
    return {"a": a}


@pytest.mark.parametrize(
    ("handler", "data", "result"),
    [
        (one, {"x": 1}, {"data": {"x": 1}}),
        (one, {}, {"data": {}}),
        (one, {"data": 5}, {"data": 5}),
        (one, {"data": 5, "x": 1}, {"data": {"data": 5, "x": 1}}),
        (one, [1, 2], {"data": [1, 2]}),
        (one, "text", {"data": "text"}),
        (one, {b"bytes": 1}, {"data": {b"bytes": 1}}),
        (two, {"a": 1}, {"a": 1, "b": 2}),
        (two, {"a": 1, "b": 3}, {"a": 1, "b": 3}),
        (two, {"x": 1}, {"a": {"x": 1}, "b": 2}),
        (two, 7, {"a": 7, "b": 2}),
        (none, {}, "nothing"),
        (anything, {"x": 1}, {"x": 1}),
        (defaults, None, {"a": 1, "b": 2}),
        (defaults, {"b": 3}, {"a": 1, "b": 3}),
        (keyword_only, {"a": 1}, {"a": 1}),
        (dict, {"x": 1}, {"x": 1}),
    ],
)
def test_a_handler_gets_entries_where_it_takes_them_else_the_data(
    server, client, handler, data, result
):
    server.register_endpoint("custom", handler)
    assert client.call_endpoint("custom", data) == result


@pytest.mark.parametrize(
    ("handler", "data", "says"),
    [
        (one, None, "it needs data"),
        (two, {"b": 1}, "field 'a' is missing"),
        (two, {"a": 1, "c": 3}, "unexpected field 'c' (it takes a, b)"),
        (none, {"x": 1}, "unexpected field 'x'"),
        (none, [1], "data must be a map"),
        (keyword_only, {"b": 1}, "field 'a' is missing; unexpected field 'b'"),
        (keyword_only, 5, "data must be a map of a, got int"),
    ],
)
def test_data_that_do_not_fit_are_refused_by_field(server, client, handler, data, says):
    server.register_endpoint("custom", handler)
    reply = client.send_request("custom", data)
    assert reply["status"] == "error"
    assert says in reply["error"]


def test_a_handler_without_input_is_called_without_the_data(server, client):
    server.register_endpoint("custom", none, requires_input=False)
    assert client.call_endpoint("custom", {"x": 1}) == "nothing"


def test_an_endpoint_can_be_taken_over(server, client):
    server.register_endpoint("ping", lambda: "mine", requires_input=False)
    assert client.call_endpoint("ping") == "mine"


def test_arrays_reach_a_handler_read_only(server, client):
    server.register_endpoint("flags", lambda a: bool(a.flags.writeable))
    assert client.call_endpoint("flags", {"a": np.ones(3)}) is False


@pytest.mark.parametrize("name", ["", 3])
def test_an_endpoint_needs_a_name(server, name):
    with pytest.raises(SpecError, match="non-empty str"):
        server.register_endpoint(name, none)


def test_an_endpoint_needs_a_handler(server):
    with pytest.raises(SpecError, match="not callable"):
        server.register_endpoint("x", "handler")


def test_a_serializer_of_ones_own_carries_ones_own_classes():
    class ComplexSerializer(MsgSerializer):
        @staticmethod
        def encode_custom_classes(obj):
            return {"re": obj.real, "im": obj.imag} if isinstance(obj, complex) else obj

        @staticmethod
        def decode_custom_classes(obj):
            return complex(obj["re"], obj["im"]) if "im" in obj else obj

    with (
        serving(serializer=ComplexSerializer) as server,
        PolicyClient("127.0.0.1", server.port, serializer=ComplexSerializer) as client,
    ):
        server.register_endpoint("conjugate", lambda z: z.conjugate())
        assert client.call_endpoint("conjugate", {"z": 1 + 2j}) == 1 - 2j
