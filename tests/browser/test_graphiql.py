import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver

from tests.browser.ide import HEADERS, VARIABLES, Ide
from tests.browser.stack import Stack

pytestmark = pytest.mark.browser

SCREENSHOT = Path(__file__).parents[2] / "build" / "graphiql.png"


def demo_channel(ide: Ide) -> dict[str, Any]:
    """Run the tab LiveChannels."""
    ide.open_tab("LiveChannels")
    ide.run()
    data = ide.until("the answer of LiveChannels", lambda: (ide.data() or {}).get("channels") and ide.data())
    channel: dict[str, Any] = data["demo"] | {"listed": [node["name"] for node in data["channels"]["nodes"]]}
    return channel


def test_developer_sees_a_channel_go_live(stack: Stack, browser: webdriver.Chrome) -> None:
    ide = Ide(browser, stack.url)
    assert ide.tabs() == ["SignIn", "Mine", "ChannelChanged", "LiveChannels"]
    channel = demo_channel(ide)
    assert (channel["isLive"], channel["listed"]) == (False, [])

    ide.open_tab("ChannelChanged")
    assert json.loads(ide.editor(VARIABLES)) == {"channelId": channel["id"]}
    ide.run()

    def shown() -> dict[str, Any]:
        data = ide.data() or {}
        return data["channelChanged"]["channel"] if "channelChanged" in data else {}

    ide.until("the present state", lambda: shown().get("isLive") is False)
    with stack.streaming("demo"):
        ide.until("the channel live", lambda: shown().get("isLive") is True and shown()["currentStream"]["startedAt"])
        SCREENSHOT.parent.mkdir(exist_ok=True)
        browser.save_screenshot(SCREENSHOT)
        assert (shown()["id"], shown()["currentStream"]["state"]) == (channel["id"], "LIVE")

        channel = demo_channel(ide)
        assert channel["isLive"] is True
        assert len(channel["listed"]) == 1

    assert ide.hosts() == {urlsplit(stack.url).netloc}
    assert ide.complaints() == []


def test_headers_pane_signs_in_by_http_and_by_websocket(stack: Stack, browser: webdriver.Chrome) -> None:
    ide = Ide(browser, stack.url)
    ide.open_tab("SignIn")
    ide.run("SignIn")
    session = ide.until("a session", lambda: (ide.data() or {}).get("sessionCreate"))
    headers = json.dumps({"Authorization": f"Bearer {session['token']}"})
    browser.delete_all_cookies()  # signing in set one, which would do as well

    ide.open_tab("Mine")
    ide.write(HEADERS, headers)
    ide.run()
    assert ide.until("the viewer", lambda: (ide.data() or {}).get("viewer"))["username"] == "demo"

    ide.open_tab("ChannelChanged")
    ide.write(HEADERS, headers)
    ide.run()
    ide.until("the present state", lambda: (ide.data() or {}).get("channelChanged"))
    frames = [json.loads(frame["response"]["payloadData"]) for frame in ide.network("webSocketFrameSent")]
    assert frames[0] == {"type": "connection_init", "payload": json.loads(headers)}

    stored: str = browser.execute_script("return JSON.stringify(localStorage)")
    assert session["token"] not in stored
    assert ide.complaints() == []


def test_explorer_and_documentation_open(stack: Stack, browser: webdriver.Chrome) -> None:
    ide = Ide(browser, stack.url)

    ide.click("[aria-label='Show GraphiQL Explorer']")
    ide.until(
        "the explorer's fields", lambda: "sessionCreate" in "".join(one.text for one in ide.all(".docExplorerWrap"))
    )
    ide.click("[aria-label='Show Documentation Explorer']")
    ide.until("the documentation", lambda: "Subscription" in "".join(one.text for one in ide.all(".graphiql-plugin")))

    assert ide.hosts() == {urlsplit(stack.url).netloc}
    assert ide.complaints() == []
