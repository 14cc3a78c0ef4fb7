# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, beside the simulated arm and every node, each a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Page, browser_page, find_browser
from helpers import wait_until
from leader_arm import TELEOP_TOPIC, LeaderArm
from task_rig import SLOW_S, Processes, expert_server, node_command, spinning_node

from gr00t_ros.sim.demo_processes import config, page_from_log

pytest.importorskip("fastapi", reason="pip install fastapi uvicorn websockets")
pytest.importorskip("mujoco", reason="pip install mujoco")

BROWSER = find_browser()
SCREENSHOTS = os.environ.get("DASHBOARD_SCREENSHOTS")

pytestmark = [
    pytest.mark.xdist_group("task in simulation"),  # not beside another simulated arm
    pytest.mark.skipif(BROWSER is None, reason="no browser: apt install chromium"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("robot")
    demo = config("demo.yaml")
    robot = {
        "max_age_s": 5.0,
        "max_observation_age_s": 60.0,
        "teleop_timeout_s": 5.0,
        "action__single_arm__teleop_topic": TELEOP_TOPIC,
    }
    dashboard = ["dashboard", "--config", str(demo), "--port", "0"]
    with expert_server(folder) as port, spinning_node("leader") as node:
        LeaderArm(node)
        processes = Processes(
            {
                "dashboard": [sys.executable, "-m", "gr00t_policy_core", *dashboard],
                "sim_node": node_command(
                    "sim_node", demo, image_rate_hz=5.0, image_width=320, image_height=240
                ),
                "policy_node": node_command("policy_node", demo, policy__port=port, **robot),
                "control_node": node_command("control_node", demo, autostart=True, **robot),
                "recorder_node": [
                    *node_command("recorder_node", demo, autostart=True),
                    *("-p", f"record.folder:={folder / 'episodes'}"),
                ],
                "task_node": node_command("task_node", demo),
            },
            folder,
        )
        try:
            processes.start("dashboard", "sim_node", "policy_node", "control_node")
            processes.start("recorder_node", "task_node")
            wait_until(
                lambda: page_from_log(processes.log("dashboard")), SLOW_S, "the page is served"
            )
            address = page_from_log(processes.log("dashboard"))
            assert address is not None
            yield address
        finally:
            print(processes.end())  # noqa: T201 - pytest shows it where a test fails


@pytest.fixture
def page(url: str, tmp_path: Path) -> Iterator[Page]:
    folder = tmp_path / "browser"
    folder.mkdir()
    with browser_page(BROWSER, folder) as page:
        page.open(url)
        page.wait_for_text("#connection", "connected")
        yield page
        assert page.errors == []


def click_until(page: Page, command: str, has_happened: Callable[[], object]) -> None:
    """Click a button, and again where a node was not ready for it yet."""

    def look() -> object:
        return has_happened() or page.click(f"[data-command={command}]")

    wait_until(look, SLOW_S, f"{command}; the page says {page.text('#answer')!r}")


def fill(page: Page, selector: str, text: str) -> None:
    """Write into a field as a person does, in place of what is in it."""
    page.click(selector)
    page.value(f"document.querySelector({selector!r}).select()")
    page.type(text)


def caption(page: Page) -> str:
    return page.text("#camera-front figcaption")


def has_green_line(page: Page) -> bool:
    """Whether a plot has a line in the colour of what is measured."""
    return page.value(
        "[...document.querySelectorAll('#joints canvas')].some((c) => {"
        "const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "for (let i = 0; i < p.length; i += 4)"
        " if (p[i + 3] > 200 && p[i + 1] > p[i] + 50 && p[i + 1] > p[i + 2] + 30) return true;"
        "return false; })"
    )


def take_picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(Path(SCREENSHOTS, f"{name}.png"))


def test_a_person_runs_the_robot_from_the_page(page: Page) -> None:
    for kind, state in (("control", "waiting"), ("recorder", "ready"), ("task", "no task")):
        page.wait_for_text(f"#{kind} .state", state)
    click_until(page, "start_policy", lambda: page.text("#policy .state") == "running")
    page.wait_for_text("#control .state", "running")
    seen = caption(page)
    wait_until(lambda: "picture" in caption(page) != seen, SLOW_S, "the picture changes")

    wait_until(lambda: has_green_line(page), SLOW_S, "a plot in its colours")

    click_until(page, "start_episode", lambda: page.text("#recorder .state") == "recording")
    click_until(page, "intervene", lambda: page.text("#control .state") == "a person drives")
    take_picture(page, "intervention")
    click_until(page, "hand_back", lambda: page.text("#control .state") == "running")
    click_until(page, "go_shadow", lambda: "shadow" in page.text("#control .mode"))
    page.wait_for_text("#control .state", "running")
    click_until(page, "go_live", lambda: page.value("document.querySelector('.mode').hidden"))
    page.click("[data-command=stop_episode][data-text=success]")
    page.wait_for_text("#recorder .state", "ready")
    page.wait_for_text("#recorder .figures", "episodes1,")
    take_picture(page, "running")

    click_until(page, "stop_policy", lambda: page.text("#policy .state") == "stopped")
    page.wait_for_text("#control .state", "holding")


def test_a_person_runs_a_task_and_cancels_it(page: Page) -> None:
    page.wait_for_text("#task .state", "no task")
    fill(page, "#task-instruction", "pick up the green cube and put it into the bin")
    fill(page, "#task-enders", "polcy: {key: done}")
    page.click("#run-task button")
    page.wait_for_text("#answer", "did you mean policy?")
    assert "failed" in page.value("document.querySelector('#answer').className")

    fill(page, "#task-enders", "policy: {key: done}")
    fill(page, "#task-limit", "300")
    page.click("#run-task button")
    page.wait_for_text("#answer", "the task runs: pick up the green cube")
    page.wait_for_text("#task .state", "running")
    page.wait_for_text("#task .figures", "s of 300.0 s")
    page.wait_for_text("#task .enders", "policy {key: done}: done is 0")
    assert page.value("document.querySelector('#instruction').value").startswith(
        "pick up the green"
    )
    take_picture(page, "task")

    page.click("#cancel-task")
    page.wait_for_text("#answer", "the task is cancelled, the robot brakes")
    page.wait_for_text("#task .state", "no task")
    page.wait_for_text("#task .figures", "unknown (cancelled)")
    page.wait_for_text("#policy .state", "stopped")
    page.click("#cancel-task")
    page.wait_for_text("#answer", "no task runs")
    take_picture(page, "cancelled")
