//! Those who look: each asks what its page asks, as often as the page does, over a connection of its own. While
//! nothing changes, pages ask more seldom.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::PagesPlan;
use super::fill::Site;
use crate::client::Client;
use crate::host::Host;

/// How long the host is left alone before it is measured.
const SETTLE: Duration = Duration::from_secs(5);
/// How long the pages have been open before what they cost is measured.
const OPEN: Duration = Duration::from_secs(40);
/// What a watcher sleeps at most before it looks whether it is over.
const NAP: Duration = Duration::from_millis(100);

/// How often the wait doubles at most while every answer is like the one before, and the longest wait then;
/// `host/server/monitoring/live.js` says it.
const DOUBLED_MAX: u32 = 2;
const QUIET_MAX: Duration = Duration::from_secs(20);

/// What an open page asks, and how often.
type Asks = Vec<(String, Duration)>;

/// One of the questions of one watcher.
struct Question<'a> {
    path: &'a str,
    every: Duration,
    due: Instant,
    /// How many answers in a row were like the one before.
    alike: u32,
    last: Vec<u8>,
}

impl Question<'_> {
    /// Asks, and decides when it is asked again.
    fn ask(&mut self, client: &Client) -> anyhow::Result<()> {
        let answer = client.get_as_browser(self.path)?;
        ensure!(
            answer.status == 200,
            "{}: status {}",
            self.path,
            answer.status
        );
        self.alike = match answer.body == self.last {
            true => (self.alike + 1).min(DOUBLED_MAX),
            false => 0,
        };
        self.last = answer.body;
        let quiet = (self.every * 2u32.pow(self.alike)).min(QUIET_MAX);
        self.due += quiet.max(self.every);
        Ok(())
    }
}

/// What the three pages ask as they stay open; their files in `host/server/monitoring/pages` say it.
fn asks(site: &Site) -> [Asks; 3] {
    let every = |seconds: u64, path: &str| (path.to_owned(), Duration::from_secs(seconds));
    let workflow = format!("/v1/workflows/{}", site.waiting());
    [
        vec![
            every(5, "/metrics"),
            every(5, "/v1/stats/series?range=20s&step=5s"),
            every(10, "/v1/tasks?limit=6&status=running"),
            every(10, "/v1/tasks?limit=6&status=failed"),
            every(60, "/health"),
        ],
        vec![every(4, "/v1/tasks?limit=50")],
        vec![every(1, &workflow)],
    ]
}

/// The host's CPU time in percent of a core: while nobody looks, and while all watchers do.
pub(super) fn cost_percent(plan: &PagesPlan, host: &Host, site: &Site) -> anyhow::Result<[f64; 2]> {
    std::thread::sleep(SETTLE);
    let idle = percent(plan, host)?;
    let (asks, is_over) = (asks(site), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watchers: Vec<_> = (0..plan.watchers)
            .map(|number| {
                let (asks, is_over) = (&asks[number as usize % asks.len()], &is_over);
                let client = Client::new(host.server.base());
                let phase = number as f64 / plan.watchers as f64;
                scope.spawn(move || watch(&client, asks, phase, is_over))
            })
            .collect();
        // Every one has connected by then, and asks as often as a page that has been open for a while.
        std::thread::sleep(OPEN);
        let watched = percent(plan, host);
        is_over.store(true, Ordering::Relaxed);
        for watcher in watchers {
            match watcher.join() {
                Ok(done) => done?,
                Err(_panicked) => bail!("a watcher panicked"),
            }
        }
        Ok([idle, watched?])
    })
}

fn percent(plan: &PagesPlan, host: &Host) -> anyhow::Result<f64> {
    let (begun, before) = (Instant::now(), host.server.cpu_s()?);
    std::thread::sleep(Duration::from_secs(plan.seconds));
    let used = host.server.cpu_s()? - before;
    Ok(used / begun.elapsed().as_secs_f64() * 100.0)
}

/// Asks until it is over. Watchers begin at different times, so that they do not ask at once.
fn watch(client: &Client, asks: &Asks, phase: f64, is_over: &AtomicBool) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut questions: Vec<Question> = asks
        .iter()
        .map(|(path, every)| Question {
            path,
            every: *every,
            due: begun + every.mul_f64(phase),
            alike: 0,
            last: Vec::new(),
        })
        .collect();
    while !is_over.load(Ordering::Relaxed) {
        for question in &mut questions {
            if question.due <= Instant::now() {
                question.ask(client)?;
            }
        }
        let next = questions.iter().map(|question| question.due).min();
        let next = next.unwrap_or(begun);
        std::thread::sleep(next.saturating_duration_since(Instant::now()).min(NAP));
    }
    Ok(())
}
