-- The table is named for what it does.
ALTER TABLE guard RENAME TO planner_lock;
