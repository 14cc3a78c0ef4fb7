# SPDX-License-Identifier: Apache-2.0
"""Tests that share a costly fixture, as Ray is, stay in one process."""

import pytest


@pytest.mark.xdist_group("groups")
def test_groups_are_kept_together(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("loadgroup", False):
        pytest.skip("only where pytest-xdist distributes by group")
    assert request.node.nodeid.endswith("@groups"), "this pytest and this pytest-xdist do not fit"
