"""What tests about accounts do again and again: sign in, look at rows, read counters."""

import secrets
from typing import Any

import httpx
from sqlalchemy import text

from server.runtime import Runtime
from tests.client import PASSWORD, Client

SIGN_IN = """
mutation SignIn($input: SessionCreateInput!) {
  sessionCreate(input: $input) {
    token expiresAt user { id username }
    errors { __typename ... on UserError { message path } ... on TooManyAttempts { retryAfterSeconds } }
  }
}
"""
SIGN_OUT = "mutation { sessionDelete { user { username } } }"
VIEWER = "{ viewer { username } }"
PASSWORD_CHANGE = """
mutation PasswordChange($input: PasswordChangeInput!) {
  passwordChange(input: $input) {
    user { username }
    errors { __typename ... on UserError { message path } ... on TooManyAttempts { retryAfterSeconds } }
  }
}
"""
USER_DELETE = """
mutation UserDelete($input: UserDeleteInput!) {
  userDelete(input: $input) {
    user { id username channel { id } }
    errors { __typename ... on UserError { message path } ... on TooManyAttempts { retryAfterSeconds } }
  }
}
"""


async def sign_in(client: Client, username: str, password: str = PASSWORD, **headers: str) -> dict[str, Any]:
    """Try to sign in; return the payload, whatever it says."""
    response = await client.post(SIGN_IN, {"input": {"username": username, "password": password}}, **headers)
    payload: dict[str, Any] = response.json()["data"]["sessionCreate"]
    return payload


def kinds(payload: dict[str, Any]) -> list[str]:
    """Return the types of a payload's errors."""
    return [error["__typename"] for error in payload["errors"]]


async def sql(runtime: Runtime, statement: str, **parameters: Any) -> list[Any]:
    """Run one statement past the server; return its rows."""
    async with runtime.services.sessions() as session, session.begin():
        result = await session.execute(text(statement), parameters)
        return list(result.all()) if result.returns_rows else []


async def people(runtime: Runtime) -> list[int]:
    """Return how many users, channels, rooms, stages and sessions there are."""
    tables = ("users", "channels", "chat_rooms", "stages", "sessions")
    return [(await sql(runtime, f"SELECT count(*) FROM {table}"))[0][0] for table in tables]  # noqa: S608 - our names


async def metric(url: str, sample: str) -> float:
    """Return a sample of `/metrics` by its name with labels; 0 while it was never counted."""
    async with httpx.AsyncClient(verify=False) as http:  # noqa: S501 - loopback
        lines = (await http.get(f"{url}/metrics")).text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), 0.0)


def reached(limit: str) -> str:
    """Return the sample that counts refusals by a limit."""
    return f'streamcat_limit_reached_total{{limit="{limit}"}}'


def fresh_address() -> str:
    """Return a loopback address that no other test comes from."""
    return f"127.{secrets.randbelow(250) + 1}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"


async def change_password(client: Client, token: str, current: str, new: str) -> dict[str, Any]:
    """Try to change the password; return the payload, whatever it says."""
    passwords = {"currentPassword": current, "newPassword": new}
    payload: dict[str, Any] = (await client.data(PASSWORD_CHANGE, {"input": passwords}, token=token))["passwordChange"]
    return payload


async def delete_user(client: Client, token: str, password: str = PASSWORD) -> dict[str, Any]:
    """Try to delete the account; return the payload, whatever it says."""
    data = await client.data(USER_DELETE, {"input": {"password": password}}, token=token)
    payload: dict[str, Any] = data["userDelete"]
    return payload
