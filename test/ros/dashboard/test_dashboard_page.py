# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, driven with mouse and keyboard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, browser_page, find_browser
from dashboard_rig import DashboardRig
from helpers import wait_until

BROWSER = find_browser()
SCREENSHOTS = os.environ.get("DASHBOARD_SCREENSHOTS")

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser: apt install chromium, and the page is tested"
)


@pytest.fixture
def page(rig: DashboardRig, tmp_path: Path) -> Iterator[Page]:
    folder = tmp_path / "browser"
    folder.mkdir()
    with browser_page(BROWSER, folder) as page:
        page.open(rig.server.url)
        page.wait_for_text("#connection", "connected")
        yield page
        if SCREENSHOTS:
            page.screenshot(Path(SCREENSHOTS, "dashboard.png"))
        assert page.errors == []


def brightness(page: Page) -> float:
    """The mean red of the camera's picture as the page shows it; -1 before the first."""
    return page.value(
        "(() => { const i = document.querySelector('#camera-front img');"
        "if (!i.naturalWidth) return -1; const c = document.createElement('canvas');"
        "c.width = c.height = 1; const p = c.getContext('2d'); p.drawImage(i, 0, 0, 1, 1);"
        "return p.getImageData(0, 0, 1, 1).data[0]; })()"
    )


def test_start_see_the_picture_change_stop(rig: DashboardRig, page: Page) -> None:
    page.wait_for_text("#policy .state", "stopped")
    page.click("[data-command=start_policy]")
    page.wait_for_text("#answer", "started")
    page.wait_for_text("#policy .state", "running")
    first = []
    wait_until(lambda: first.append(brightness(page)) or first[-1] >= 0, what="a picture")
    wait_until(lambda: abs(brightness(page) - first[-1]) > 20, what="another picture")

    page.click("#instruction")
    page.value("document.querySelector('#instruction').select()")
    page.type("pick up the pear")
    page.click("#instruct button")
    wait_until(lambda: "pick up the pear" in str(rig.policy.observations[-1]), what="the pear")

    page.click("[data-command=stop_policy]")
    page.wait_for_text("#answer", "stopped")
    page.wait_for_text("#policy .state", "stopped")


def test_what_is_missing_is_said(rig: DashboardRig, page: Page) -> None:
    page.wait_for_text("#control .state", "no answer")
    page.wait_for_text("#recorder .reason", "no recorder_node reports")
    page.click("[data-command=discard_episode]")
    page.wait_for_text("[data-command=discard_episode]", "again")
    assert page.text("#answer") == ""
    page.click("[data-command=discard_episode]")
    page.wait_for_text("#answer", "there is no recorder_node")
    page.click("[data-command=stop_motion]")
    page.wait_for_text("#answer", "there is no control_node")


def test_the_page_says_that_the_dashboard_has_ended(rig: DashboardRig, page: Page) -> None:
    rig.server.stop()
    page.wait_for_text("#connection", "not connected")
    page.errors.clear()  # the browser logs connections that are refused
