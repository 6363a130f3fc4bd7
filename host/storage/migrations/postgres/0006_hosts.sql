-- What only the hosts of this database know: with it they prove to one another that a request comes from
-- one of them. It is drawn here, once, and never leaves the hosts.
CREATE TABLE cofferdam.host_secret (
    one    smallint PRIMARY KEY CHECK (one = 1),
    secret bytea    NOT NULL CHECK (length(secret) = 32)
);
INSERT INTO cofferdam.host_secret (one, secret) VALUES (1, sha256(
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));
