-- The kind of the failure that a task shows: that of its newest attempt which has ended. Written in
-- the transaction that records the attempt, so that a list by kind need not look into attempts.
ALTER TABLE task ADD COLUMN error_kind TEXT;
UPDATE task SET error_kind = json_extract(a.failure, '$.kind')
FROM attempt AS a
WHERE a.id = task.seq * 1048576 + task.attempt - (task.state = 2) AND a.failure IS NOT NULL;
CREATE INDEX task_error_kind ON task (error_kind) WHERE error_kind IS NOT NULL;
