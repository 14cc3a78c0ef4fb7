# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy top` shows a server's clients and what they wait for."""

import sys

import pytest
from toy_policy import toy_observation

from gr00t_policy_core.cli import main


def test_a_server_is_shown_with_its_clients(server, client, capsys, monkeypatch):
    pytest.importorskip("rich", reason="pip install '.[top]'")
    monkeypatch.setenv("COLUMNS", "120")
    client.get_action(toy_observation())
    client.send_request("nope")
    assert main(["top", "--host", "127.0.0.1", "--port", str(server.port), "--once"]) == 0
    shown = capsys.readouterr().out
    assert "ready for" in shown
    assert "1 errors" in shown
    assert "127.0.0.1" in shown
    assert "OPEN" not in shown


def test_the_extra_is_named_where_rich_is_not_installed(server, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.live", None)
    assert main(["top", "--host", "127.0.0.1", "--port", str(server.port), "--once"]) == 1
    assert ".[top]" in capsys.readouterr().err


def test_replicas_are_shown(server):
    pytest.importorskip("rich", reason="pip install '.[top]'")
    from gr00t_policy_core.cli.top import view

    counted = {"size": 4, "ready": 3, "deaths": 2, "retries": 1}
    metrics = {**server.metrics(), "replicas": counted}
    shown = str(view(metrics, metrics, 1.0).title)
    assert "3 of 4 replicas ready, 2 deaths, 1 requests tried again" in shown
