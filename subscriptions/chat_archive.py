"""The archive of chat: reads Amazon's logs of the rooms of streams into the database.

While a stream is live its room's log is read again and again, each time from a little before where it was read to,
because what was said stands there seconds late. After the stream's end it is read at growing pauses until the log has
settled, at last from the stream's beginning to the end: then everything has been read twice, with the times of the
stream as they are known by then.

One turn of one row: lease it and commit; then for each page call AWS, write what it tells and commit, note in the row
where the next one begins and commit. All of it may be repeated: messages and deletions are known by their ids.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import func
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ivs.chat_logs import ChatLog, Deletion, Message, Page
from ivs.errors import AwsError, Retryable
from models import chat, chat_archive, pace
from models.chat import LONGEST_SENDER_NAME, Said
from models.chat_archive import Due
from models.engine import in_short, refuses_a_value
from subscriptions.bans import user_of
from subscriptions.publish import Publisher

logger = logging.getLogger(__name__)

TURNS = Counter("streamcat_chat_archive_turns_total", "Turns at streams' chat logs by outcome", ["outcome"])
RECORDS = Counter("streamcat_chat_archive_records_total", "Records of chat logs by what became of them", ["outcome"])

# Of the lease: a turn that takes longer is given up, so that no two of one row overlap.
_LONGEST_TURN: Final = 0.9
_MOST_DOUBLINGS: Final = 20


@dataclass(frozen=True, slots=True)
class ChatArchiveConfig:
    """How the archive behaves. Times in seconds but for `give_up_days`, counted from the end of a stream."""

    interval: float
    settle: float
    overlap: float
    give_up_days: int
    page_records: int
    pages: int
    reads_per_second: float
    lease: float
    longest_pause: float = 600.0
    batch: int = 8  # rows that a worker has in hand at once


@dataclass(frozen=True, slots=True)
class _Window:
    """Times between which the log is read. The one that is `last` is followed by no other."""

    start: datetime
    end: datetime
    is_last: bool


class Archivist:
    """Reads what is due, in any number of processes."""

    def __init__(self, publisher: Publisher, log: ChatLog, config: ChatArchiveConfig) -> None:
        self._publisher = publisher
        self._log = log
        self._config = config

    async def run_due(self) -> int:
        """Take up new streams, then one turn at each row that is due; return how many these were."""
        async with self._publisher.transaction() as transaction:
            await chat_archive.enrol(transaction.session)
        async with self._publisher.transaction() as transaction:
            lease = timedelta(seconds=self._config.lease)
            due = await chat_archive.claim(transaction.session, lease=lease, batch=self._config.batch)
        await asyncio.gather(*(self._try(one) for one in due))
        return len(due)

    async def _try(self, due: Due) -> None:
        try:
            try:
                async with asyncio.timeout(self._config.lease * _LONGEST_TURN):
                    outcome = await self._read(due)
            except AwsError as error:
                logger.warning("chat of stream %s: %s", due.archive.stream_id, error)
                outcome = await self._failed(due, error)
        except (SQLAlchemyError, OSError) as error:
            # A time-out too. The lease stands in the row; another turn follows it.
            logger.warning("chat of stream %s interrupted: %s", due.archive.stream_id, in_short(error))
            outcome = "interrupted"
        TURNS.labels(outcome).inc()

    async def _read(self, due: Due) -> str:
        window, mark = self._window(due), due.archive.mark
        for _ in range(self._config.pages):
            await self._turn()
            page = await self._log.page(due.room_arn, window.start, window.end, mark, most=self._config.page_records)
            await self._keep(due, page)
            mark = page.mark
            if mark is None:
                return "done" if await self._finish(due, window) else "lost"
            # Of a lease that is over, whoever has the next one notes where to go on.
            if not await self._note(due, window_start=window.start, window_end=window.end, mark=mark):
                return "lost"
        return "partly" if await self._note(due, read_after=func.now()) else "lost"

    def _window(self, due: Due) -> _Window:
        """Return the window that was begun, or the next one."""
        overlap, settle = timedelta(seconds=self._config.overlap), timedelta(seconds=self._config.settle)
        settled = None if due.ended_at is None else due.ended_at + settle
        beginning = due.started_at - overlap
        start, end = due.archive.window_start, due.archive.window_end
        if start is None or end is None:
            end = due.now if settled is None else min(due.now, settled)
            start = beginning if end == settled else due.archive.read_until - overlap
        # A window that was begun before we heard of the end, which may be long ago, is not the last for that.
        is_last = settled is not None and end >= settled and start <= beginning
        # A start that we have heard of too early by the clocks.
        return _Window(min(start, end), end, is_last)

    async def _turn(self) -> None:
        """Wait until the installation, all workers together, may read another page."""
        async with self._publisher.transaction() as transaction:
            delay = await pace.reserve(transaction.session, "chat_log_reads", rate=self._config.reads_per_second)
        await asyncio.sleep(delay)

    async def _keep(self, due: Due, page: Page) -> None:
        for why in page.malformed:
            logger.warning("chat of stream %s: record %s", due.archive.stream_id, why)
        RECORDS.labels("malformed").inc(len(page.malformed))
        RECORDS.labels("ignored").inc(page.ignored)
        await self._store(due.room_id, [*page.messages, *page.deletions])

    async def _store(self, room_id: UUID, records: Sequence[Message | Deletion]) -> None:
        """Write records; if PostgreSQL refuses one of them, all but that."""
        if not records:
            return
        said = [_said(one) for one in records if isinstance(one, Message)]
        gone = [one.message_id for one in records if isinstance(one, Deletion)]
        try:
            async with self._publisher.transaction() as transaction:
                kept = await chat.keep(transaction.session, room_id, said)
                deleted = await chat.forget(transaction.session, room_id, gone)
        except DBAPIError as error:
            if not refuses_a_value(error):
                raise
            if len(records) == 1:
                logger.warning("a record of room %s is refused: %s", room_id, in_short(error))
                RECORDS.labels("malformed").inc()
                return
            half = len(records) // 2
            await self._store(room_id, records[:half])
            await self._store(room_id, records[half:])
            return
        RECORDS.labels("kept").inc(kept)
        RECORDS.labels("deleted").inc(deleted)

    async def _finish(self, due: Due, window: _Window) -> bool:
        closed = {"window_start": None, "window_end": None, "mark": None, "read_until": window.end}
        interval = timedelta(seconds=self._config.interval)
        if window.is_last:
            return await self._note(due, **closed, read_after=None)
        if due.ended_at is None:
            return await self._note(due, **closed, looks=0, read_after=func.now() + interval)
        settled = due.ended_at + timedelta(seconds=self._config.settle)
        pause = interval * 2 ** min(due.archive.looks, _MOST_DOUBLINGS)
        next_look = func.least(func.now() + pause, func.greatest(settled, func.now()))
        return await self._note(due, **closed, looks=due.archive.looks + 1, read_after=next_look)

    async def _failed(self, due: Due, error: AwsError) -> str:
        """Come back later, unless Amazon has refused for so long that nobody is going to change it."""
        doublings = min(due.archive.attempts, _MOST_DOUBLINGS)
        pause = timedelta(seconds=min(self._config.interval * 2**doublings, self._config.longest_pause))
        given_up = due.ended_at is not None and due.now > due.ended_at + timedelta(days=self._config.give_up_days)
        # What Amazon would refuse again may be the mark, which does not live for ever: the window begins anew.
        mark = {} if isinstance(error, Retryable) else {"mark": None}
        again = None if given_up else func.now() + pause
        await self._note(due, **mark, attempts=due.archive.attempts + 1, error=error.code, read_after=again)
        return "given up" if given_up else error.code

    async def _note(self, due: Due, **values: object) -> bool:
        async with self._publisher.transaction() as transaction:
            return await chat_archive.note(transaction.session, due.archive, **{"attempts": 0, "error": None, **values})


def _said(message: Message) -> Said:
    return Said(
        message.id,
        message.content,
        message.sender_name[:LONGEST_SENDER_NAME],
        message.sent_at,
        user_of(message.sender_id),
    )
