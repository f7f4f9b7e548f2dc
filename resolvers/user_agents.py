"""What a user agent says of the software it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from ua_parser import Domain, load_lazy_builtins
from ua_parser.regex import Resolver

from resolvers.texts import fault

_WANTED: Final = Domain.USER_AGENT | Domain.OS


@dataclass(frozen=True, slots=True)
class Software:
    """Browser and system by the columns of a heartbeat; what is not known is absent."""

    browser: Mapping[str, str]
    system: Mapping[str, str]

    def complete(self, readings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a player told, without nulls, and of its software what it did not tell."""
        told = {column: value for column, value in readings.items() if value is not None}
        # The version of one browser says nothing beside the name of another.
        browser = {} if "browser_name" in told else self.browser
        return {**browser, **self.system, **told}


class UserAgents:
    """Reads user agents by the rules of ua-parser's uap-core, and remembers the last of them.

    Its matcher in Rust takes time that is linear in the text, whatever a client sends; its rules in Python do not.
    """

    def __init__(self, *, remembered: int, lengths: Mapping[str, int]) -> None:
        """Remember so many user agents; take no text that is longer, in characters, than its column's."""
        self._resolve = _resolver()
        self._lengths = lengths
        self.read = lru_cache(remembered)(self._read)

    def _read(self, user_agent: str) -> Software:
        found = self._resolve(user_agent, _WANTED)
        browser, system = {}, {}
        if (agent := found.user_agent) is not None:
            numbers = (agent.major, agent.minor, agent.patch, agent.patch_minor)
            version = ".".join(number for number in numbers if number)
            browser = self._kept(browser_name=agent.family)
            if browser:
                browser |= self._kept(browser_version=version)
        if found.os is not None:
            system = self._kept(os=found.os.family)
        return Software(browser, system)

    def _kept(self, **told: str) -> dict[str, str]:
        return {
            column: text
            for column, text in told.items()
            if fault(text, "The text", least=1, most=self._lengths[column]) is None
        }


@cache
def _resolver() -> Resolver:
    # It takes a while to compile the rules, and all that are made of them may share them.
    agents, systems, _ = load_lazy_builtins()
    return Resolver((agents, systems, []))
