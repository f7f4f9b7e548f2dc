import pytest
from sqlalchemy import text

from models.engine import create_engine
from resolvers.errors import database_away


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_route_that_there_is_not_is_a_database_that_is_away(read_only: bool) -> None:
    # The kernel refuses it by itself: nobody can connect to the broadcast address.
    url = "postgresql://somebody@255.255.255.255/streamcat"
    engine = create_engine(url, pool_size=1, statement_timeout_ms=1000, name="tests", read_only=read_only)
    with pytest.raises(ConnectionError, match="unreachable") as away:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    assert database_away(away.value)
    assert isinstance(away.value.__cause__, OSError)
    assert not isinstance(away.value.__cause__, ConnectionError)
