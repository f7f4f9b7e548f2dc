"""Events that the owner of a chat room sends to everybody in it."""

from collections.abc import Sequence
from uuid import UUID

from ivs import chat
from resolvers import amazon, chat_limits, chat_rooms, texts
from resolvers.context import Context
from resolvers.errors import Problem, Refused, TextInvalid

LONGEST_NAME = 100
MOST_ATTRIBUTE_BYTES = 1024


async def send(ctx: Context, room_id: UUID, name: str, attributes: Sequence[tuple[str, str]]) -> str:
    """Send an event to everybody in the viewer's room; return Amazon's id of it.

    Raises:
        RequestError: See `chat_rooms.managed`.
        Refused: TextInvalid, NotReady, TooManyAttempts or AmazonUnavailable.
    """
    room = await chat_rooms.managed(ctx, room_id)
    problems = _faults(name, attributes)
    if problems:
        raise Refused(*problems)
    arn = chat_rooms.ready_arn(room)
    await chat_limits.count_action(ctx, chat_limits.EVENTS)
    with amazon.asked("Amazon did not say whether it sent the event; sent again, it may come twice."):
        return await chat.send_event(ctx.services.aws, arn, name, dict(attributes))


def _faults(name: str, attributes: Sequence[tuple[str, str]]) -> list[Problem]:
    path = ["input", "eventName"]
    problems: list[Problem] = [*texts.problems(name, "A name", path, least=1, most=LONGEST_NAME)]
    if name.lower().startswith("aws:"):
        message = "Names that begin with `aws:` are Amazon's own; choose another."
        problems.append(TextInvalid(message=message, path=path))
    seen: set[str] = set()
    for index, (key, value) in enumerate(attributes):
        place = ["input", "attributes", str(index)]
        problems += texts.problems(key, "A key", [*place, "key"], least=1, most=MOST_ATTRIBUTE_BYTES)
        problems += texts.problems(value, "A value", [*place, "value"], least=0, most=MOST_ATTRIBUTE_BYTES)
        if key in seen:
            problems.append(TextInvalid(message="Another attribute has the same key.", path=[*place, "key"]))
        seen.add(key)
    size = sum(len(text.encode(errors="surrogatepass")) for attribute in attributes for text in attribute)
    if size > MOST_ATTRIBUTE_BYTES:
        message = f"The attributes have {size} bytes of UTF-8 in all; at most {MOST_ATTRIBUTE_BYTES} are accepted."
        problems.append(TextInvalid(message=message, path=["input", "attributes"]))
    return problems
