"""Faults that a server acts out for tests of its clients, and what those tests can ask it (docs/server.md)."""
