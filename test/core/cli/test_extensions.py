# SPDX-License-Identifier: Apache-2.0
"""Commands that another package adds to `gr00t-policy`."""

import sys
from pathlib import Path

import pytest

from gr00t_policy_core.cli import extensions, main


def test_an_installed_extension_adds_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "robot_commands.py").write_text(
        "def add_commands(commands):\n"
        "    parser = commands.add_parser('wave')\n"
        "    parser.set_defaults(run=lambda args: 7)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(extensions, "EXTENSIONS", ("robot_commands", "missing_package.commands"))
    assert main(["wave"]) == 7


def test_looking_for_an_extension_imports_none_of_its_modules() -> None:
    sys.modules.pop("wsgiref.handlers", None)
    assert extensions.is_installed("wsgiref.handlers")
    assert "wsgiref.handlers" not in sys.modules
    assert not extensions.is_installed("wsgiref.missing")
    assert not extensions.is_installed("missing_package.commands")
