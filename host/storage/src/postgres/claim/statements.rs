//! The statements of a claim. Each finds tasks and takes them at once; what is taken is decided in `claim`.

/// A statement that claims what `$candidates` finds for the worker $2 at $1, with the fences $3.
macro_rules! claim_sql {
    ($candidates:expr, $is_counted:literal, $first_change:literal) => {
        concat!(
            "WITH c AS MATERIALIZED (",
            $candidates,
            "),
            n AS MATERIALIZED (SELECT seq, row_number() OVER () AS place FROM c),
            u AS (
                UPDATE cofferdam.task t SET state = 2, attempt = t.attempt + 1,
                    fence = ($3::int8[])[n.place], worker = $2, claimed_at = $1, updated_at = $1,
                    progress = 0, progress_note = '', counted = ",
            $is_counted,
            ",
                    change = (SELECT cofferdam.change_number(",
            $first_change,
            ")) + n.place
                FROM n WHERE t.seq = n.seq
                RETURNING t.seq, n.place, t.priority, t.attempt, t.max_attempts, t.lost, t.run_at,
                    t.fence, t.batch_bound IS NOT NULL AS holds_place, t.tenant,
                    t.workflow IS NOT NULL AS is_node)
            SELECT s.id, s.template, u.priority, u.attempt, u.max_attempts, u.lost, s.created_at,
                u.run_at, u.fence, u.seq, s.content_type, s.blob, s.blob_bytes, s.args, s.env,
                s.metadata, s.body, u.holds_place, u.tenant, u.is_node
            FROM u JOIN cofferdam.task_spec s ON s.seq = u.seq ORDER BY u.place"
        )
    };
}

/// At most $4 tasks of the lane without bounds of the tenant $5. Candidates come from the index alone, one
/// range a priority: tasks whose time has not come lie behind the end of the range and cost nothing.
/// Nothing is locked that is not taken, except where several ranges have to be sorted together.
macro_rules! alone_sql {
    ($order:literal, $all:literal) => {
        claim_sql!(
            concat!(
                "SELECT f.seq
                 FROM (VALUES (0::int2), (1::int2), (2::int2), (3::int2)) AS p(priority)
                 CROSS JOIN LATERAL (
                    SELECT t.seq, t.run_at FROM cofferdam.task t
                    WHERE t.state = 1 AND t.tenant = $5 AND t.lane = 0 AND t.priority = p.priority
                        AND t.run_at <= $1 AND t.run_at >= ($6::int8[])[p.priority + 1]
                    ORDER BY ",
                $order,
                " LIMIT $4 FOR UPDATE SKIP LOCKED) f",
                $all,
                " LIMIT $4"
            ),
            "false",
            "0"
        )
    };
}

pub(super) const BY_PRIORITY: &str = alone_sql!("t.run_at, t.seq", "");
pub(super) const OLDEST: &str = alone_sql!("t.run_at, t.seq", " ORDER BY f.run_at, f.seq");
pub(super) const NEWEST: &str = alone_sql!(
    "t.run_at DESC, t.seq DESC",
    " ORDER BY f.run_at DESC, f.seq DESC"
);
/// What was claimed of the tasks $1, as the claims above tell of it.
pub(super) const INHERITED: &str = "
    SELECT s.id, s.template, t.priority, t.attempt, t.max_attempts, t.lost, s.created_at, t.run_at, t.fence,
        t.seq, s.content_type, s.blob, s.blob_bytes, s.args, s.env, s.metadata, s.body, false, t.tenant
    FROM unnest($1::int8[]) AS u(seq) JOIN cofferdam.task t ON t.seq = u.seq
    JOIN cofferdam.task_spec s ON s.seq = u.seq ORDER BY u.seq";
/// The tasks $4 as far as they still wait, behind $6 that were taken before; those of $5 are counted against
/// a bound. They are looked for by their numbers, one by one: the sum hides that they wait, because the planner may
/// take the index of what waits for empty and walk through it for each of them; and joined to all tasks at once they
/// may be compared with each of those, where its statistics are old.
pub(super) const CHOSEN: &str = claim_sql!(
    "SELECT f.seq FROM unnest($4::int8[]) WITH ORDINALITY AS w(seq, place)
     CROSS JOIN LATERAL (
        SELECT t.seq FROM cofferdam.task t WHERE t.seq = w.seq AND t.state + 0 = 1
        FOR UPDATE SKIP LOCKED) f
     ORDER BY w.place",
    "t.seq = ANY($5::int8[])",
    "$6"
);
