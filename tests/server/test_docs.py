"""The pages of `docs/` are true: every block runs, in the real clients, and every name in them is somewhere."""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import get_args

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, parse, validate

from resolvers.errors import Code
from server import commands
from server.settings import CHANNEL_PRESETS, CHANNEL_TYPES, table
from tests.chat_socket import ChatSocket
from tests.operations import Operations
from tests.pages import Page, scripts, walk
from tests.program import ROOT, Served
from tests.server.test_readme import README, SCHEMA, all_commands, rows

PAGES = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
page = pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in PAGES.items()])

# Of AWS, of Compose, and what stands for the reader's own.
FOREIGN = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "POSTGRES_PASSWORD", "REVISION", "USERNAME",
    "MALFORMED", "PROBLEM", "TEXT_METADATA_CUE",
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.soak
def test_walk(tmp_path: Path, name: str) -> None:
    walks, settings = (Operations, {"WORKERS": "external"}) if name == "operator" else (Page, {})
    with (
        ChatSocket() as chat,
        Served(tmp_path / "server", CHAT_ENDPOINT=chat.url, **settings) as served,
        walks(served, tmp_path) as walker,
    ):
        chat.emulator_url = served.running["emulator_url"]
        for step in walk(PAGES[name]):
            walker.take(step)
        walker.finish()


@page
def test_every_block_is_walked(text: str) -> None:
    blocks = re.findall(r"^```\w+\n", text, re.MULTILINE)
    assert len(blocks) == len(re.findall(r"^<!-- tour: \S+ -->\n```\w+\n", text, re.MULTILINE))
    assert text.count("```") == 2 * len(blocks)


@page
def test_documents_are_valid(text: str) -> None:
    for document in re.findall(r"```graphql\n(.*?)```", text, re.DOTALL):
        # What the page shows to be refused is refused.
        expected = ["nickname"] if "nickname" in document else []
        assert [re.findall("'(nickname)'", error.message) for error in validate(SCHEMA, parse(document))] == (
            [expected] if expected else []
        )


def names_of_schema() -> set[str]:
    """Types, fields, arguments and values."""
    names = set(SCHEMA.type_map)
    for kind in SCHEMA.type_map.values():
        match kind:
            case GraphQLEnumType():
                names |= set(kind.values)
            case GraphQLInputObjectType():
                names |= set(kind.fields)
            case GraphQLObjectType() | GraphQLInterfaceType():
                names |= set(kind.fields) | {name for field in kind.fields.values() for name in field.args}
    return names


@page
def test_names_are_of_the_schema_the_settings_or_the_scripts(text: str) -> None:
    """Each word in the prose's code that looks like a name of ours: `camelCase`, `PascalCase`, `CAPITALS`."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    used = {word for code in re.findall(r"`([^`\n]+)`", prose) for word in re.findall(r"[A-Za-z_]+", code)}
    ours = {word for word in used if re.search(r"[a-z][A-Z]|^[A-Z][A-Z_]{3,}$", word)}
    known = names_of_schema() | set(get_args(Code)) | {*CHANNEL_TYPES, *CHANNEL_PRESETS} | FOREIGN
    known |= {line.split("`")[1] for line in table().splitlines()[2:]}
    known |= set(re.findall(r"[A-Za-z_]+", "".join(re.findall(r"```js\n(.*?)```", text, re.DOTALL))))
    # Of the clients, of AWS and of the browser; the pages name them without a script.
    known |= {"EventSource", "HttpOnly", "SameSite", "useQuery", "useSubscription", "ApproximateAgeOfOldestMessage"}
    known |= {"ServiceQuotaExceededException"}
    assert ours - known == set()


def anchors(text: str) -> set[str]:
    """The headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@page
def test_links_lead_somewhere(text: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 5
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / "docs" / path).resolve() if path else None
        assert target is None or target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text("utf-8") if target else text), link


@page
def test_states_are_all_there(text: str) -> None:
    for name, rows_ in re.findall(r"<!-- states: (\w+) -->\n(.*?)<!-- /states -->", text, re.DOTALL):
        kind = SCHEMA.type_map[name]
        assert isinstance(kind, GraphQLEnumType)
        assert re.findall(r"^\| `(\w+)`", rows_, re.MULTILINE) == list(kind.values)


@page
def test_lines_are_short(text: str) -> None:
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_metrics_and_their_labels_are_the_readme_s() -> None:
    known = {row[0].strip("`"): row[1] for row in rows("metrics")}
    used = re.findall(r"(streamcat_\w+)(?:\{(\w+)!?=)?", PAGES["operator"])
    assert len(used) > 8
    assert [name for name, label in used if name not in known or (label and f"`{label}`" not in known[name])] == []


def test_commands_are_the_program_s() -> None:
    known = set(all_commands(commands._parser()))
    used = {
        use
        for text in PAGES.values()
        for use in re.findall(r"-m app ([a-z]+(?: (?:live|up|down|check|setup)\w*)?)", text)
    }
    assert used - known == set()


def test_compose_takes_what_the_page_says() -> None:
    (named,) = re.findall(r"\*\*With Docker\*\*(.*?)\n\n", PAGES["operator"], re.DOTALL)
    taken = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text("utf-8")))
    assert set(re.findall(r"`([A-Z_]+)`", named)) == taken


def test_what_readers_save_is_no_part_of_the_sources() -> None:
    """A token least of all."""
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    written = re.findall(r'writeFileSync\("(web/[^"]+)"', "".join(PAGES.values()))
    saved = [f"web/{name}" for text in PAGES.values() for name in scripts(text)]
    assert {"web/token", "web/on-air.new"} < set(written)
    assert [path for path in written + saved if not any(fnmatch(f"/{path}", line) for line in ignored)] == []


def test_readme_leads_to_every_page() -> None:
    assert {f"docs/{name}.md" for name in PAGES} <= set(re.findall(r"\]\((docs/[^)]+)\)", README))
