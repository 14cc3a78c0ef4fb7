# SPDX-License-Identifier: Apache-2.0
"""Stock clients of both lines of Isaac-GR00T, answered as by their own servers."""

import msgpack
import numpy as np
import zmq
from peers.stock import StockClient
from server_rig import RUNNING, serving
from toy_policy import HORIZON, PROMPT_KEY, ToyPolicy, expected_action, toy_observation, untimed


def test_a_stock_client_gets_actions_in_its_own_dialect(stock):
    observation = toy_observation()
    action, info = stock.call("get_action", data={"observation": observation, "options": None})
    assert untimed(info) == {"options": None, "prompt": "pick up the apple"}
    for key, values in expected_action(observation).items():
        np.testing.assert_array_equal(action[key], values)


def test_a_stock_client_gets_the_very_replies_of_its_own_server(golden, line, server, sockets):
    for name in ("ping", "kill"):
        asking = sockets.socket(zmq.REQ)
        asking.connect(f"tcp://127.0.0.1:{server.port}")
        asking.send(golden(line.name, f"{name}_request"))
        assert asking.poll(10_000)
        assert asking.recv() == golden(line.name, f"{name}_reply")


def test_the_golden_request_of_each_line_is_answered(golden, golden_arrays, line, server, sockets):
    asking = sockets.socket(zmq.REQ)
    asking.connect(f"tcp://127.0.0.1:{server.port}")
    asking.send(golden(line.name, "get_action_request"))
    assert asking.poll(10_000)
    action, _ = line.unpack(asking.recv())
    expected = np.repeat(golden_arrays["state/single_arm"], HORIZON, axis=1)
    np.testing.assert_array_equal(action["single_arm"], expected)


def test_a_stock_client_reads_modality_configs_before_its_dialect_is_known(stock):
    configs = stock.call("get_modality_config")
    assert configs["video"].modality_keys == ["front", "wrist"]
    assert configs["action"].action_configs[0]["rep"] == "ABSOLUTE"


def test_the_dialect_of_a_client_is_remembered(line, server, sockets):
    with StockClient(line, server.port) as client:
        assert _markers(client.send(msgpack.packb({"endpoint": "get_modality_config"}))) == {
            "__ModalityConfig_class__",
            "__ModalityConfig__",
        }
        client.call("get_action", data={"observation": toy_observation()})
        reply = client.send(msgpack.packb({"endpoint": "get_modality_config"}))
        assert _markers(reply) == {line.config_marker}


def test_a_stock_client_resets_and_sees_errors(stock):
    assert stock.call("reset", data={"options": {"episode_index": 5}}) == {
        "options": {"episode_index": 5}
    }
    reply = stock.call("get_action", data={"observation": {}})
    assert reply["status"] == "error"
    assert "video: expected a dict" in reply["error"]
    assert stock.call("ping") == RUNNING


def test_a_missing_endpoint_means_get_action(stock):
    action, _ = stock.call(None, data={"observation": toy_observation()})
    assert action["gripper"].shape == (1, HORIZON, 1)


def test_the_data_may_be_the_observation_itself(stock):
    observation = toy_observation()
    action, _ = stock.call("get_action", data=observation)
    np.testing.assert_array_equal(action["gripper"], expected_action(observation)["gripper"])


def test_the_data_may_be_a_flat_observation(line):
    class FlatPolicy(ToyPolicy):
        def get_action(self, observation, options=None):
            return {"action.x": observation["state.x"]}, {"prompt": observation[PROMPT_KEY]}

    with serving(FlatPolicy()) as server, StockClient(line, server.port) as client:
        flat = {"state.x": np.ones((1, 1, 2), np.float32), PROMPT_KEY: ["go"]}
        action, info = client.call("get_action", data=flat)
        np.testing.assert_array_equal(action["action.x"], flat["state.x"])
        assert untimed(info) == {"prompt": ["go"]}


def test_dimensions_are_told(stock):
    assert stock.call("get_dimensions")["state"] == {"single_arm": 5, "gripper": 1}


def _markers(reply: bytes) -> set[str]:
    return set(msgpack.unpackb(reply)["video"]) - {"as_json"}
