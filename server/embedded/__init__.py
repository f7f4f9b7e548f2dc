"""Stand-ins for the database and AWS where none is configured, and the directory they keep their data in."""
