//! Those who look: each asks what its page asks, as often as the page does, over a connection of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::PagesPlan;
use super::fill::Site;
use crate::client::Client;
use crate::host::Host;

/// How long the host is left alone before it is measured.
const SETTLE: Duration = Duration::from_secs(5);
/// What a watcher sleeps at most before it looks whether it is over.
const NAP: Duration = Duration::from_millis(100);

/// What an open page asks, and how often.
type Asks = Vec<(String, Duration)>;

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
        // Every one has connected by then.
        std::thread::sleep(SETTLE);
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
    let mut due: Vec<Instant> = asks
        .iter()
        .map(|(_, every)| begun + every.mul_f64(phase))
        .collect();
    while !is_over.load(Ordering::Relaxed) {
        for (due, (path, every)) in due.iter_mut().zip(asks) {
            if *due <= Instant::now() {
                let answer = client.get_as_browser(path)?;
                ensure!(answer.status == 200, "{path}: status {}", answer.status);
                *due += *every;
            }
        }
        let next = due.iter().min().copied().unwrap_or(begun);
        std::thread::sleep(next.saturating_duration_since(Instant::now()).min(NAP));
    }
    Ok(())
}
