//! Passes: what proves that a request comes from another host of the same database, and for whom.
//!
//! The hosts share a secret that only the database has. A pass names the host it is for, the caller and
//! the moment, and is signed together with the method and the address of its request: so one that is read
//! in a log opens nothing else, and not even the same thing twice or after a minute. Bodies are not
//! signed, because they are passed on piece by piece; whoever can change them on their way must be kept
//! off the way between the hosts, by HTTPS or by its walls.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngCore;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use crate::http::error::ApiError;
use crate::http::peers::seen::{Seen, Unfit};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::key::KeyId;
use cofferdam_domain::caller::{Caller, Origin, Scope, Tenant};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::secret::Secret;

/// How old a pass may be; the hosts of one database have one clock. It may be as far ahead, because each
/// of them knows that clock only approximately.
const AGE_MAX: Duration = Duration::from_secs(30);
/// What the key is for, so that the same secret may serve for others.
const PURPOSE: &[u8] = b"cofferdam: requests that one host passes on to another, version 1";

/// What a pass says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// The host that is to answer.
    pub(super) to: WorkerId,
    /// For whom.
    pub(super) caller: Caller,
    /// The name by which the caller addressed the first host.
    pub(super) host: HeaderValue,
}

/// Writes passes and reads them.
pub(super) struct Passes {
    signer: Hmac<Sha256>,
    own: WorkerId,
    clock: Clock,
    random: Mutex<StdRng>,
    seen: Mutex<Seen>,
}

/// Why a pass is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPass {
    #[error("this host takes no requests of other hosts, because it shares its storage with none")]
    Unknown,
    #[error("it is not what a host writes")]
    Malformed,
    #[error("no host of this database has signed it")]
    Forged,
    #[error("it is too old, or from the future")]
    Late,
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// As it is signed.
#[derive(Serialize, Deserialize)]
struct Said {
    from: Uuid,
    to: Uuid,
    at_ms: i64,
    nonce: Uuid,
    tenant: String,
    scopes: Vec<String>,
    /// Absent if they showed none, or the host is older.
    #[serde(default)]
    key: Option<String>,
    /// Absent if the first host itself is the caller.
    address: Option<IpAddr>,
    host: String,
}

impl Passes {
    pub(super) fn new(secret: &Secret, own: WorkerId, clock: Clock, random: StdRng) -> Passes {
        let of =
            |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("any key has a fit length");
        let key = of(secret.bytes()).chain_update(PURPOSE).finalize();
        Passes {
            signer: of(&key.into_bytes()),
            own,
            clock,
            random: Mutex::new(random),
            seen: Mutex::default(),
        }
    }

    /// A pass for one request.
    pub(super) fn write(&self, pass: &Pass, method: &Method, uri: &Uri) -> HeaderValue {
        let Pass { to, caller, host } = pass;
        let mut nonce = [0; 16];
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.fill_bytes(&mut nonce);
        drop(random);
        let scopes = caller.scopes().iter();
        let said = Said {
            from: self.own.0,
            to: to.0,
            at_ms: self.clock.now().as_millis(),
            nonce: Uuid::from_bytes(nonce),
            tenant: caller.tenant().to_string(),
            scopes: scopes.map(|scope| scope.as_str().to_owned()).collect(),
            key: caller.key().map(|key| key.to_string()),
            address: match caller.from() {
                Origin::Here => None,
                Origin::Peer(address) => Some(address),
            },
            host: host.to_str().unwrap_or("localhost").to_owned(),
        };
        let said = serde_json::to_vec(&said).expect("it is plain JSON");
        let tag = self.signed(&said, method, uri).finalize().into_bytes();
        let [said, tag] = [&said[..], &tag[..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        HeaderValue::from_str(&format!("{said}.{tag}")).expect("base64 is visible ASCII")
    }

    /// What a pass says, if it is genuine and of this request.
    pub(super) fn read(
        &self,
        pass: &HeaderValue,
        method: &Method,
        uri: &Uri,
    ) -> Result<Pass, BadPass> {
        let text = pass.to_str().map_err(|_| BadPass::Malformed)?;
        let (said, tag) = text.split_once('.').ok_or(BadPass::Malformed)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| BadPass::Malformed);
        let (said, tag) = (decoded(said)?, decoded(tag)?);
        // This takes the same time, whichever byte differs.
        let genuine = self.signed(&said, method, uri).verify_slice(&tag);
        genuine.map_err(|_| BadPass::Forged)?;
        let said: Said = serde_json::from_slice(&said).map_err(|_| BadPass::Malformed)?;
        let (at, now) = (Timestamp::from_millis(said.at_ms), self.clock.now());
        if now.since(at) > AGE_MAX || at.since(now) > AGE_MAX {
            return Err(BadPass::Late);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.note(said.nonce, at.plus(AGE_MAX), now)?;
        drop(seen);
        said.into_pass().ok_or(BadPass::Malformed)
    }

    fn signed(&self, said: &[u8], method: &Method, uri: &Uri) -> Hmac<Sha256> {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        self.signer
            .clone()
            .chain_update(method.as_str())
            .chain_update([0])
            .chain_update(target)
            .chain_update([0])
            .chain_update(said)
    }
}

impl Said {
    fn into_pass(self) -> Option<Pass> {
        // A scope that only a newer version knows gives no right here.
        let scopes = self.scopes.iter().filter_map(|word| Scope::parse(word));
        let scopes = scopes.collect();
        let from = self.address.map_or(Origin::Here, Origin::Peer);
        let tenant = Tenant::parse(&self.tenant).ok()?;
        let caller = Caller::new(tenant, scopes, from);
        let caller = match self.key {
            None => caller,
            Some(key) => caller.by_key(KeyId::parse(&key)?),
        };
        Some(Pass {
            to: WorkerId(self.to),
            caller,
            host: HeaderValue::from_str(&self.host).ok()?,
        })
    }
}

impl From<BadPass> for ApiError {
    fn from(bad: BadPass) -> ApiError {
        let detail = format!("the header Cofferdam-Forwarded is refused: {bad}");
        ApiError::new(StatusCode::FORBIDDEN, "forwarding_refused", detail)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn worker(number: u128) -> WorkerId {
        WorkerId(Uuid::from_u128(number))
    }

    fn passes(secret: u8, own: u128, clock: &Clock) -> Passes {
        let random = StdRng::seed_from_u64(u64::from(secret));
        Passes::new(
            &Secret::new([secret; 32]),
            worker(own),
            clock.clone(),
            random,
        )
    }

    fn pass() -> Pass {
        let scopes = [Scope::Run].into_iter().collect();
        let from = Origin::Peer(IpAddr::from([10, 0, 0, 1]));
        Pass {
            to: worker(2),
            caller: Caller::new(Tenant::parse("team").unwrap(), scopes, from)
                .by_key(KeyId::from_bytes([7; 8])),
            host: HeaderValue::from_static("localhost:80"),
        }
    }

    fn target() -> Uri {
        Uri::from_static("/v1/sessions/a?b=c")
    }

    #[test]
    fn a_pass_says_for_whom_it_is_and_is_used_once() {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let (from, to) = (passes(7, 1, &clock), passes(7, 2, &clock));
        let written = from.write(&pass(), &Method::POST, &target());
        assert_eq!(to.read(&written, &Method::POST, &target()), Ok(pass()));
        let again = to.read(&written, &Method::POST, &target());
        assert_eq!(again, Err(BadPass::Unfit(Unfit::Used)));
        // The next one is another.
        let next = from.write(&pass(), &Method::POST, &target());
        assert_ne!(next, written);
        assert_eq!(to.read(&next, &Method::POST, &target()), Ok(pass()));
    }

    #[test]
    fn a_pass_opens_nothing_else_and_no_other_database() {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let (from, to) = (passes(7, 1, &clock), passes(7, 2, &clock));
        let written = from.write(&pass(), &Method::POST, &target());
        let refused = |to: &Passes, pass: &HeaderValue, method: Method, uri: &'static str| {
            to.read(pass, &method, &Uri::from_static(uri)).unwrap_err()
        };
        let own = "/v1/sessions/a?b=c";
        assert_eq!(refused(&to, &written, Method::GET, own), BadPass::Forged);
        let other = refused(&to, &written, Method::POST, "/v1/sessions/b?b=c");
        assert_eq!(other, BadPass::Forged);
        let stranger = passes(8, 2, &clock);
        assert_eq!(
            refused(&stranger, &written, Method::POST, own),
            BadPass::Forged
        );
        let text = written.to_str().unwrap();
        let (said, tag) = text.split_once('.').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(said).unwrap();
        let raised = String::from_utf8(bytes).unwrap().replace("run", "admin");
        let raised = URL_SAFE_NO_PAD.encode(raised);
        let changed = HeaderValue::from_str(&format!("{raised}.{tag}")).unwrap();
        assert_eq!(refused(&to, &changed, Method::POST, own), BadPass::Forged);
        for bad in ["", ".", "a", "a.b", "é"] {
            let bad = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            let why = refused(&to, &bad, Method::POST, own);
            assert!(
                [BadPass::Malformed, BadPass::Forged].contains(&why),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_pass_is_of_no_use_after_a_while() {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let (from, to) = (passes(7, 1, &clock), passes(7, 2, &clock));
        let written = from.write(&pass(), &Method::GET, &target());
        let later = Clock::manual(clock.now().plus(AGE_MAX + Duration::from_millis(1)));
        let early = Clock::manual(clock.now().minus(AGE_MAX + Duration::from_millis(1)));
        for clock in [later, early] {
            let to = passes(7, 2, &clock);
            let refused = to.read(&written, &Method::GET, &target());
            assert_eq!(refused, Err(BadPass::Late));
        }
        assert!(to.read(&written, &Method::GET, &target()).is_ok());
    }
}
