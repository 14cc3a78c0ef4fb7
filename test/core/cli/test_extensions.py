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
    both = {"robot_commands": ("wave",), "missing_package.commands": ("jump",)}
    monkeypatch.setattr(extensions, "EXTENSIONS", both)
    assert main(["wave"]) == 7


@pytest.mark.parametrize("arguments", [[], ["bags", "--output", "x", "--", "-v"], ["--help"]])
def test_a_command_of_an_extension_that_is_not_there_says_where_it_is(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extensions, "EXTENSIONS", {"missing_package.cli": ("wave",)})
    assert main(["wave", *arguments]) == 1
    assert capsys.readouterr().err == (
        "gr00t-policy wave: wave is a command of missing_package: source the workspace that "
        "holds it\n"
    )
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "wave" not in capsys.readouterr().out


def test_looking_for_an_extension_imports_none_of_its_modules() -> None:
    sys.modules.pop("wsgiref.handlers", None)
    assert extensions.is_installed("wsgiref.handlers")
    assert "wsgiref.handlers" not in sys.modules
    assert not extensions.is_installed("wsgiref.missing")
    assert not extensions.is_installed("missing_package.commands")
