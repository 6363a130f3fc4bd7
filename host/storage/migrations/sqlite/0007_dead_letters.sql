-- Dead letters: failed tasks that lost more hosts than they may, or used up several attempts.
CREATE INDEX task_dead ON task (seq)
    WHERE state = 4 AND (error_kind = 'lost' OR (attempt >= max_attempts AND max_attempts > 1));
