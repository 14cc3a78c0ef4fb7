# SPDX-License-Identifier: Apache-2.0
"""What the documentation says of the code without ROS, and where its links lead."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from toy_policy import ToyPolicy

from gr00t_policy_core import PolicyClient, PolicyServer, testing
from gr00t_policy_core.cli import make_parser
from gr00t_policy_core.control.blend import BlendMode

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
SOURCES = (
    *("gr00t_policy_core", "gr00t_ros"),
    *("bench", "config", "deploy", "examples", "launch", "robots", "scripts"),
)
CODE = [path for folder in (*SOURCES, "docs", "test") for path in (ROOT / folder).rglob("*.*")]
# Files that a reader writes, and their own packages.
OF_READERS = {
    "metadata.yaml",
    "my_policy.py",
    "test_my_policy.py",
    "my_robot.yaml",
    "my_robot/message_types.py",
}
# [text](target), where the target is not an address of another site.
LINK = re.compile(r"\[[^]]*\]\((?!https?:)([^)\s]+)\)")


def without_code(text: str) -> str:
    """Markdown without its blocks of code, which are not Markdown."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that the headings of a page get, on GitHub and from MyST."""
    headings = re.findall(r"^#+ +(.*)$", without_code(page.read_text()), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(without_code(page.read_text())):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        is_page = target.suffix == ".md" and target.exists()
        if not target.exists() or (anchor and not (is_page and anchor in anchors(target))):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    text = without_code(page.read_text())
    files = {path.relative_to(ROOT).as_posix() for path in CODE}
    named = set(re.findall(r"`([\w/]+\.(?:py|yaml|xml|bash))`", text)) - OF_READERS
    modules = re.findall(r"`(gr00t_(?:policy_core|ros)(?:\.[a-z_0-9]+)+)", text)

    missing = [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)]
    missing += [name for name in modules if not is_module(name)]

    assert missing == []


def test_the_quickstart_names_every_extra_that_users_install() -> None:
    extras = set(runpy.run_path(str(ROOT / "setup.py"))["EXTRAS"])
    of_developers = {"lint", "test", "dev", "bench", "fuzz"}
    table = (DOCS / "quickstart.md").read_text().partition("| extra | for |")[2]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row[:30])}
    assert extras - of_developers - named == set()


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one(page: Path, capsys: pytest.CaptureFixture) -> None:
    wrong = []
    for command in commands_of(page):
        # After an option it is its value, else "and so on".
        filled = re.sub(r"(--[\w-]+) …", r"\1 value", command).replace("…", "")
        filled = filled.replace("PORT", "5555").rstrip("& ")
        try:
            make_parser().parse_args(shlex.split(filled, comments=True)[1:])
        except SystemExit:
            wrong.append((command, capsys.readouterr().err))

    assert wrong == []


def commands_of(page: Path) -> list[str]:
    """The lines of a page's shell that run `gr00t-policy`."""
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("gr00t-policy ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_extra_and_every_target_of_make_of_a_page_exists(page: Path) -> None:
    extras = set(runpy.run_path(str(ROOT / "setup.py"))["EXTRAS"])
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    named = {name for names in re.findall(r"\.\[([\w,]+)\]", text) for name in names.split(",")}
    made = set(re.findall(r"(?:^ *|`|\w=\S+ )make ([a-z][\w-]*)", text, re.MULTILINE))

    assert named - extras == set()
    assert made - targets == set()


@pytest.mark.parametrize("folder", SOURCES)
def test_every_page_that_the_sources_name_exists(folder: str) -> None:
    missing = []
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix in (".py", ".yaml", ".service", ".bash", ".xml"):
            named = re.findall(r"\bdocs/[\w/-]+\.(?:md|png|svg|gif)", path.read_text())
            missing += [(path.name, name) for name in named if not (ROOT / name).exists()]

    assert missing == []


@pytest.mark.parametrize("name", ["cli", "messages", "robots"])
def test_a_page_of_the_reference_is_made_from_the_code(name: str) -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "pages" / f"{name}.py"))["page"]()

    assert (DOCS / "reference" / f"{name}.md").read_text() == page, "run `make reference`"


def names_of(page: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "pages" / f"{page}.py"))


def test_a_comment_after_an_empty_line_is_the_heading_of_the_fields_below_it() -> None:
    text = "# A message.\n\nint8 A=1  # a\n# and more\n\n# Of b\n# and c\nint8 b  # b\nint8 c\n"

    header, members = names_of("messages")["parse"](text)

    assert header == ["A message."]
    found = [(member.name, member.comment, member.heading) for member in members]
    assert found == [("A", "a and more", ""), ("b", "b", "Of b and c"), ("c", "", "Of b and c")]


def test_the_constants_of_each_part_of_an_action_are_no_fields() -> None:
    text = "# It.\n\nint8 a  # goal\n---\nint8 b  # result\n---\nint8 C=1  # c\nint8 d  # so far\n"
    parts = ("goal", "result", "feedback")

    lines = list(names_of("messages")["_sections"](text, parts, ()))

    constants = lines.index("| constant | value | meaning |")
    assert lines[constants + 2] == "| `C` | 1 | c |"
    feedback = lines.index("| feedback | type | meaning |")
    assert lines[feedback + 2] == "| `d` | `int8` | so far |"


def test_the_messages_that_nodes_publish_come_first() -> None:
    files = (ROOT / "msg").glob("*.msg")
    published = {file.stem for file in files if "Published by:" in file.read_text()}

    assert set(names_of("messages")["PUBLISHED"]) == published


def test_no_field_of_a_message_lacks_its_comment() -> None:
    messages = names_of("messages")
    for file in (ROOT / "msg").glob("*.msg"):
        _, members = messages["parse"](file.read_text())
        assert [member.name for member in members if not member.comment] == [], file.name


def test_the_page_of_commands_says_what_is_required_and_what_may_come_again() -> None:
    parser = argparse.ArgumentParser()
    argument = names_of("cli")["_argument"]

    def shown(*flags: str, **options: Any) -> str:
        return argument(parser.add_argument(*flags, **options))

    assert shown("--rate", required=True, metavar="HZ") == "`--rate HZ` (required)"
    assert shown("--to", "-t", action="append") == "`--to TO`, `-t TO` (may be repeated)"
    assert shown("--by", action="extend", nargs="+") == "`--by BY ...` (may be repeated)"
    assert shown("--in", action="append", help="may be repeated") == "`--in IN`"
    assert shown("--is", action="store_true") == "`--is`"
    assert shown("--at", nargs="?", choices=("a", "b")) == "`--at [{a,b}]`"
    assert shown("file", nargs="*") == "`[file ...]`"


def test_the_policy_of_the_tutorial_is_served_and_passes_its_own_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DOCS / "tutorials" / "your-own-policy.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "my_policy.py").write_text(blocks[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_policy", raising=False)
    (test,) = [block for block in blocks if "test_hold_still" in block]
    names: dict[str, Any] = {}
    exec(compile(test, "test_my_policy.py", "exec"), names)

    for check in testing.CHECKS:
        names["test_hold_still"](check)
    with PolicyServer(names["HoldStill"](), host="127.0.0.1", port=0) as server:
        server.register_endpoint("double", lambda value: {"doubled": 2 * value})
        with PolicyClient("127.0.0.1", server.port) as client:
            assert client.call_endpoint("double", {"value": 21}) == {"doubled": 42}


def test_the_entries_of_the_metrics_are_listed() -> None:
    page = (DOCS / "how-to" / "serve-many-robots.md").read_text()
    section = page.partition("### Metrics")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    listed = set(re.findall(r"`(\w+)`", " ".join(rows)))

    with PolicyServer(ToyPolicy(), host="127.0.0.1", port=0) as server:
        assert listed == {*server.metrics(), "replicas"}


def test_the_endpoints_of_a_server_are_listed() -> None:
    with (
        PolicyServer(ToyPolicy(), host="127.0.0.1", port=0) as server,
        PolicyClient("127.0.0.1", server.port) as client,
    ):
        error = client.send_request("no such endpoint")["error"]
        ping = client.call_endpoint("ping")

    endpoints = re.findall(r"\w+", error.partition("there are ")[2])
    assert first_cells("explanation/wire.md", "endpoint") == set(endpoints)
    assert first_cells("explanation/wire.md", "field") == {*ping, "state"}


def test_the_blend_modes_are_listed() -> None:
    modes = {mode.value for mode in BlendMode}

    assert first_cells("explanation/chunk-blending.md", "`blend`") == modes


def first_cells(page: str, heading: str) -> set[str]:
    """What stands as code in the first column of the table with this heading."""
    _, _, table = (DOCS / page).read_text().partition(f"| {heading} |")
    rows = table.partition("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_texts_that_the_page_of_troubles_quotes_stand_in_the_sources() -> None:
    source = "".join(
        path.read_text() for folder in SOURCES[:2] for path in sorted((ROOT / folder).rglob("*.py"))
    )
    source = re.sub(r'"\s*f?"', "", source)  # strings that are folded
    lines = (DOCS / "how-to" / "troubleshoot.md").read_text().splitlines()
    first_cells = [line.split("|")[1] for line in lines if line.startswith("| ")]
    quotes = re.findall(r"`([^`]+)`", " ".join(first_cells))
    # Numbers and names of a robot stand for what the sources fill in.
    parts = [part.strip() for quote in quotes for part in re.split(r"…|,|\d+|\w+\.\w+", quote)]

    assert [part for part in parts if part not in source] == []


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    pages = {path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md")}
    assert {page for page in pages if f"({page}" not in text} == {"docs/contributing.md"}


def test_every_message_has_a_section() -> None:
    text = (DOCS / "reference" / "messages.md").read_text()

    names = sorted(
        path.stem for kind in ("msg", "srv", "action") for path in (ROOT / kind).glob(f"*.{kind}")
    )

    assert sorted(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == names
