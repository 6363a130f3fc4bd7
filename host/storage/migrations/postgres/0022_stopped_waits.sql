-- A workflow that a failure stops waits for no signal any more: its nodes that do go on without one. Their changes are
-- numbered downwards from the last that their transaction has.
CREATE FUNCTION cofferdam.waits_are_over() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE cofferdam.task t SET run_at = NEW.updated_at, updated_at = NEW.updated_at,
        change = (SELECT cofferdam.change_number(262144)) - q.place
    FROM (SELECT r.seq, row_number() OVER () AS place
          FROM cofferdam.node n JOIN cofferdam.task r ON r.seq = n.seq
          WHERE n.workflow = NEW.seq AND n.waits = 2 AND r.state IN (0, 1) AND r.run_at > NEW.updated_at) AS q
    WHERE t.seq = q.seq AND t.state IN (0, 1);
    RETURN NULL;
END $body$;
CREATE TRIGGER workflow_stop_ends_waits AFTER UPDATE OF stopping ON cofferdam.workflow FOR EACH ROW
    WHEN (NEW.stopping AND NOT OLD.stopping) EXECUTE FUNCTION cofferdam.waits_are_over();
