-- What tasks ask of workers, without what every worker has, as JSON: tasks that ask the same are of one
-- class, and those that ask nothing are of class 0, which has no row. The number of a task's lane has its
-- class above the lower 32 bits. No number is given twice.
CREATE TABLE class (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    asked TEXT    NOT NULL UNIQUE
) STRICT;
ALTER TABLE template ADD COLUMN class INTEGER NOT NULL DEFAULT 0;
CREATE INDEX template_class ON template (class) WHERE class <> 0;
