//! The second wall between tenants: what the database itself shows to statements that forgot to say whose
//! rows they want.

use super::*;
use crate::conformance::workflows::fixture::{flow, node, wid};
use crate::postgres::WRITE_TIMEOUT;
use crate::postgres::call::Call;
use crate::postgres::params::params;
use crate::postgres::seen::Seen;
use crate::postgres::tx::{Mode, Tx};
use crate::{Definitions, NewDefinition, NewSignal, PutDefinition, Signalled, Workflows};
use cofferdam_domain::attempt::{Outcome, Payload};
use cofferdam_domain::batch::{BatchId, NewBatch};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Next;
use cofferdam_domain::module::{Digest, ModuleName};
use cofferdam_domain::task::NewTask;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::definition::DefinitionName;

/// The tables that have a wall.
const WALLED: [&str; 20] = [
    "task",
    "task_spec",
    "attempt",
    "output",
    "template",
    "module_name",
    "module_version",
    "dedup",
    "counter",
    "batch",
    "file",
    "kept",
    "callback",
    "delivery",
    "cpu_used",
    "workflow",
    "workflow_definition",
    "workflow_spec",
    "node",
    "workflow_signal",
];

fn them() -> Tenant {
    Tenant::parse("them").unwrap()
}

/// Leaves something of a tenant's in every table but that of files.
async fn fill(storage: &PostgresStorage, tenant: &Tenant, first: u128) {
    let of = |number: u128| NewTask {
        tenant: tenant.clone(),
        dedup: Some(Dedup {
            key: "key".to_owned(),
            window: Duration::from_secs(1 << 30),
        }),
        callback: Some(callback("http://a.example/")),
        ..new_task(first + number)
    };
    let (own, info): (ModuleName, _) = (name("own"), module(9));
    let put = storage.put_module(tenant, &own, &info, vec![9; 4].into(), None, at(0));
    put.await.unwrap();
    let used = vec![(tenant.clone(), 1)];
    storage.use_cpu(1, used).await.unwrap();
    insert(storage, of(0)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    assert_eq!(claim.task_id, id(first));
    let large = Payload {
        content_type: "text/plain".into(),
        body: vec![7; 2 << 20].into(),
    };
    let ended = end(&claim, at(2), Outcome::Completed(large), Next::Complete);
    finish_one(storage, ended).await;
    let batch = NewBatch {
        id: BatchId(uuid::Uuid::from_u128(first)),
        tenant: tenant.clone(),
        parallelism: None,
        callback: None,
        idempotency_key: None,
        fingerprint: [0; 16],
    };
    let mut task = of(1);
    task.dedup = None;
    // It is not the next one's turn.
    task.run_at = at(1000);
    let stored = storage.insert_batch(batch, vec![task], ANY_NUMBER, at(0));
    stored.await.unwrap();
    fill_workflows(storage, tenant, first).await;
}

async fn fill_workflows(storage: &PostgresStorage, tenant: &Tenant, first: u128) {
    let definition = NewDefinition {
        name: DefinitionName::parse("a").unwrap(),
        digest: Digest::from_bytes([1; 32]),
        text: "{}".to_owned(),
        size_bytes: 2,
    };
    let put = storage.put_definition(tenant, definition, None, at(0));
    assert_eq!(put.await.unwrap(), PutDefinition::Created);
    let mut workflow = flow(first);
    workflow.tenant = tenant.clone();
    let mut node = node(first + 2, "a", &[]);
    node.task.tenant = tenant.clone();
    // It is not the next one's turn.
    node.task.run_at = at(1000);
    let stored = storage.insert_workflow(workflow, vec![node], ANY_NUMBER, at(0));
    stored.await.unwrap();
    let signal = NewSignal {
        name: "go".to_owned(),
        idempotency_key: None,
        fingerprint: [0; 16],
        payload: payload(b"{}"),
    };
    let whose = Whose::One(tenant.clone());
    let kept = storage.signal_workflow(&whose, wid(first), signal, at(1));
    assert_eq!(kept.await.unwrap(), Signalled::Kept);
}

async fn begin(storage: &PostgresStorage, seen: Seen, mode: Mode) -> Tx {
    let call = Call::new(&storage.db, WRITE_TIMEOUT).seeing(seen);
    call.begin(mode).await.unwrap()
}

/// How many rows a statement sees that says nothing of tenants.
async fn rows(storage: &PostgresStorage, seen: Seen, table: &str) -> i64 {
    let mut tx = begin(storage, seen, Mode::Read).await;
    let sql = format!("SELECT count(*) FROM cofferdam.{table}");
    let rows = tx.query(&sql, params![]).await.unwrap();
    tx.rollback().await.unwrap();
    rows[0].get(0)
}

#[tokio::test]
async fn a_statement_that_forgets_its_tenant_finds_nothing_of_anothers() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    fill(storage, &US, 100).await;
    fill(storage, &them(), 200).await;
    backend.database.run(
        "INSERT INTO cofferdam.file (owner, attempt, path, tenant, size_bytes, body)
         SELECT id, 1, 'a', tenant, 0, '' FROM cofferdam.task_spec",
    );
    let nobody = Seen::Of([Tenant::parse("nobody").unwrap()].into());
    let forged = Seen::Of(std::sync::Arc::new([]));
    let both = Seen::several([&US, &them(), &US].into_iter());
    for table in WALLED {
        let all = rows(storage, Seen::All, table).await;
        let ours = rows(storage, (&Whose::One(US)).into(), table).await;
        let others = rows(storage, (&Whose::One(them())).into(), table).await;
        assert!(ours > 0 && others > 0, "{table}: {ours} and {others}");
        assert_eq!(ours + others, all, "{table}");
        assert_eq!(rows(storage, both.clone(), table).await, all, "{table}");
        assert_eq!(rows(storage, nobody.clone(), table).await, 0, "{table}");
        assert_eq!(rows(storage, forged.clone(), table).await, 0, "{table}");
    }
    // Every table that has a tenant is behind the wall, or is nobody's.
    let open = backend.database.run(
        "SELECT string_agg(c.relname, ' ' ORDER BY c.relname)
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'cofferdam'::regnamespace AND c.relkind = 'r'
            AND a.attname = 'tenant' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    );
    assert_eq!(
        open.trim(),
        "api_key blob blob_bytes blob_gone blob_part class input module"
    );
    backend.database.run("DELETE FROM cofferdam.file");
    backend.check().await;
}

#[tokio::test]
async fn a_statement_changes_nothing_of_another_tenants() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    fill(storage, &US, 100).await;
    let them = || Seen::from(&Whose::One(them()));
    for sql in [
        "UPDATE cofferdam.task SET priority = 0 RETURNING 1",
        "DELETE FROM cofferdam.task RETURNING 1",
        "DELETE FROM cofferdam.module_version RETURNING 1",
    ] {
        let mut tx = begin(storage, them(), Mode::Durable).await;
        assert!(tx.query(sql, params![]).await.unwrap().is_empty(), "{sql}");
        tx.commit().await.unwrap();
    }
    let forged = "INSERT INTO cofferdam.dedup (key, tenant, task_id, expires_at)
        VALUES ('', 'default', gen_random_uuid(), 0)";
    let mut tx = begin(storage, them(), Mode::Durable).await;
    let refused = tx.query(forged, params![]).await.err().unwrap().error;
    assert!(
        refused.to_string().contains("row-level security"),
        "{refused}"
    );
    drop(tx);
    assert_eq!(task(storage, 101).await.state, TaskState::Pending);
    backend.check().await;
}

/// Whoever connects with the hosts' own user and says nothing sees nothing.
#[tokio::test]
async fn a_connection_that_says_nothing_sees_nothing() {
    let backend = Postgres::fresh().await;
    fill(&backend.storage, &US, 100).await;
    let connector = Connector::parse(&backend.database.url()).unwrap();
    let conn = connector.connect().await.unwrap();
    for table in WALLED {
        let sql = format!("SELECT count(*) FROM cofferdam.{table}");
        let rows = conn.client.query_one(&sql, &[]).await.unwrap();
        assert_eq!(rows.get::<_, i64>(0), 0, "{table}");
    }
}
