from collections.abc import Callable, Iterator

import pytest

from tests.server.parents import Parent


@pytest.fixture
def parent() -> Iterator[Callable[..., Parent]]:
    parents: list[Parent] = []

    def start(code: str, *arguments: object) -> Parent:
        parents.append(Parent(code, *arguments))
        return parents[-1]

    yield start
    for each in parents:
        each.kill()
