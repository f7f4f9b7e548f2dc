"""How operations arrive and answers leave: HTTP, websockets and the page developers explore the schema with."""
