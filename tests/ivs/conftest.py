from collections.abc import Iterator

import pytest

from tests.ivs.account import Account, running_emulator


@pytest.fixture(scope="session")
def emulator_url() -> Iterator[str]:
    with running_emulator() as (url, _process):
        yield url


@pytest.fixture(scope="session")
def clients(emulator_url: str) -> Iterator[Account]:
    account = Account(emulator_url)
    yield account
    account.close()


@pytest.fixture
def account(clients: Account) -> Account:
    clients.do("reset")
    return clients
