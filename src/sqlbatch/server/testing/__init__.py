"""The faults that a server simulates to test its clients, and the control endpoint for those tests (docs/server.md)."""
