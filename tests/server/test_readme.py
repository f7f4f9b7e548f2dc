"""The README is true: its tour runs, its tables are the code's, and what it names is there."""

import argparse
import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import get_args

import pytest
from graphql import GraphQLEnumType, build_schema, parse, validate
from prometheus_client import REGISTRY

from ivs.client import SERVICES
from resolvers.errors import Code
from schema.transport.graphiql import EXAMPLES
from server import commands
from server.settings import CHANNEL_PRESETS, CHANNEL_TYPES, table
from tests.program import ROOT, Served
from tests.tour import Tour, steps

README = (ROOT / "README.md").read_text("utf-8")
PLAIN = re.sub(r"\s+", " ", README)
SCHEMA = build_schema((ROOT / "schema.graphql").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
NAMED = re.findall(r"`([^`\n]+)`", README)
# Names in capitals that are the reader's to fill in, or belong to others.
FOREIGN = {"REVISION", "MESSAGE", "USERNAME", "FILE", "READY", "MALFORMED", "AWS_", "AWS_PROFILE"}
FOREIGN |= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def between(name: str) -> str:
    found = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    assert len(found) == 1, name
    return str(found[0])


def rows(name: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in between(name).splitlines()[2:]]


def test_tour(tmp_path: Path) -> None:
    todo = steps(README)
    assert {step.action for step in todo} == {
        "banner", "query", "answer", "subscribe", "event", "start", "ctrl-c",
        "run", "output", "script", "watch", "next",
    }  # fmt: skip
    with Served(tmp_path / "server") as served, Tour(served, tmp_path) as tour:
        for step in todo:
            tour.take(step)


def test_first_commands_are_the_two() -> None:
    first = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert first
    assert [line.partition("#")[0].strip() for line in first[1].splitlines()] == ["make run", "make test"]


def test_tabs_are_the_tour_s_first_steps() -> None:
    operations = r"^(?:query|mutation|subscription) (\w+)"
    tour = [name for step in steps(README) for name in re.findall(operations, step.text)]
    tabs = [re.findall(operations, example.document, re.MULTILINE)[0] for example in EXAMPLES]
    assert tabs == tour[: len(tabs)]


def test_what_the_tour_leaves_is_no_part_of_the_sources() -> None:
    saved = re.search(r"save this as `([^`]+)`", PLAIN)
    assert saved
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert any(fnmatchcase(f"/{saved[1]}", pattern) for pattern in ignored)


@pytest.mark.parametrize("document", re.findall(r"```graphql\n(.*?)```", README, re.DOTALL))
def test_documents_are_valid(document: str) -> None:
    assert validate(SCHEMA, parse(document)) == []


def test_every_block_of_code_is_run_or_checked() -> None:
    """A block that is neither marked nor checked below could say anything."""
    languages = re.findall(r"^ *```(\w+)$", README, re.MULTILINE)
    marked = [step.language for step in steps(README) if step.language]
    checked = ["sh", "json", "json"]  # the two commands, the two policies
    assert sorted(languages) == sorted(marked + checked)


def test_settings_are_the_code_s() -> None:
    assert between("settings") == f"{table()}\n"


def test_codes_are_the_closed_list() -> None:
    assert [row[0] for row in rows("codes")] == [f"`{code}`" for code in sorted(get_args(Code), key=README.index)]
    assert {row[0].strip("`") for row in rows("codes")} == set(get_args(Code))


def test_close_codes_are_all_there() -> None:
    source = "".join(file.read_text("utf-8") for file in (ROOT / "schema/transport").glob("*.py"))
    used = set(re.findall(r"\b(?:Close\(|code=)(\d{4})\b", source)) | set(re.findall(r"Close\((\d{4}) if", source))
    assert len(used) > 8
    assert {code for code in used if not re.search(rf"\b{code}\b", README)} == set()


def test_metrics_are_the_registry_s() -> None:
    ours = {
        metric._name + ("_total" if metric._type == "counter" else ""): ", ".join(
            f"`{label}`" for label in metric._labelnames
        )
        for metric in list(REGISTRY._collector_to_names)
        if getattr(metric, "_name", "").startswith("streamcat_")
    }
    assert {row[0].strip("`"): row[1] for row in rows("metrics")} == ours
    assert all(row[2] for row in rows("metrics"))


def test_names_in_capitals_are_settings_or_codes() -> None:
    known = {line.split("`")[1] for line in table().splitlines()[2:]} | set(get_args(Code)) | FOREIGN
    known |= {*CHANNEL_TYPES, *CHANNEL_PRESETS}
    for kind in SCHEMA.type_map.values():
        if isinstance(kind, GraphQLEnumType):
            known |= set(kind.values)
    used = {word for name in NAMED for word in re.findall(r"\b[A-Z][A-Z_]{3,}\b", name) if "…" not in name}
    assert used - known == set()


def test_make_targets_are_the_makefile_s() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)`", README)) | {"run", "test"} == set(phony[1].split())


def all_commands(parser: argparse.ArgumentParser, before: str = "") -> Iterator[str]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield before.strip()
    for action in below:
        for name, each in action.choices.items():
            yield from all_commands(each, f"{before} {name}")


def test_commands_are_the_program_s() -> None:
    listed = re.findall(r"^\| `([a-z ]+?)(?: [A-Z]+)?` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(all_commands(commands._parser()))
    used = re.findall(r"python -m app ([a-z]+(?: [a-z]+)?)", README)
    known = {word for command in all_commands(commands._parser()) for word in (command, command.split()[0])}
    assert [command for command in used if command not in known and command.split()[0] not in known] == []


def test_paths_exist() -> None:
    installed = {".venv/bin/python", ".venv/bin/node", "web/node_modules", "web/watch.mjs"}
    paths = {name for name in NAMED if re.fullmatch(r"\.?[a-z_][\w.-]*(/[\w.-]*)+|[\w-]+\.(py|graphql|yaml)", name)}
    paths = {path for path in paths if not path.startswith(("application/", "text/"))} - installed
    assert len(paths) > 15
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    linked = set(re.findall(r"\]\(([^)h][^)]*)\)", README))
    pages = {str(file.relative_to(ROOT)) for file in ROOT.glob("docs/*.md")}
    assert linked == {"schema.graphql", "deploy/chat_review/README.md"} | pages
    assert {path for path in linked if not (ROOT / path).exists()} == set()


def test_rooms_are_all_in_the_map() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"tests", "web", "docs", "bench"}
    assert {name.rstrip("/") for name in re.findall(r"^\| `([a-z]+/)` \|", README, re.MULTILINE)} == rooms


SETUP = ROOT / "ivs/delivery.py"
EMULATED = {"ensure_recording_configuration", "ensure_logging_configuration"}
OTHERS = {file for room in ("ivs", "subscriptions", "resolvers", "server") for file in (ROOT / room).rglob("*.py")}


def aws_actions(*files: Path) -> set[str]:
    """The IAM actions of the calls to AWS in these files."""
    batches = {
        "DeleteMessageBatch": "DeleteMessage",
        "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
        # Of S3, operations and permissions differ by name.
        "ListObjectsV2": "ListBucket",
        "DeleteObjects": "DeleteObject",
    }
    actions: set[str] = set()
    for file in files:
        tree = ast.parse(file.read_text("utf-8"))
        # Only for the emulator.
        tree.body = [node for node in tree.body if getattr(node, "name", "") not in EMULATED]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") not in {"call", "pages", "content"}:
                continue
            service, operation = (getattr(argument, "value", None) for argument in node.args[:2])
            assert service in SERVICES, ast.unparse(node)
            prefix = "ivs" if service == "ivs-realtime" else service
            name = "".join(word.capitalize() for word in str(operation).split("_"))
            actions.add(f"{prefix}:{batches.get(name, name)}")
            if any(keyword.arg == "tags" for keyword in node.keywords):
                actions.add(f"{prefix}:TagResource")
    return actions


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("setup", aws_actions(SETUP)),
        (
            "run",
            aws_actions(*(file for file in OTHERS - {SETUP, ROOT / "ivs/client.py"} if "emulator" not in str(file))),
        ),
    ],
    ids=["setup", "run"],
)
def test_policies_allow_what_is_called(name: str, actions: set[str]) -> None:
    policy = re.search(rf"<!-- iam: {name} -->\n *```json\n(.*?)```", README, re.DOTALL)
    assert policy
    assert len(actions) > 4
    assert set(re.findall(r'"((?:ivs|ivschat|sqs|events|s3|logs):\w+)"', policy[1])) == actions


def startup_sentences() -> Iterator[str]:
    """Every sentence of a StartupError, with `…` for what is only known when it is said."""
    for file in sorted((ROOT / "server").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "StartupError":
                said = node.args[0]
                parts = said.values if isinstance(said, ast.JoinedStr) else [said]
                sentence = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
                # Others are passed on as they are.
                if re.search("[a-z]{3}", sentence):
                    yield sentence


def test_startup_sentences_are_explained() -> None:
    sentences = set(startup_sentences())
    assert len(sentences) > 20
    assert {sentence for sentence in sentences if sentence not in PLAIN} == set()


def test_lines_are_short() -> None:
    assert [line for line in README.splitlines() if len(line) > 120 and not line.startswith("|")] == []
