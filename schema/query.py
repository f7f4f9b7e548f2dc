"""Root queries: an index of where a client may enter the graph."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import strawberry
from strawberry import UNSET

from resolvers import (
    categories,
    channels,
    chat_messages,
    chat_rooms,
    directory,
    metrics,
    recordings,
    stages,
    streams,
    users,
)
from resolvers.cursors import Slice
from resolvers.directory import Filter
from resolvers.errors import bad_input
from resolvers.reads import Page, Row
from schema.base import Info, Node, parse_id
from schema.category import Category
from schema.channel import Channel
from schema.connection import Connection
from schema.enums import ChannelOrder, RecordingOrder
from schema.fields import After, Before, First, Last, given, part
from schema.recording import Recording
from schema.stage import Stage
from schema.stream import Stream
from schema.user import User

MOST_NODES = 100

_OF_CATEGORY: Final = {"argument": "filter.categoryId", "expected": "Category"}

_NODES: Final[Mapping[str, Row]] = {
    "User": users.BY_ID,
    "Channel": channels.BY_ID,
    "Stream": streams.BY_ID,
    "Recording": recordings.BY_ID,
    "ChatRoom": chat_rooms.BY_ID,
    "ChatMessage": chat_messages.BY_ID,
    "Stage": stages.BY_ID,
    "StageToken": stages.TOKEN,
    "StageJoinRequest": stages.JOIN_REQUEST,
    "Category": categories.BY_ID,
    "Metric": metrics.BY_ID,
}


@strawberry.input(one_of=True, description="Ways to name a channel: exactly one.")
class ChannelBy:
    """Lookup of a channel."""

    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="Its id.")
    name: strawberry.Maybe[str] = strawberry.field(description="Its name, in any mix of upper and lower case.")


@strawberry.input(one_of=True, description="Ways to name a category: exactly one.")
class CategoryBy:
    """Lookup of a category."""

    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="Its id.")
    slug: strawberry.Maybe[str] = strawberry.field(description="Its slug.")


@strawberry.input(
    description="Which channels to list: those that fulfil all that is given. What is absent or null does not matter."
)
class ChannelFilter:
    """Filter of channels."""

    is_live: bool | None = strawberry.field(default=UNSET, description="Only channels that are, or are not, live.")
    category_id: strawberry.ID | None = strawberry.field(default=UNSET, description="Only channels of this category.")
    followed_by_viewer: bool | None = strawberry.field(
        default=UNSET, description="Only channels that the viewer does, or does not, follow; guests follow none."
    )
    search: str | None = strawberry.field(
        default=UNSET,
        description=f"Only channels with each of these words in the name or the title, upper and lower case alike; at "
        f"most {directory.MOST_WORDS} words and {directory.LONGEST_SEARCH} characters. A word of one or two characters "
        "must begin the name or the title.",
    )

    def meaning(self) -> Filter:
        """Return the filter in the domain's words.

        Raises:
            RequestError: BAD_INPUT for what is no id of a category.
        """
        category_id = given(self.category_id)
        return Filter(
            is_live=given(self.is_live),
            category_id=None if category_id is None else parse_id(category_id, **_OF_CATEGORY)[1],
            followed_by_viewer=given(self.followed_by_viewer),
            search=given(self.search),
        )


@strawberry.input(description="Which recordings to list; what is absent does not matter.")
class RecordingFilter:
    """Filter of recordings."""

    channel_id: strawberry.ID | None = strawberry.field(default=UNSET, description="Only of the channel with this id.")
    category_id: strawberry.ID | None = strawberry.field(
        default=UNSET, description="Only those with a stream in the category with this id."
    )

    def read(self, order: RecordingOrder) -> Page:
        """Return the list in this order.

        Raises:
            RequestError: BAD_INPUT for what is no id of its kind.
        """
        channel_id, category_id = given(self.channel_id), given(self.category_id)
        of_channel = {"argument": "filter.channelId", "expected": "Channel"}
        return recordings.listed(
            order,
            channel_id=None if channel_id is None else parse_id(channel_id, **of_channel)[1],
            category_id=None if category_id is None else parse_id(category_id, **_OF_CATEGORY)[1],
        )


@strawberry.input(one_of=True, description="Ways to name a stage: exactly one.")
class StageBy:
    """Lookup of a stage."""

    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="Its id.")
    name: strawberry.Maybe[str] = strawberry.field(description="Its name, in any mix of upper and lower case.")


@strawberry.input(description="Which stages to list; what is absent does not matter.")
class StageFilter:
    """Filter of stages."""

    is_live: bool | None = strawberry.field(default=UNSET, description="Only stages that are, or are not, live.")


def _node(info: Info, value: str, argument: str) -> Any:
    name, key = parse_id(value, argument=argument)
    if name not in _NODES:
        raise bad_input(f"`{argument}` is not an id: there are no objects of type {name!r:.40}.")
    return info.context.reads.row(_NODES[name], key)


@strawberry.type(description="Where reading begins. No query calls AWS.")
class Query:
    """Root of queries."""

    @strawberry.field(description="Any object by its id; null if it does not exist.")
    def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Id of the object.")]
    ) -> Node | None:
        return _node(info, id, "id")  # type: ignore[no-any-return]

    @strawberry.field(description=f"Objects by their ids, at most {MOST_NODES}, in the same order; null where unknown.")
    def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description=f"Ids, at most {MOST_NODES}.")],
    ) -> list[Node | None]:
        if len(ids) > MOST_NODES:
            raise bad_input(f"`ids` has {len(ids)} ids; at most {MOST_NODES} are accepted.")
        return [_node(info, value, f"ids[{index}]") for index, value in enumerate(ids)]

    @strawberry.field(description="User who is signed in; null for guests.")
    def viewer(self, info: Info) -> User | None:
        viewer = info.context.viewer
        return None if viewer is None else info.context.reads.row(users.BY_ID, viewer.user_id)  # type: ignore[return-value]

    @strawberry.field(description="User of a name; null if there is none.")
    def user(
        self,
        info: Info,
        username: Annotated[str, strawberry.argument(description="Name, in any mix of upper and lower case.")],
    ) -> User | None:
        key = users.named(username)
        return None if key is None else info.context.reads.row(users.BY_USERNAME, key)  # type: ignore[return-value]

    @strawberry.field(description="Channel by id or name; null if there is none.")
    def channel(
        self, info: Info, by: Annotated[ChannelBy, strawberry.argument(description="What is known of the channel.")]
    ) -> Channel | None:
        reads = info.context.reads
        if by.id is not None:
            _, key = parse_id(by.id.value, argument="by.id", expected="Channel")
            return reads.row(channels.BY_ID, key)  # type: ignore[return-value]
        name = users.named(by.name.value) if by.name is not None else None
        return None if name is None else reads.row(channels.BY_NAME, name)  # type: ignore[return-value]

    @strawberry.field(description="Stream by id; null if there is none.")
    def stream(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Id of the stream.")]
    ) -> Stream | None:
        _, key = parse_id(id, argument="id", expected="Stream")
        return info.context.reads.row(streams.BY_ID, key)  # type: ignore[return-value]

    @strawberry.field(
        description="Channels that fulfil the filter. Without `orderBy`, live ones are by latest start first if the "
        "filter asks for live ones, and all else is by newest first. Any filter goes with any order."
    )
    def channels(
        self,
        info: Info,
        filter: Annotated[
            ChannelFilter | None, strawberry.argument(description="Which channels; all if absent.")
        ] = UNSET,
        order_by: Annotated[
            ChannelOrder | None, strawberry.argument(description="Order; a cursor is good for one order alone.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Channel]:
        which = filter.meaning() if filter else Filter()
        read = directory.listed(info.context, which, given(order_by))
        return info.context.reads.page(read, part(first, after, last, before))  # type: ignore[return-value]

    @strawberry.field(description="Recordings that are READY, of all channels; each once, however many streams it has.")
    def recordings(
        self,
        info: Info,
        filter: Annotated[
            RecordingFilter | None, strawberry.argument(description="Which recordings; all if absent.")
        ] = UNSET,
        order_by: Annotated[
            RecordingOrder | None, strawberry.argument(description="Order of the list; NEWEST if absent.")
        ] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Recording]:
        read = (filter or RecordingFilter()).read(given(order_by) or RecordingOrder.NEWEST)
        return info.context.reads.page(read, part(first, after, last, before))  # type: ignore[return-value]

    @strawberry.field(description="Stage by id or name; null if there is none.")
    def stage(
        self, info: Info, by: Annotated[StageBy, strawberry.argument(description="What is known of the stage.")]
    ) -> Stage | None:
        reads = info.context.reads
        if by.id is not None:
            _, key = parse_id(by.id.value, argument="by.id", expected="Stage")
            return reads.row(stages.BY_ID, key)  # type: ignore[return-value]
        name = users.named(by.name.value) if by.name is not None else None
        return None if name is None else reads.row(stages.BY_NAME, name)  # type: ignore[return-value]

    @strawberry.field(description="Stages: live ones by who began last first, others by newest first.")
    def stages(
        self,
        info: Info,
        filter: Annotated[StageFilter | None, strawberry.argument(description="Which stages; all if absent.")] = UNSET,
        first: First = UNSET,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Connection[Stage]:
        is_live = filter.is_live if filter else None
        read = stages.listed(is_live=None if is_live is UNSET else is_live)
        return info.context.reads.page(read, part(first, after, last, before))  # type: ignore[return-value]

    @strawberry.field(description="Category by id or slug; null if there is none.")
    def category(
        self, info: Info, by: Annotated[CategoryBy, strawberry.argument(description="What is known of the category.")]
    ) -> Category | None:
        reads = info.context.reads
        if by.id is not None:
            _, key = parse_id(by.id.value, argument="by.id", expected="Category")
            return reads.row(categories.BY_ID, key)  # type: ignore[return-value]
        slug = categories.slugged(by.slug.value) if by.slug is not None else None
        return None if slug is None else reads.row(categories.BY_SLUG, slug)  # type: ignore[return-value]

    @strawberry.field(description="All categories in the operators' order; a few dozen at most.")
    async def categories(self, info: Info) -> list[Category]:
        return (await info.context.reads.page(categories.ALL, Slice(first=100))).rows  # type: ignore[return-value]
