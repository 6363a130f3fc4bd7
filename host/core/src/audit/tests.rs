//! The trail of a host over a storage that fails.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rand::SeedableRng;
use tokio::sync::Notify;

use super::*;
use cofferdam_domain::time::Timestamp;

/// A storage of notes that fails as long as it is told to.
#[derive(Default)]
struct Notebook {
    notes: Mutex<Vec<Note>>,
    fails: AtomicBool,
    /// Somebody tried in vain.
    failed: Notify,
}

#[async_trait]
impl Trail for Notebook {
    async fn append(&self, notes: Vec<Note>) -> Result<(), StorageError> {
        if self.fails.load(Ordering::SeqCst) {
            self.failed.notify_one();
            return Err(StorageError::Unavailable("a test".to_owned()));
        }
        self.notes.lock().unwrap().extend(notes);
        Ok(())
    }

    async fn entries(&self, _wanted: &Wanted, _limit: u32) -> Result<TrailPage, StorageError> {
        Err(StorageError::Unavailable("a test".to_owned()))
    }

    async fn shorten(&self, _: Timestamp, _: u64, _: Note) -> Result<u64, StorageError> {
        Ok(0)
    }
}

struct Stage {
    notebook: Arc<Notebook>,
    audit: Arc<Audit>,
    end: Shutdown,
}

impl Stage {
    fn new() -> Stage {
        let (notebook, end) = (Arc::<Notebook>::default(), Shutdown::new());
        let patience = Patience {
            place: Duration::from_millis(100),
            entry: Duration::from_millis(100),
        };
        let parts = (
            Arc::<Notebook>::clone(&notebook) as Arc<dyn Trail>,
            Clock::told(Timestamp::from_millis(7)),
            Arc::new(Metrics::new()),
            AuditConfig::default(),
        );
        let audit = Audit::start_with(patience, parts, StdRng::seed_from_u64(7), &end);
        Stage {
            notebook,
            audit,
            end,
        }
    }

    /// What was noted when everything ended: how, and what.
    async fn noted(self) -> Vec<(Outcome, String)> {
        self.end.request();
        assert!(self.end.drained(Duration::from_secs(60)).await);
        let notes = self.notebook.notes.lock().unwrap();
        let told = |note: &Note| (note.outcome, note.action.as_str().to_owned());
        notes.iter().map(told).collect()
    }
}

fn act(action: &str) -> Act {
    Act::of(&Caller::local(), "local", action, "/v1/modules/echo")
}

fn done() -> Ended {
    Ended {
        outcome: Outcome::Done,
        status: 201,
        code: None,
        made: Some(Text::of("/v1/modules/echo@1")),
    }
}

#[tokio::test]
async fn a_change_ends_when_its_entry_is_there() {
    let stage = Stage::new();
    let place = stage.audit.place(Kind::Change, act("put_module")).await;
    place.unwrap().end(done()).await.unwrap();
    {
        let notes = stage.notebook.notes.lock().unwrap();
        let [note] = &notes[..] else {
            panic!("{notes:?}")
        };
        let who = (
            note.tenant.as_str(),
            note.actor.as_str(),
            note.origin.as_str(),
        );
        assert_eq!(who, ("default", "host", "this process"));
        let what = (note.action.as_str(), note.resource.as_str(), note.status);
        assert_eq!(what, ("put_module", "/v1/modules/echo@1", 201));
    }
    // Whoever went away leaves one as well.
    let place = stage.audit.place(Kind::Change, act("delete_module")).await;
    drop(place.unwrap());
    let expected = [
        (Outcome::Done, "put_module"),
        (Outcome::Abandoned, "delete_module"),
    ];
    assert_eq!(
        stage.noted().await,
        expected.map(|(how, what)| (how, what.to_owned()))
    );
}

#[tokio::test]
async fn nothing_is_changed_while_the_trail_cannot_be_written() {
    let stage = Stage::new();
    stage.notebook.fails.store(true, Ordering::SeqCst);
    let place = stage.audit.place(Kind::Change, act("put_module")).await;
    assert_eq!(place.unwrap().end(done()).await, Err(Unwritten::NotNoted));
    stage.notebook.failed.notified().await;
    // What the writer holds, and all that may wait behind it.
    let mut taken = Vec::new();
    let refused = loop {
        match stage.audit.place(Kind::Change, act("delete_module")).await {
            Ok(place) => taken.push(place),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Unwritten::NotDone);
    assert_eq!(taken.len(), WAITING_MAX);
    // Those that were promised an entry have it as soon as that can be.
    stage.notebook.fails.store(false, Ordering::SeqCst);
    drop(taken);
    let noted = stage.noted().await;
    assert_eq!(noted.len(), 1 + WAITING_MAX);
    assert_eq!(noted[0], (Outcome::Done, "put_module".to_owned()));
}

#[tokio::test]
async fn refused_tries_are_noted_and_counted() {
    let stage = Stage::new();
    let from = Origin::Peer([127, 0, 0, 9].into());
    for _ in 0..10_000 {
        stage
            .audit
            .not_known(from, act("list_tasks"), 401, "key_unknown");
    }
    stage.audit.not_allowed(act("create_key"), 403, "forbidden");
    stage.audit.not_allowed(act("revoke_key"), 403, "forbidden");
    let notebook = Arc::clone(&stage.notebook);
    assert_eq!(stage.noted().await.len(), 4);
    let notes = notebook.notes.lock().unwrap();
    let counts: Vec<u64> = notes.iter().map(|note| note.count).collect();
    assert_eq!(counts, [1, 1, 1, 9_999]);
    assert!(notes.iter().all(|note| note.outcome == Outcome::Refused));
    assert!(
        notes[3].detail.as_str().starts_with("key_unknown"),
        "{notes:?}"
    );
}
