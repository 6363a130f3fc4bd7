-- What tasks ask of workers, without what every worker has, as JSON: tasks that ask the same are of one
-- class, and those that ask nothing are of class 0, which has no row. The number of a task's lane has its
-- class above the lower 32 bits.
CREATE TABLE cofferdam.class (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL DEFAULT 'default',
    asked  text NOT NULL,
    UNIQUE (asked, tenant)
);
ALTER TABLE cofferdam.template ADD COLUMN class bigint NOT NULL DEFAULT 0;
CREATE INDEX template_class ON cofferdam.template (class) WHERE class <> 0;
