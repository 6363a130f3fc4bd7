-- The order of changes, and the tasks of each module.

-- Every change of a task gives it the next number, in the transaction that makes it. There is one
-- writer, so numbers become visible in order: a reader who has seen one has missed none below it.
ALTER TABLE task ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
-- The module's name as a number. It is not the template's number: a name can have very many
-- templates.
ALTER TABLE task ADD COLUMN name INTEGER NOT NULL DEFAULT 0;

CREATE TABLE module_name (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO module_name (name) SELECT DISTINCT module FROM template;

ALTER TABLE template ADD COLUMN name INTEGER NOT NULL DEFAULT 0;
UPDATE template SET name = (SELECT n.id FROM module_name n WHERE n.name = template.module);
CREATE INDEX template_name ON template (name);

UPDATE task SET
    name = (SELECT p.name FROM template p WHERE p.id = task.template),
    change = numbered.number
FROM (SELECT seq, row_number() OVER (ORDER BY updated_at, seq) AS number FROM task) AS numbered
WHERE numbered.seq = task.seq;
CREATE UNIQUE INDEX task_change ON task (change);
CREATE INDEX task_name ON task (name);

-- The number given last; it is never given again, whatever is pruned.
CREATE TABLE newest_change (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL
) STRICT;
INSERT INTO newest_change (one, number) SELECT 1, coalesce(max(change), 0) FROM task;
