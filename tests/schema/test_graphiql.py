import html
import json
import re
from pathlib import Path

import httpx
import pytest
from graphql import build_schema, parse, validate

from schema.transport import graphiql
from tests.conftest import StartServer

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("example", graphiql.EXAMPLES, ids=lambda example: example.name)
def test_example_fits_the_schema(example: graphiql.Example) -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text(encoding="utf-8"))

    assert validate(schema, parse(example.document)) == []


def test_examples_open_in_order() -> None:
    assert [example.name for example in graphiql.EXAMPLES] == [
        "1-sign-in",
        "2-mine",
        "3-channel-changed",
        "4-live-channels",
    ]


def test_every_asset_is_there_after_set_up() -> None:
    assert graphiql.missing(WEB) == []
    assert all(file.body for file in graphiql.load(WEB).values())


def test_missing_packages_are_named(tmp_path: Path) -> None:
    installed = tmp_path / "node_modules/graphiql/graphiql.min.css"
    installed.parent.mkdir(parents=True)
    installed.touch()

    assert graphiql.missing(tmp_path) == [
        "node_modules/react/umd/react.production.min.js",
        "node_modules/react-dom/umd/react-dom.production.min.js",
        "node_modules/graphiql/graphiql.min.js",
        "node_modules/@graphiql/plugin-explorer/dist/index.umd.js",
        "node_modules/@graphiql/plugin-explorer/dist/style.css",
    ]


def test_assets_stay_in_their_folders() -> None:
    folders = (WEB / "node_modules", ROOT / "schema/transport/static")

    for name, asset in graphiql.ASSETS.items():
        assert re.fullmatch(r"[a-z-]+\.(js|css|svg)", name)
        assert asset.locate(WEB).resolve().is_relative_to(folders[0 if asset.installed else 1].resolve())


def test_page_asks_for_exactly_the_assets_and_for_nothing_elsewhere() -> None:
    files = graphiql.load(WEB)
    page = graphiql.page(files)

    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {
        f"/graphiql/{name}?v={file.version}" for name, file in files.items()
    }
    assert re.findall(r"(?:https?:)?//[^\s]", page) == []
    assert re.findall(r"<script(?![^>]* src=)|<style| style=| on\w+=", page) == []


def tabs(page: str) -> list[dict[str, str | None]]:
    (attribute,) = re.findall(r'data-tabs="([^"]*)"', page)
    found: list[dict[str, str | None]] = json.loads(html.unescape(attribute))
    return found


@pytest.mark.parametrize("channel_id", ["Q2hhbm5lbDox", '"><script>', None])
def test_examples_are_the_tabs_and_the_subscription_knows_its_channel(channel_id: str | None) -> None:
    page = graphiql.page(graphiql.load(WEB), channel_id=channel_id)

    assert [tab["query"] for tab in tabs(page)] == [example.document for example in graphiql.EXAMPLES]
    assert [tab["variables"] and json.loads(tab["variables"]) for tab in tabs(page)] == [
        None,
        None,
        {"channelId": channel_id or ""},
        None,
    ]


def test_hint_names_the_command_and_what_is_missing(tmp_path: Path) -> None:
    page = graphiql.hint_page(graphiql.missing(tmp_path))
    commands = re.findall(r"<code>make ([a-z-]+)</code>", page)

    assert commands == ["install", "run"]
    assert all(f"\n{command}:" in (ROOT / "Makefile").read_text(encoding="utf-8") for command in commands)
    assert "<code>web/node_modules/graphiql/graphiql.min.js</code>" in page
    assert re.findall(r"(?:https?:)?//[^\s]", page) == []


def test_lock_file_names_no_registry() -> None:
    lock = (WEB / "package-lock.json").read_text(encoding="utf-8")

    assert '"resolved": "http' not in lock


async def test_browsers_get_the_page(server_url: str) -> None:
    async with httpx.AsyncClient(base_url=server_url) as client:
        answer = await client.get("/graphql", headers=HTML)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == graphiql.CONTENT_SECURITY_POLICY
    assert '<main id="graphiql"' in answer.text


async def test_root_leads_browsers_to_the_page(server_url: str) -> None:
    async with httpx.AsyncClient(base_url=server_url) as client:
        browser = await client.get("/", headers=HTML)
        program = await client.get("/")

    assert (browser.status_code, browser.headers["location"], browser.headers["vary"]) == (307, "/graphql", "Accept")
    assert program.status_code == 404


async def test_root_leads_nowhere_without_the_page(start_server: StartServer) -> None:
    async with start_server(worker=False, graphiql=False) as plain, httpx.AsyncClient(base_url=plain.url) as client:
        assert (await client.get("/", headers=HTML)).status_code == 404


async def test_assets_are_served_and_kept_by_version(server_url: str) -> None:
    async with httpx.AsyncClient(base_url=server_url) as client:
        for name, file in graphiql.load(WEB).items():
            kept = await client.get(f"/graphiql/{name}", params={"v": file.version})
            checked = await client.get(f"/graphiql/{name}", params={"v": "another"})

            assert (kept.status_code, kept.content) == (200, file.body)
            assert kept.headers["content-type"] == file.media_type
            assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert checked.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    ["package.json", "..%2fpackage.json", "%2e%2e/package.json", "react%2findex.js", "streamcat.js%00", ""],
)
async def test_nothing_else_is_served(server_url: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=server_url) as client:
        answer = await client.get(f"/graphiql/{path}")

    assert answer.status_code == 404
