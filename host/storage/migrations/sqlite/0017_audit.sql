-- The audit trail: each entry has the hash of the one before. `id` is that of the note, so that a note is
-- appended once.
CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY,
    id       BLOB    NOT NULL UNIQUE,
    at       INTEGER NOT NULL,
    tenant   TEXT    NOT NULL,
    actor    TEXT    NOT NULL,
    origin   TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    resource TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    status   INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    detail   TEXT    NOT NULL,
    previous BLOB    NOT NULL,
    hash     BLOB    NOT NULL,
    CONSTRAINT id_has_16_bytes    CHECK (length(id) = 16),
    CONSTRAINT previous_is_sha256 CHECK (length(previous) = 32),
    CONSTRAINT hash_is_sha256     CHECK (length(hash) = 32)
) STRICT;

-- Its newest entry, and the newest of those that retention removed.
CREATE TABLE audit_ends (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    head_seq  INTEGER NOT NULL,
    head_hash BLOB    NOT NULL,
    gone_seq  INTEGER NOT NULL,
    gone_hash BLOB    NOT NULL
) STRICT;
INSERT INTO audit_ends VALUES (1, 0, zeroblob(32), 0, zeroblob(32));

-- It is appended to, and nothing else: an entry goes when retention has noted that it goes.
CREATE TRIGGER audit_is_appended_to BEFORE INSERT ON audit
WHEN NOT EXISTS (SELECT 1 FROM audit_ends WHERE head_seq + 1 = NEW.seq AND head_hash = NEW.previous)
BEGIN SELECT RAISE(ABORT, 'the audit trail is appended to, entry after entry'); END;
CREATE TRIGGER audit_has_a_head AFTER INSERT ON audit
BEGIN UPDATE audit_ends SET head_seq = NEW.seq, head_hash = NEW.hash; END;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'an entry of the audit trail is never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN OLD.seq > (SELECT gone_seq FROM audit_ends)
BEGIN SELECT RAISE(ABORT, 'an entry of the audit trail is removed by retention alone'); END;
CREATE TRIGGER audit_ends_go_on BEFORE UPDATE ON audit_ends
WHEN NEW.head_seq < OLD.head_seq OR NEW.gone_seq < OLD.gone_seq OR NEW.gone_seq > NEW.head_seq
BEGIN SELECT RAISE(ABORT, 'the ends of the audit trail only go on'); END;
CREATE TRIGGER audit_ends_stay BEFORE DELETE ON audit_ends
BEGIN SELECT RAISE(ABORT, 'the ends of the audit trail stay'); END;
