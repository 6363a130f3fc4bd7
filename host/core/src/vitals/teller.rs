//! Tells the operator's receiver which rules fire and which ended.
//!
//! What is told is how the rules stand now, compared with what was told last. So nothing piles up while the
//! receiver cannot be reached, and an alert that came and went meanwhile is not told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

use super::Vitals;
use crate::callbacks::{CallbacksConfig, Letter, signing_keys, way_out};
use crate::shutdown::Shutdown;
use cofferdam_domain::alert::{Alert, AlertState, Rule};
use cofferdam_domain::callback::CallbackUrl;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::grants::http::HostPattern;
use cofferdam_domain::secret::SecretValue;
use cofferdam_domain::time::Timestamp;
use cofferdam_sandbox::egress::{Egress, EgressConfig};

/// How long one try may take, its answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 << 10;
/// The wait after the first try that did not succeed; it doubles with each …
const WAIT_MIN: Duration = Duration::from_secs(1);
/// … up to this.
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// What is told.
#[derive(Debug)]
pub struct Told {
    /// The name of the message.
    pub id: String,
    /// When it is sent.
    pub at: Timestamp,
    /// The rules that began to fire or ended.
    pub alerts: Vec<Alert>,
}

/// Writes a message.
pub type Write = Box<dyn Fn(&Told) -> Bytes + Send + Sync>;

/// The way to the receiver.
pub(super) struct Receiver {
    url: CallbackUrl,
    keys: Vec<SecretValue>,
    egress: Egress,
    write: Write,
    clock: Clock,
    random: StdRng,
}

/// Which rules fire, in the order of [`Rule::ALL`].
type Firing = [bool; Rule::ALL.len()];

impl Receiver {
    /// The receiver that the operator named, which may be reached without being listed elsewhere. That its
    /// address is not public has to be said in `[egress]` like for any other.
    pub(super) fn new(
        url: CallbackUrl,
        secret: Option<&SecretValue>,
        egress: &EgressConfig,
        write: Write,
        clock: Clock,
        seed: u64,
    ) -> Receiver {
        let allow: Result<HostPattern, _> = url.place().parse();
        let config = CallbacksConfig {
            allow: allow.into_iter().collect(),
            concurrency: 1,
            timeout: TIMEOUT,
            ..CallbacksConfig::default()
        };
        let keys = secret.and_then(|secret| signing_keys(secret).ok());
        Receiver {
            url,
            keys: keys.unwrap_or_default(),
            egress: way_out(&config, egress),
            write,
            clock,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Sends one; why it did not arrive, if it did not.
    async fn send(&self, told: &Told) -> Result<(), String> {
        let letter = Letter {
            url: &self.url,
            name: &told.id,
            about: "/v1/alerts",
            kind: "alert",
            at: told.at,
            keys: &self.keys,
            body: (self.write)(told),
            within: None,
            tenant: None,
        };
        match letter.post(&self.egress, ANSWER_BYTES, TIMEOUT).await {
            Some(Ok(answer)) if (200..300).contains(&answer.status) => Ok(()),
            Some(Ok(answer)) => Err(format!("the answer was {}", answer.status)),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("its host cannot be read".to_owned()),
        }
    }
}

/// Tells until shutdown is requested.
pub(super) async fn serve(
    vitals: Arc<Vitals>,
    mut receiver: Receiver,
    changed: Arc<Notify>,
    stop: Shutdown,
) {
    let (mut told, mut wait): (Firing, Duration) = (Firing::default(), WAIT_MIN);
    let mut last: Option<(Firing, String)> = None;
    loop {
        let alerts = vitals.alerts();
        let firing = alerts.map(|alert| alert.state == AlertState::Firing);
        if firing == told {
            tokio::select! {
                () = changed.notified() => continue,
                () = stop.requested() => return,
            }
        }
        let at = receiver.clock.now();
        // A message that is sent again has the same name.
        let again = last.take().filter(|(before, _)| *before == firing);
        let id = again.map_or_else(
            || format!("alert_{}", at.uuid(&receiver.random.random())),
            |(_, id)| id,
        );
        let is_news = |place: &usize| firing[*place] != told[*place];
        let news = (0..alerts.len()).filter(is_news);
        let message = Told {
            alerts: news.map(|place| alerts[place]).collect(),
            id,
            at,
        };
        let sent = tokio::select! {
            sent = receiver.send(&message) => sent,
            () = stop.requested() => return,
        };
        let Err(why) = sent else {
            (told, wait) = (firing, WAIT_MIN);
            continue;
        };
        if wait == WAIT_MIN {
            tracing::warn!(
                place = receiver.url.place(),
                why,
                "alerts could not be told; it is tried again"
            );
        }
        last = Some((firing, message.id));
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(WAIT_MAX),
            () = stop.requested() => return,
        }
    }
}
