# SPDX-License-Identifier: Apache-2.0
"""What clients tell about their robots is shown to people, capped, and kept from policies."""

import json
import re
from pathlib import Path

import pytest
from crowds import assert_answered, crowded, observe
from rich.console import Console
from toy_policy import toy_observation

from gr00t_policy_core import RemoteError
from gr00t_policy_core.cli.top import robots, view
from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.serving.server import prometheus
from gr00t_policy_core.serving.wire.client_info import MAX_CHARS, MAX_COUNTS, ClientInfo

INFO = {
    "robot": "left [cell]",
    "task": "pick up the apple",
    "state": "holding",
    "reason": "the enable signal is off",
    "outcomes": {"success": 7, "failure": 2, "unknown: taken over": 1},
    "holds": {"the enable signal is off": 3, "chunk # ended and no other came": 1},
}


def test_the_metrics_and_top_show_what_a_client_tells(server, client):
    client.get_action(toy_observation(), {"client_info": INFO})
    client.get_action(toy_observation())  # what was told before stays
    told = client.call_endpoint("metrics")
    assert told["clients"][0]["info"] == INFO
    console = Console(width=250, record=True)
    console.print(view(told, told, 1.0), *robots(told["clients"]))
    text = console.export_text()
    for shown in (
        "left [cell]",
        "holding: the enable",
        "7 success, 2 failure, 1 unknown: taken over",
        "4, mostly: the",
    ):
        assert shown in text
    lines = {
        (sample.name, *sample.labels.values()): sample.value
        for family in prometheus.families(server.metrics(), prometheus.LabelValues())
        for sample in family.samples
    }
    name = "gr00t_policy_robot"
    assert lines[f"{name}_outcomes_total", "left [cell]", "success"] == 7
    assert lines[f"{name}_holds_total", "left [cell]", "the enable signal is off"] == 3
    assert lines[f"{name}_state", "left [cell]", "holding", "pick up the apple"] == 1


def test_a_robot_that_asks_for_nothing_is_known_too(server, client):
    assert client.call_endpoint("client_info", INFO) == {}
    told = client.call_endpoint("metrics")
    assert told["clients"][0]["info"] == INFO
    assert told["requests"] == {"client_info": 1, "metrics": 1}
    assert told["clients"][0]["answers"] == 0


def test_labels_that_clients_choose_stay_few_over_the_life_of_a_server(server, client):
    labels = prometheus.LabelValues()
    client.call_endpoint("client_info", INFO)
    for number in range(300):
        task = f"pick up cube {number}"
        holds = {f"reason {number}": 1, f"other reason {number}": 2}
        client.call_endpoint("client_info", {**INFO, "task": task, "holds": holds})
        samples = [
            sample
            for family in prometheus.families(server.metrics(), labels)
            for sample in family.samples
        ]
    by_name = {sample.name: sample for sample in samples}
    assert by_name["gr00t_policy_robot_state"].labels == {
        "robot": "left [cell]",
        "state": "holding",
        "task": "other",
    }
    assert by_name["gr00t_policy_robot_holds_total"].labels["reason"] == "other"
    assert by_name["gr00t_policy_robot_holds_total"].value == 3  # both reasons together
    assert len({(s.name, *s.labels.values()) for s in samples}) == len(samples)


def test_a_server_says_that_it_takes_the_info(server, client):
    assert "client_info" in client.get_capabilities()


def test_no_policy_gets_to_see_it_and_requests_with_different_ones_are_joined():
    with crowded(max_batch=4) as crowd:
        for seed in (1, 2):
            crowd.ask(seed, observe(seed), {"client_info": {"robot": f"robot {seed}"}})
        results = crowd.finish()
        for seed in (1, 2):
            assert_answered(results[seed], observe(seed))
        assert crowd.policy.calls[1:] == [(2, None)]
        infos = [client["info"] for client in crowd.server.metrics()["clients"]]
        robots = {info["robot"] for info in infos if info is not None}
        assert robots == {"robot 1", "robot 2"}


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ("left", "must be a map, got str"),
        ({"task": b"\xff"}, "client_info.task must be a text, got bytes"),
        ({"outcomes": {"success": 2.5}}, "must map texts to counts, has 'success'"),
        ({"outcomes": {"success": 2**63}}, "must map texts to counts, has 'success'"),
        ({"robot": 3}, "client_info.robot must be a text, got int"),
        ({"holds": ["x"]}, "client_info.holds must be a map of counts, got list"),
        ({"outcomes": {"success": -1}}, "must map texts to counts, has 'success'"),
        ({"outcomes": {"success": True}}, "must map texts to counts, has 'success'"),
    ],
)
def test_what_is_no_info_is_named(client, info, reason):
    with pytest.raises(RemoteError, match=reason):
        client.get_action(toy_observation(), {"client_info": info})
    with pytest.raises(RemoteError, match=reason):
        client.call_endpoint("client_info", info)
    assert all(c["info"] is None for c in client.call_endpoint("metrics")["clients"])


def test_an_info_without_data_or_with_too_many_is_refused(client):
    with pytest.raises(RemoteError, match="client_info needs data"):
        client.call_endpoint("client_info", requires_input=False)
    with pytest.raises(RemoteError, match="items"):
        client.call_endpoint("client_info", {"holds": {str(n): n for n in range(1000)}})


def test_an_info_is_capped():
    many = {f"reason {number}": number for number in range(100)}
    info = ClientInfo.of({"robot": "x" * 10_000, "holds": many, "unknown": object()})
    assert info.robot == "x" * MAX_CHARS
    assert list(info.holds.values()) == list(range(99, 99 - MAX_COUNTS, -1))
    with pytest.raises(PolicyError, match="must be a map"):
        ClientInfo.of(None)


def test_the_dashboard_asks_only_for_metrics_that_exist(server, client):
    client.get_action(toy_observation(), {"client_info": INFO})
    with pytest.raises(RemoteError):
        client.call_endpoint("get_action", {"observation": {}})
    exported = {
        sample.name
        for family in prometheus.families(server.metrics(), prometheus.LabelValues())
        for sample in family.samples
    }
    root = Path(__file__).resolve().parents[4]
    dashboard = json.loads((root / "deploy" / "grafana-dashboard.json").read_text())
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(targets) >= 8
    for expression in targets:
        names = set(re.findall(r"gr00t_policy_\w+", expression))
        assert names
        assert names <= exported, expression
