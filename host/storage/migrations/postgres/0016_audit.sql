-- The audit trail: each entry has the hash of the one before. `id` is that of the note, so that a note is
-- appended once.
CREATE TABLE cofferdam.audit (
    seq      bigint   NOT NULL PRIMARY KEY,
    id       uuid     NOT NULL UNIQUE,
    at       bigint   NOT NULL,
    tenant   text     NOT NULL,
    actor    text     NOT NULL,
    origin   text     NOT NULL,
    action   text     NOT NULL,
    resource text     NOT NULL,
    outcome  text     NOT NULL,
    status   integer  NOT NULL,
    count    bigint   NOT NULL,
    detail   text     NOT NULL,
    previous bytea    NOT NULL,
    hash     bytea    NOT NULL,
    CONSTRAINT previous_is_sha256 CHECK (length(previous) = 32),
    CONSTRAINT hash_is_sha256     CHECK (length(hash) = 32)
);

-- Its newest entry, and the newest of those that retention removed. Whoever appends locks its row, so that
-- the hosts append one after the other.
CREATE TABLE cofferdam.audit_ends (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    head_seq  bigint NOT NULL,
    head_hash bytea  NOT NULL,
    gone_seq  bigint NOT NULL,
    gone_hash bytea  NOT NULL
);
INSERT INTO cofferdam.audit_ends (head_seq, head_hash, gone_seq, gone_hash)
    VALUES (0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'));

-- It is appended to, and nothing else: an entry goes when retention has noted that it goes.
CREATE FUNCTION cofferdam.audit_append() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE cofferdam.audit_ends SET head_seq = NEW.seq, head_hash = NEW.hash
        WHERE head_seq + 1 = NEW.seq AND head_hash = NEW.previous;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the audit trail is appended to, entry after entry';
    END IF;
    RETURN NEW;
END $body$;
CREATE TRIGGER audit_is_appended_to BEFORE INSERT ON cofferdam.audit
    FOR EACH ROW EXECUTE FUNCTION cofferdam.audit_append();
CREATE FUNCTION cofferdam.audit_keep() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.seq <= (SELECT gone_seq FROM cofferdam.audit_ends) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'an entry of the audit trail is never changed, and removed by retention alone';
END $body$;
CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON cofferdam.audit
    FOR EACH ROW EXECUTE FUNCTION cofferdam.audit_keep();
CREATE FUNCTION cofferdam.audit_stay() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the audit trail is never emptied';
END $body$;
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON cofferdam.audit
    FOR EACH STATEMENT EXECUTE FUNCTION cofferdam.audit_stay();
CREATE TRIGGER audit_ends_stay BEFORE DELETE OR TRUNCATE ON cofferdam.audit_ends
    FOR EACH STATEMENT EXECUTE FUNCTION cofferdam.audit_stay();
CREATE FUNCTION cofferdam.audit_go_on() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF NEW.head_seq < OLD.head_seq OR NEW.gone_seq < OLD.gone_seq OR NEW.gone_seq > NEW.head_seq THEN
        RAISE EXCEPTION 'the ends of the audit trail only go on';
    END IF;
    RETURN NEW;
END $body$;
CREATE TRIGGER audit_ends_go_on BEFORE UPDATE ON cofferdam.audit_ends
    FOR EACH ROW EXECUTE FUNCTION cofferdam.audit_go_on();

-- It tells of every tenant, so it is the host's own, and no tenant's transaction sees any of it.
ALTER TABLE cofferdam.audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE cofferdam.audit FORCE ROW LEVEL SECURITY;
CREATE POLICY whose ON cofferdam.audit USING (current_setting('cofferdam.whose', true) = '*');
