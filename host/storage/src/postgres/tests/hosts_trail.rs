//! The audit trail of several hosts, who sees it, and how the database's own user tampers with it.

use super::*;
use crate::conformance::Tampered;
use crate::conformance::trail::note;
use crate::postgres::WRITE_TIMEOUT;
use crate::postgres::call::Call;
use crate::postgres::params::params;
use crate::postgres::seen::Seen;
use crate::postgres::tx::Mode;
use crate::trail::Trail;
use crate::verify::verify;
use cofferdam_domain::caller::Tenant;

impl Tampered for Postgres {
    fn config(&self) -> StorageConfig {
        StorageConfig {
            url: Some(self.database.url()),
            ..settings(self.dir.path())
        }
    }

    fn tamper(&self, sql: &str) {
        let sql = translated(sql);
        self.database
            .run(&format!("SET session_replication_role = replica; {sql}"));
    }

    fn refuses(&self, sql: &str) {
        let sql = translated(sql);
        self.database.run(&format!(
            "DO $$ BEGIN
                {sql};
                RAISE EXCEPTION 'it is not refused' USING ERRCODE = 'ZZ001';
             EXCEPTION WHEN raise_exception THEN NULL;
             END $$"
        ));
    }
}

fn translated(sql: &str) -> String {
    let sql = sql.replace("TRAIL", "cofferdam.audit");
    let sql = sql.replace("NEWID", "gen_random_uuid()");
    sql.replace("HEX[", "'\\x").replace(']', "'")
}

#[tokio::test]
async fn two_hosts_append_to_one_chain() {
    let two = Two::fresh().await;
    let appends = (0..100).map(|batch| {
        let host = &two.hosts[usize::try_from(batch % 2).unwrap()];
        host.append((1..=3).map(|number| note(3 * batch + number)).collect())
    });
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    let config = StorageConfig {
        url: Some(two.database.url()),
        ..StorageConfig::default()
    };
    let whole = verify(&config, None).unwrap();
    assert_eq!((whole.entries, whole.broken), (300, None));
    two.check();
}

#[tokio::test]
async fn no_tenant_sees_the_trail_and_nobody_empties_it() {
    let backend = Postgres::fresh().await;
    backend.storage.append(vec![note(1)]).await.unwrap();
    let seen = async |seen: Seen| {
        let call = Call::new(&backend.storage.db, WRITE_TIMEOUT).seeing(seen);
        let counted = call.repeated(|call| {
            Box::pin(async move {
                let mut tx = call.begin(Mode::Read).await?;
                let sql = "SELECT count(*) FROM cofferdam.audit";
                let row = tx.query_opt(sql, params![]).await?;
                tx.commit().await?;
                Ok(row.unwrap().get::<_, i64>(0))
            })
        });
        backend.storage.engine.run(counted).await.unwrap()
    };
    assert_eq!(seen(Seen::All).await, 1);
    // The entry is of a tenant of that name.
    let odd = Tenant::parse("odd").unwrap();
    assert_eq!(seen(Seen::Of([odd].into())).await, 0);
    backend.refuses("TRUNCATE TRAIL");
    backend.refuses("TRUNCATE TRAIL_ends");
    backend.check().await;
}
