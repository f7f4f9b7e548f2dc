"""GraphiQL as a developer uses it: tabs, editors, the play button, the answer."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

DEADLINE_SECONDS = 30
VARIABLES, HEADERS = 0, 1
EDITORS = "document.querySelectorAll('.graphiql-editor-tool .CodeMirror')"
EXECUTE = ".graphiql-execute-button"
# GraphiQL parses what stands in its editor 100 ms after it last changed; until then the play button would send the
# document with the operation name of the one before.
PARSED = """
const editor = document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror;
return editor.documentAST?.loc.source.body === editor.getValue();
"""


class Ide:
    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self._events: list[dict[str, Any]] = []
        driver.get(f"{url}/graphql")
        self.until("its tabs", self.tabs)

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """Wait until `condition` gives something true, and give that; the page may be redrawn under its hands."""
        wait = WebDriverWait(self.driver, DEADLINE_SECONDS, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: condition(), f"the page never showed {what}")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str, text: str | None = None) -> None:
        def clicked() -> bool:
            wanted = [one for one in self.all(selector) if one.is_displayed() and text in {None, one.text}]
            for one in wanted[:1]:
                one.click()
            return bool(wanted)

        self.until(f"{selector} {text or ''}", clicked)

    def tabs(self) -> list[str]:
        return [tab.text for tab in self.all(".graphiql-tab-button")]

    def open_tab(self, title: str) -> None:
        self.click(".graphiql-tab-button", title)
        self.until(f"the tab {title}", lambda: [tab.text for tab in self.all(".graphiql-tab-active")] == [title])
        self.until(f"the tab {title} ready to run", lambda: self.driver.execute_script(PARSED))

    def editor(self, index: int) -> str:
        text: str = self.driver.execute_script(f"return {EDITORS}[{index}].CodeMirror.getValue()")
        return text

    def write(self, index: int, text: str) -> None:
        self.driver.execute_script(f"{EDITORS}[{index}].CodeMirror.setValue(arguments[0])", text)

    def run(self, operation: str | None = None) -> None:
        """Press play; a tab with several operations asks which."""
        self.click(EXECUTE)
        if operation:
            self.click("[role=menuitem]", operation)

    def data(self) -> Any:
        """Give the data of the newest answer, None before there is one."""
        text = self.driver.execute_script(
            "return document.querySelector('.result-window .CodeMirror').CodeMirror.getValue()"
        )
        answer = json.loads(text) if text else {}
        assert "errors" not in answer, text
        return answer.get("data")

    def network(self, event: str) -> list[dict[str, Any]]:
        """Give the parameters of every network event of this name since the page was opened."""
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            self._events.append(json.loads(entry["message"])["message"])
        return [found["params"] for found in self._events if found["method"] == f"Network.{event}"]

    def hosts(self) -> set[str]:
        """Give host and port of everything the page spoke with."""
        requests = [request["request"]["url"] for request in self.network("requestWillBeSent")]
        sockets = [socket["url"] for socket in self.network("webSocketCreated")]
        addresses = [urlsplit(address) for address in requests + sockets]
        return {address.netloc for address in addresses if address.scheme in {"http", "https", "ws", "wss"}}

    def complaints(self) -> list[str]:
        """Give what the browser wrote to its console: script errors, refused requests, broken policies."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]
