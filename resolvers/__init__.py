"""The work: declared reads and the engine that runs them, and plain functions for all else. Knows no GraphQL types."""
