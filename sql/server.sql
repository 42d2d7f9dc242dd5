-- schema: the tables of the Batch API server (SQLite); columns have the names of the API's fields
CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
-- The row of a deleted file stays, so that a listing can continue from its position.
CREATE TABLE IF NOT EXISTS files (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    filename   TEXT NOT NULL,
    purpose    TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    deleted_at INTEGER
);
CREATE TABLE IF NOT EXISTS batches (
    seq                    INTEGER PRIMARY KEY AUTOINCREMENT,
    id                     TEXT NOT NULL UNIQUE,
    endpoint               TEXT NOT NULL,
    input_file_id          TEXT NOT NULL,
    completion_window      TEXT NOT NULL,
    output_expires_seconds INTEGER,          -- lifetime of the output files
    metadata               TEXT,             -- JSON object
    status                 TEXT NOT NULL,    -- validating   created
                                             -- failed       the input file has errors
                                             -- in_progress  every line is valid, and the lines are running
                                             -- finalizing   every line has run
                                             -- completed    the output files can be read
                                             -- expired      the completion window ended before every line had run
                                             -- cancelling   a client cancelled it
                                             -- cancelled    it has stopped; the results so far can be read
    model                  TEXT,
    errors                 TEXT,             -- JSON array of the errors of validation
    output_file_id         TEXT,
    error_file_id          TEXT,
    created_at             INTEGER NOT NULL,
    expires_at             INTEGER NOT NULL,
    in_progress_at         INTEGER,
    finalizing_at          INTEGER,
    completed_at           INTEGER,
    failed_at              INTEGER,
    expired_at             INTEGER,
    cancelling_at          INTEGER,
    cancelled_at           INTEGER,
    lines                  INTEGER NOT NULL DEFAULT 0,  -- of the input file, including blank lines
    total                  INTEGER NOT NULL DEFAULT 0,
    completed              INTEGER NOT NULL DEFAULT 0,
    failed                 INTEGER NOT NULL DEFAULT 0,
    input_tokens           INTEGER NOT NULL DEFAULT 0,
    cached_tokens          INTEGER NOT NULL DEFAULT 0,
    output_tokens          INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens       INTEGER NOT NULL DEFAULT 0,
    output_draft           TEXT,             -- id of the output file while it is written
    error_draft            TEXT,
    output_bytes           INTEGER NOT NULL DEFAULT 0,  -- bytes of the output file that are flushed to disk
    error_bytes            INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS unfinished_batches ON batches (seq)
    WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling');

-- get_meta: one saved value
SELECT value FROM meta WHERE key = :key;

-- set_meta: save one value
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- add_file: add a file; its bytes are on disk already
INSERT INTO files (id, filename, purpose, bytes, created_at, expires_at)
VALUES (:id, :filename, :purpose, :bytes, :created_at, :expires_at);

-- get_file: one file that is neither deleted nor expired
SELECT * FROM files WHERE id = :id AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > :now);

-- file_position: the position of a file in a listing; deleted files have one, too
SELECT seq FROM files WHERE id = :id;

-- list_files_newest: list files after a position, newest first
SELECT * FROM files
WHERE deleted_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
  AND (:purpose IS NULL OR purpose = :purpose) AND (:after IS NULL OR seq < :after)
ORDER BY seq DESC LIMIT :limit;

-- list_files_oldest: list files after a position, oldest first
SELECT * FROM files
WHERE deleted_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
  AND (:purpose IS NULL OR purpose = :purpose) AND (:after IS NULL OR seq > :after)
ORDER BY seq ASC LIMIT :limit;

-- delete_file: mark a file as deleted
UPDATE files SET deleted_at = :now WHERE id = :id AND deleted_at IS NULL;

-- expired_files: expired files that are not deleted
SELECT id FROM files WHERE deleted_at IS NULL AND expires_at <= :now;

-- kept_contents: ids of contents that must stay in the folder: files, and output files that are being written
SELECT id FROM files WHERE deleted_at IS NULL
UNION SELECT output_draft FROM batches WHERE status IN ('in_progress', 'finalizing', 'cancelling') AND output_draft IS NOT NULL
UNION SELECT error_draft FROM batches WHERE status IN ('in_progress', 'finalizing', 'cancelling') AND error_draft IS NOT NULL;

-- add_batch: create a batch
INSERT INTO batches (id, endpoint, input_file_id, completion_window, output_expires_seconds, metadata, status, created_at,
                     expires_at)
VALUES (:id, :endpoint, :input_file_id, :completion_window, :output_expires_seconds, :metadata, 'validating', :created_at,
        :expires_at);

-- get_batch: one batch
SELECT * FROM batches WHERE id = :id;

-- list_batches: list batches after a position, newest first
SELECT * FROM batches WHERE :after IS NULL OR seq < :after
ORDER BY seq DESC LIMIT :limit;

-- unfinished_batches: batches without a final status, oldest first
SELECT id FROM batches WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling') ORDER BY seq;

-- enqueued_bytes: the bytes of the input files of all unfinished batches except one
SELECT coalesce(sum(files.bytes), 0) FROM batches JOIN files ON files.id = batches.input_file_id
WHERE batches.status IN ('validating', 'in_progress', 'finalizing', 'cancelling') AND batches.id <> :id;

-- fail_batch: validating -> failed
UPDATE batches SET status = 'failed', failed_at = :now, errors = :errors WHERE id = :id AND status = 'validating';

-- begin_batch: validating -> in_progress
UPDATE batches SET status = 'in_progress', in_progress_at = :now, lines = :lines, total = :total, model = :model,
       output_draft = :output_draft, error_draft = :error_draft
WHERE id = :id AND status = 'validating';

-- mark_progress: save the counts, bytes and tokens of the results that are on disk
UPDATE batches SET completed = :completed, failed = :failed, output_bytes = :output_bytes, error_bytes = :error_bytes,
       input_tokens = :input_tokens, cached_tokens = :cached_tokens, output_tokens = :output_tokens,
       reasoning_tokens = :reasoning_tokens
WHERE id = :id;

-- finalize_batch: in_progress -> finalizing
UPDATE batches SET status = 'finalizing', finalizing_at = :now WHERE id = :id AND status = 'in_progress';

-- complete_batch: finalizing -> completed
UPDATE batches SET status = 'completed', completed_at = :now, output_file_id = :output_file_id, error_file_id = :error_file_id
WHERE id = :id AND status = 'finalizing';

-- expire_batch: validating, in_progress or finalizing -> expired
UPDATE batches SET status = 'expired', expired_at = :now, output_file_id = :output_file_id, error_file_id = :error_file_id
WHERE id = :id AND status IN ('validating', 'in_progress', 'finalizing');

-- cancel_batch: validating, in_progress or finalizing -> cancelling
UPDATE batches SET status = 'cancelling', cancelling_at = :now
WHERE id = :id AND status IN ('validating', 'in_progress', 'finalizing');

-- end_cancelled_batch: cancelling -> cancelled
UPDATE batches SET status = 'cancelled', cancelled_at = :now, output_file_id = :output_file_id, error_file_id = :error_file_id
WHERE id = :id AND status = 'cancelling';
