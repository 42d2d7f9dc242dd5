"""What a `sqlbatch` process imports and makes of its commands, done once: every process is forked from one that has."""

from __future__ import annotations

import duckdb  # noqa: F401
import httpx2  # noqa: F401
import openai  # noqa: F401

import sqlbatch.batches.client
import sqlbatch.batches.step
import sqlbatch.display.job
import sqlbatch.display.progress
import sqlbatch.lake.mirror
import sqlbatch.lake.publishing
import sqlbatch.server  # noqa: F401
from sqlbatch.cli import app

# Each command's module, and the parser of its options.
app.commands()
app._application()
