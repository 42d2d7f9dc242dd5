"""A step that is written into the code without a crash test of it is noticed."""

from __future__ import annotations

from . import steps


def test_every_step_of_the_code_is_one_that_processes_are_killed_at() -> None:
    """A new one needs a scenario in crashes.py that comes by it; a whole `python -m tests.faults` then records it."""
    assert steps.survived(steps.recorded()) == set()


def test_what_stands_elsewhere_is_a_step_that_the_matrix_does_not_come_by() -> None:
    written = steps.statements() | steps.calls() | steps.files()
    assert set(steps.ELSEWHERE) - written == set(), "the code has these steps no longer"
    assert set(steps.ELSEWHERE) & steps.recorded() == set(), "processes are killed at these"
    assert set(steps.ELSEWHERE_IN) - {name.partition(".")[0] for name in written} == set()
    assert set(steps.FILES.values()) <= steps.files()


def test_the_steps_are_found_in_the_code() -> None:
    assert {
        "submit.creating",
        "results.of_batch",
        "jobs.finish",
        "compile.store_rows",
        "import_files.results",
    } <= steps.statements()
    assert not {name for name in steps.statements() if name.startswith(("server.", "quote.", "results.parsed"))}
    assert set(steps.CALLS.values()) == steps.calls()
    points = ["retry: before the commit of cancel.reopen, again", "enrich, a create refused: after POST /v1/batches"]
    assert steps.of_points(points) == {"cancel.reopen", "POST /v1/batches"}
    assert "cancel.reopen" in steps.survived({"POST /v1/batches"})
