"""Limits of OpenAI's Batch API, and the names of our offline model, for the client and the server."""

from __future__ import annotations

MAX_REQUESTS = 50_000  # requests of one batch; for embeddings also of inputs
MAX_BATCH_BYTES = 209_715_200  # bytes of a batch's input file: 200 MB
MAX_FILE_BYTES = 512 * 1024 * 1024  # bytes of any other file
FILE_LIFETIME = 2_592_000  # seconds that a batch's files are kept: 30 days
WINDOW = 86_400  # seconds that a batch has to complete: 24 hours

OFFLINE = "offline"  # the name of the model that is built into our own server
OFFLINE_DIMENSIONS = 256  # numbers in each of its embeddings unless `dimensions` says otherwise
OFFLINE_ENDPOINTS = ("/v1/responses", "/v1/chat/completions", "/v1/embeddings")  # what it answers
