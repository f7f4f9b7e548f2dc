"""What the emulated account owns, in SQLite: in memory, or in a file that survives a restart.

Everything is one table of JSON documents. A resource's kind is the resource type of its ARN (`channel`, `stream-key`,
`room`, ...); members whose name starts with `_` are the emulator's own and are never answered.
"""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from ivs.emulator.errors import StateError

Doc: TypeAlias = dict[str, Any]

VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, key TEXT NOT NULL, region TEXT NOT NULL, parent TEXT NOT NULL, body TEXT NOT NULL,
    UNIQUE (kind, key)
);
CREATE INDEX IF NOT EXISTS item_parent ON item (kind, parent);
CREATE INDEX IF NOT EXISTS item_region ON item (kind, region);
"""


class Store:
    """Documents by kind and key, in order of creation. Not thread-safe: the world's lock guards it."""

    def __init__(self, path: Path | None) -> None:
        """Opens `path`, or memory when it is None.

        Raises:
            StateError: the file is not a state file, is of another version, or its folder cannot be written.
        """
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(str(path) if path else ":memory:", check_same_thread=False, isolation_level=None)
            # A killed process loses nothing in this mode; only a crash of the machine could, and this is a toy account.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = OFF")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise StateError(f"The emulator's state {path} is of version {version}; this one reads {VERSION}.")
            self._db.executescript(SCHEMA)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"The emulator's state {path} cannot be used: {error}.") from error

    def begin(self) -> None:
        """Starts a transaction."""
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Keeps what was written since `begin`."""
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Forgets what was written since `begin`."""
        self._db.execute("ROLLBACK")

    def put(self, kind: str, key: str, body: Doc, *, region: str, parent: str = "") -> None:
        """Writes a document; one that exists keeps its place in the order, its region and its parent."""
        self._db.execute(
            "INSERT INTO item (kind, key, region, parent, body) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
            (kind, key, region, parent, json.dumps(body)),
        )

    def get(self, kind: str, key: str) -> Doc | None:
        """The document, or None."""
        row = self._db.execute("SELECT body FROM item WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return json.loads(row[0]) if row else None

    def delete(self, kind: str, key: str) -> None:
        """Removes the document if it exists."""
        self._db.execute("DELETE FROM item WHERE kind = ? AND key = ?", (kind, key))

    def rows(self, kind: str, *, region: str | None = None, parent: str | None = None) -> Iterator[tuple[int, Doc]]:
        """(sequence number, document) of a kind, oldest first."""
        sql, values = "SELECT seq, body FROM item WHERE kind = ?", [kind]
        for column, value in (("region", region), ("parent", parent)):
            if value is not None:
                sql += f" AND {column} = ?"
                values.append(value)
        for seq, body in self._db.execute(sql + " ORDER BY seq", values).fetchall():
            yield seq, json.loads(body)

    def all(self, kind: str, *, region: str | None = None, parent: str | None = None) -> list[Doc]:
        """The documents of a kind, oldest first."""
        return [body for _, body in self.rows(kind, region=region, parent=parent)]

    def count(self, kind: str, region: str) -> int:
        """How many documents of a kind a region has."""
        sql = "SELECT count(*) FROM item WHERE kind = ? AND region = ?"
        return int(self._db.execute(sql, (kind, region)).fetchone()[0])

    def clear(self) -> None:
        """Forgets everything."""
        self._db.execute("DELETE FROM item")

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


def public(body: Doc) -> Doc:
    """The members of a document that AWS would answer."""
    return {name: value for name, value in body.items() if not name.startswith("_")}


def pick(body: Doc, *names: str) -> Doc:
    """Those of the named members that the document has."""
    return {name: body[name] for name in names if name in body}
