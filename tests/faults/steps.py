"""The steps written in the code where a process can die, and which of them the matrix has killed one at.

A step is a statement that changes the user's database, a call of the provider, a function that writes or deletes files.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import sqlbatch
from sqlbatch.named_sql import blocks, sql_folder

from .child import WRITES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What the last whole run of `python -m tests.faults` has killed processes at; it writes the file itself.
RECORD = Path(__file__).parent / "points.txt"
# The calls of the SDK, and what they are on the wire.
CALLS = {
    "batches.cancel": "POST /v1/batches/*/cancel",
    "batches.create": "POST /v1/batches",
    "batches.list": "GET /v1/batches",
    "batches.retrieve": "GET /v1/batches/*",
    "files.create": "POST /v1/files",
    "files.delete": "DELETE /v1/files/*",
    "files.list": "GET /v1/files",
    "files.retrieve": "GET /v1/files/*",
    "files.with_streaming_response.content": "GET /v1/files/*/content",
    "post": "POST of an ordinary endpoint",
}
# The functions that write and delete files, and what that is called in the names of points.
FILES = {
    "batches/results.py: _load": "the input file is deleted",
    "batches/results.py: _wave": "a result file is deleted",
    "batches/transfer.py: save": "a result file was written",
    "batches/request_file.py: write": "the input file was written",
    "batches/step.py: send_ready": "the input file is deleted",
    "batches/step.py: poll_open": "the input file is deleted",
    "batches/step.py: tidy": "the input file is deleted",
}
# Steps that the matrix does not come by, and what stands for their crash.
ELSEWHERE = {
    "batches/download.py: fetch": "what a broken download leaves is swept like any other (tidy)",
    "batches/download.py: fetch_input": "as a result file: a part with a name of its own, swept by tidy",
    "batches/preview.py: _write": "batches/test_preview.py kills a preview",
    "batches/preview.py: store": "batches/test_preview.py kills a preview",
    "batches/preview.py: recover_interrupted": "batches/test_preview.py kills a preview",
    "cancel.give_up": "one statement a batch, noted or not: batches/test_given_up.py",
    "batches/import_files.py: forget_kept": "files that nothing needs any more: batches/test_unreadable.py",
    "batches/parse_results.py: _write_text": "a copy within the transaction that loads a batch, swept by tidy",
    "import_files.absent": "within the transaction of import_files.results: batches/test_unreadable.py",
    "results.block": "within the transaction of results.of_batch: batches/test_unreadable.py",
    "results.looked": "one statement, noted or not: batches/test_unreadable.py",
    "compile.plain_before": "within the transaction that starts a job: money/test_confidence.py",
    "budget.allow": "one statement, noted or not: money/test_budget.py",
    "budget.block": "one statement, noted or not: money/test_budget.py",
    "prices.fold": "within the transaction of prune: batches/test_prune.py",
    "judge_again.results": "one transaction of a command that asks nobody: batches/test_judge_again.py",
    "target.drop_source": "within the transaction that writes the target, after the target itself",
    "results.strangers": "within the transaction of load.results",
    "POST of an ordinary endpoint": "batches/test_preview.py kills a preview",
    "submit.looked": "one statement, noted or not: batches/test_show.py",
    "submit.count_again": "within the transaction that leaves pictures out: batches/test_pictures.py",
    "submit.leave_out": "within the transaction that leaves pictures out: batches/test_pictures.py",
    "submit.unsent": "within the transaction that leaves pictures out: batches/test_pictures.py",
}
ELSEWHERE_IN = {
    "functions": "within transactions that functions/test_jobs.py breaks off, one after the other",
    "plan_pictures": "within the transaction that begins a job or collects a call: functions/test_jobs.py",
    "pictures": "within the transaction that begins or ends a job: batches/test_pictures.py",
    "compare": "one transaction of a command that asks nobody: test_compare.py",
    "reviewed": "one transaction a verdict, noted or not: view/test_review.py",
    "incremental": "within the transaction that writes the target: test_places.py",
    "lake": "test_places.py breaks off the publishing at any statement",
    "kept_rows": "tests/spark/test_kill.py kills a job at each of them",
    "preview": "batches/test_preview.py kills a preview",
    "prune": "batches/test_prune.py",
}
# What belongs to the connection or to a scratch file is gone with the process; the server is another program.
_PASSING = re.compile(
    r"(INSERT INTO|UPDATE|DELETE FROM|CREATE( OR REPLACE)? TABLE|DROP TABLE IF EXISTS)\s+(\{scratch\}|sqlbatch_)",
    re.IGNORECASE,
)
_FILE_WRITES = frozenset({"unlink", "write_bytes", "write_text", "rename", "rmtree"})


def statements() -> set[str]:
    """Return the named statements that change the user's database for good."""
    found = set()
    for entry in sql_folder().iterdir():
        stem = entry.name.removesuffix(".sql")
        if not entry.name.endswith(".sql") or stem in {"schema", "server"}:
            continue
        for block in blocks(entry.name).values():
            sql = "\n".join(line for line in block.sql.splitlines() if not line.startswith("--"))
            if WRITES.match(sql) and not _PASSING.match(sql):
                found.add(f"{stem}.{block.name}")
    # What is appended to the results is told by the block that says it.
    code = "\n".join(path.read_text() for path in _source().rglob("*.py"))
    return (found - {"database.append_results"}) | set(re.findall(r'append_results\("([a-z_.]+)"', code))


def calls() -> set[str]:
    """Return the calls of the provider, as they are on the wire; one that nobody knows by the SDK's name for it."""
    tree = ast.parse((_source() / "batches" / "client.py").read_text())
    uploads = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == "upload"]
    of_uploads = {node for upload in uploads for node in ast.walk(upload)}
    chains = {
        "_once.files.create" if node in of_uploads and _chain(node.func) == "_once.post" else _chain(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    ours = {chain.partition(".")[2] for chain in chains if re.match(r"(_client|_once|with_options)\.", chain)}
    names = {name.removeprefix("with_options.").replace("with_raw_response.", "") for name in ours} - {
        "close",
        "with_options",
    }
    return {CALLS.get(name, name) for name in names}


def files() -> set[str]:
    """Return what writes and deletes files on a job's way, by the point's name; what nobody knows by its function's."""
    return {FILES.get(name, name) for name in set(_file_writers())}


def recorded() -> set[str]:
    """Return the steps at which the last whole run of the matrix has killed processes."""
    return set(RECORD.read_text().splitlines())


def survived(steps: Iterable[str]) -> set[str]:
    """Return the steps of the code that are neither among these nor stand elsewhere for themselves."""
    written = statements() | calls() | files()
    return {
        step for step in written - set(steps) if step not in ELSEWHERE and step.partition(".")[0] not in ELSEWHERE_IN
    }


def of_points(points: Iterable[str]) -> set[str]:
    """Return the steps of the matrix's rows, by their names: `scenario: when step`."""
    steps = set()
    for point in (point for point in points if ": " in point):
        step = point.rpartition(": ")[2].removesuffix(", again")
        steps.add(
            re.sub(r"^(in the transaction, after|before the commit of|after the commit of|before|after) ", "", step)
        )
    return steps


def _file_writers() -> Iterator[str]:
    rooms = [
        *sorted((_source() / "batches").glob("*.py")),
        *(_source() / name for name in ("run.py", "job_actions.py")),
    ]
    for path in rooms:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any(_writes(node) for node in ast.walk(function)):
                yield f"{path.relative_to(_source())}: {function.name}"


def _writes(node: ast.AST) -> bool:
    """Whether a node calls what writes or deletes a file, or moves one: a Path's `replace` has one argument."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    modes = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    opens = node.func.attr in {"open", "fdopen"} and any(re.fullmatch(r"[wax]b?\+?", mode) for mode in modes)
    moves = node.func.attr == "replace" and len(node.args) == 1 and not node.keywords
    return opens or moves or node.func.attr in _FILE_WRITES


def _chain(node: ast.AST) -> str:
    """Return `_client.files.list` for `self._client.files.list`."""
    if isinstance(node, ast.Attribute):
        before = _chain(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return _chain(node.func) if isinstance(node, ast.Call) else ""


def _source() -> Path:
    return Path(sqlbatch.__file__).parent
