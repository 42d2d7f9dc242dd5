"""The Batch API server, asked over real HTTP with the official SDK."""
