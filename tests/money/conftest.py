"""The bench of the answering layer, for what it costs."""

from tests.batches.conftest import _environment, bench, cold_bench, server  # noqa: F401 (fixtures)
