# SPDX-License-Identifier: Apache-2.0
"""The Unitree G1 client of PyPI's inspect-robots-unitree-g1 gets what its own server would send.

Its messages are made here by rules of their own, as read in version 0.1.1: a REQ socket and
msgpack-numpy, requests for actions alone, always with empty options and without an envelope. It
takes a list of two for an answer, a map with ``error`` for a refusal, and anything else for a
broken server. Where the package is installed it is asked itself as well.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from peers.lines import LINES
from peers.stock import StockClient, StockServer

from gr00t_policy_core import ModalityConfig, ModalityPolicy, PolicyServer

HORIZON = 50
# unitree_g1_full_body_with_waist_height_nav_cmd of Isaac-GR00T N1.7
ARMS = {"left_arm": 7, "right_arm": 7, "left_hand": 7, "right_hand": 7}
STATE = {"left_leg": 6, "right_leg": 6, "waist": 3, **ARMS}
ACTION = {**ARMS, "waist": 3, "base_height_command": 1, "navigate_command": 3}
PROMPT_KEY = "annotation.human.task_description"


class G1Policy(ModalityPolicy):
    """Stays where it is; what has no state stays zero."""

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return {
            "video": ModalityConfig([0], ["ego_view"]),
            "state": ModalityConfig([0], list(STATE)),
            "action": ModalityConfig(list(range(HORIZON)), list(ACTION)),
            "language": ModalityConfig([0], [PROMPT_KEY]),
        }

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        state = observation["state"]
        still = {key: np.zeros((1, 1, size), np.float32) for key, size in ACTION.items()}
        action = {key: np.repeat(state.get(key, still[key]), HORIZON, axis=1) for key in ACTION}
        return action, {"prompt": observation["language"][PROMPT_KEY]}


@pytest.fixture
def g1_server() -> Iterator[PolicyServer]:
    with PolicyServer(G1Policy(), host="127.0.0.1", port=0) as running:
        yield running


def g1_observation(camera: str = "ego_view") -> dict[str, Any]:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    state = {key: generator.normal(size=size).astype(np.float32) for key, size in STATE.items()}
    return {
        "video": {camera: pixels[None, None]},
        "state": {key: values[None, None] for key, values in state.items()},
        "language": {PROMPT_KEY: [["pick up the apple"]]},
    }


def asked(port: int, observation: dict[str, Any], **entries: Any) -> Any:
    with StockClient(LINES["n1d7"](), port) as client:
        data = {"observation": observation, "options": {}}
        return client.call("get_action", data=data, **entries)


def test_it_gets_a_list_of_actions_in_physical_units_and_an_info(g1_server):
    observation = g1_observation()
    reply = asked(g1_server.port, observation)
    assert isinstance(reply, list)
    action, info = reply
    assert info["prompt"] == [["pick up the apple"]]
    assert {key: values.shape for key, values in action.items()} == {
        key: (1, HORIZON, size) for key, size in ACTION.items()
    }
    assert all(values.dtype == np.float32 for values in action.values())
    np.testing.assert_array_equal(action["left_arm"][:, 0], observation["state"]["left_arm"][:, 0])


def test_the_actions_are_those_of_a_stock_server(g1_server):
    observation = g1_observation()
    ours, _ = asked(g1_server.port, observation)
    with StockServer(LINES["n1d7"]()) as stock:
        theirs, _ = asked(stock.port, observation)
    for key in theirs.keys() & ours.keys():
        np.testing.assert_array_equal(ours[key], theirs[key][:, :1].repeat(HORIZON, axis=1))
    assert theirs.keys() & ours.keys() == {*ACTION} - {"base_height_command", "navigate_command"}


def test_what_is_wrong_comes_as_a_map_with_an_error(g1_server):
    reply = asked(g1_server.port, g1_observation(camera="head"))
    assert isinstance(reply, dict)
    assert "video.ego_view: missing" in reply["error"]


def test_without_the_token_of_the_server_it_is_told_so():
    with PolicyServer(G1Policy(), host="127.0.0.1", port=0, api_token="s3cret") as server:
        assert "API token" in asked(server.port, g1_observation())["error"]


def test_the_package_itself_is_answered(g1_server):
    package = pytest.importorskip("inspect_robots_unitree_g1.policy", reason="the client itself")
    types = pytest.importorskip("inspect_robots.types")
    state = {"joint_pos": np.linspace(0.0, 0.5, 16)}
    state |= {key: np.zeros(STATE[key]) for key in ("left_leg", "right_leg", "waist")}
    images = {"head_cam": g1_observation()["video"]["ego_view"][0, 0]}
    seen = types.Observation(images=images, state=state, instruction="pick up the apple")
    chunk = package.Gr00tPolicy(port=g1_server.port).act(seen)
    assert len(chunk.actions) == 16
    np.testing.assert_allclose(chunk.actions[-1].data, state["joint_pos"], atol=1e-6)
