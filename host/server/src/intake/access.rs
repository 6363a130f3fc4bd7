//! Keys and tenants in an administrator's request.

use std::time::Duration;

use serde::Deserialize;

use crate::intake::json::{self, Whole};
use crate::intake::limits::{Any, LimitsJson};
use crate::intake::refused::Refused;
use crate::intake::time::Time;
use cofferdam::access::NewKey;
use cofferdam_domain::caller::key::KeyName;
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::caller::{Scope, Scopes, Tenant};
use cofferdam_domain::grants::http::HostPattern;
use cofferdam_domain::rate::Rate;

/// How long a rotated key goes on if nothing is said.
const OVERLAP_MS_DEFAULT: u64 = 60 * 60 * 1000;
/// The longest in the API's unit: [`cofferdam::access::OVERLAP_MAX`].
const OVERLAP_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;
/// The largest number that a tenant's bound may have.
const COUNT_MAX: u64 = i32::MAX as u64;
/// The largest burst as the API's number type: [`Rate::NUMBER_MAX`].
const BURST_MAX: u64 = Rate::NUMBER_MAX as u64;
/// The largest weight as the API's number type: [`TenantRules::WEIGHT_MAX`].
const WEIGHT_MAX: u64 = TenantRules::WEIGHT_MAX as u64;

/// A key to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// For whom it speaks; the tenant `default` if absent.
    tenant: Option<String>,
    /// What people call it.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// What it may do: `run`, `read`, `modules`, `admin`.
    scopes: Vec<String>,
    /// When it ceases to open anything.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
    /// How many requests it may make at each host: `N/second`, `N/minute` or `N/hour`.
    rate: Option<String>,
    /// How many of them may come at once; a whole period's if absent.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    burst: Option<Whole<1, BURST_MAX>>,
}

/// How a key is replaced.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// How long the key that is replaced goes on; an hour if absent.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 2_592_000_000_u64)]
    overlap_ms: Option<Whole<0, OVERLAP_MS_MAX>>,
}

/// What holds for a tenant. What is absent has no bound but the host's own.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantRequest {
    /// Its part of the claims where tenants take turns; 1 if absent.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    weight: Option<Whole<1, WEIGHT_MAX>>,
    /// Tasks of its that may wait, over all hosts; one more is refused. 0 takes none.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 2_147_483_647)]
    pending_max: Option<Whole<0, COUNT_MAX>>,
    /// Attempts that may be under way, over all hosts.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 2_147_483_647)]
    running_max: Option<Whole<1, COUNT_MAX>>,
    /// Bytes that may be kept for it: its modules, and what is submitted with its tasks and left by them; what would
    /// go beyond is refused, and an attempt that would ends with `disk_exceeded`. 0 takes nothing.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    storage_bytes: Option<Any>,
    /// CPU time that its runs, code, sessions and tasks may use in a day of UTC, over all hosts, in milliseconds. Once it
    /// is used up, what is new is refused until midnight, and what waits is held back. 0 gives it none.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    cpu_ms_per_day: Option<Any>,
    /// Sessions that it may have at once, at each host. 0 takes none.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 2_147_483_647)]
    sessions_max: Option<Whole<0, COUNT_MAX>>,
    /// How many requests its keys may make together at each host: `N/second`, `N/minute` or `N/hour`.
    rate: Option<String>,
    /// How many of them may come at once; a whole period's if absent.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    burst: Option<Whole<1, BURST_MAX>>,
    /// The most that a run of its may ask for. The host's own ceilings hold too.
    ceilings: Option<LimitsJson>,
    /// Hosts that its runs may be granted, as in `grants.http`; every one that the operator allows if absent. The
    /// operator's own list holds too.
    egress: Option<Vec<String>>,
    /// Names of directories that it may be granted; every one that the operator names if absent.
    dirs: Option<Vec<String>>,
}

/// Reads a key to be made.
pub(crate) fn new_key(body: &[u8]) -> Result<NewKey, Refused> {
    let asked: KeyRequest = json::parse(body)?;
    let tenant = match &asked.tenant {
        None => Tenant::default(),
        Some(name) => tenant(name)?,
    };
    let name = KeyName::parse(&asked.name);
    Ok(NewKey {
        tenant,
        name: name.map_err(|error| Refused::field("name", error))?,
        scopes: scopes(&asked.scopes)?,
        expires_at: asked.expires_at.map(|time| time.0),
        rate: rate(asked.rate.as_deref(), asked.burst)?,
    })
}

/// Reads how long a rotated key goes on. No body says nothing.
pub(crate) fn overlap(body: &[u8]) -> Result<Duration, Refused> {
    let asked = match body.is_empty() {
        true => RotateRequest::default(),
        false => json::parse(body)?,
    };
    let millis = asked
        .overlap_ms
        .map_or(OVERLAP_MS_DEFAULT, |millis| millis.0);
    Ok(Duration::from_millis(millis))
}

/// Reads what holds for a tenant.
pub(crate) fn rules(body: &[u8]) -> Result<TenantRules, Refused> {
    let asked: TenantRequest = json::parse(body)?;
    if let Some(dirs) = &asked.dirs {
        words("dirs", dirs)?;
    }
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(TenantRules {
        weight: asked
            .weight
            .map_or(1, |weight| u32::try_from(weight.0).unwrap_or(1)),
        pending_max: asked.pending_max.map(|number| number.0),
        running_max: asked.running_max.map(|number| count(number.0)),
        storage_bytes: asked.storage_bytes.map(|number| number.0),
        cpu_ms_per_day: asked.cpu_ms_per_day.map(|number| number.0),
        sessions_max: asked.sessions_max.map(|number| count(number.0)),
        rate: rate(asked.rate.as_deref(), asked.burst)?,
        ceilings: asked.ceilings.map(Into::into).unwrap_or_default(),
        egress: asked.egress.as_deref().map(egress).transpose()?,
        dirs: asked.dirs,
    })
}

/// Reads a tenant's name.
pub(crate) fn tenant(name: &str) -> Result<Tenant, Refused> {
    Tenant::parse(name).map_err(|error| Refused::field("tenant", error))
}

fn scopes(words: &[String]) -> Result<Scopes, Refused> {
    let scope = |word: &String| {
        Scope::parse(word).ok_or_else(|| {
            let detail = format_args!("{word:?} is not run, read, modules or admin");
            Refused::field("scopes", detail)
        })
    };
    if words.is_empty() {
        let detail =
            "a key without a scope would open nothing; run, read, modules and admin are scopes";
        return Err(Refused::field("scopes", detail));
    }
    words.iter().map(scope).collect()
}

fn rate(text: Option<&str>, burst: Option<Whole<1, BURST_MAX>>) -> Result<Option<Rate>, Refused> {
    let burst = burst.and_then(|burst| u32::try_from(burst.0).ok());
    match (text, burst) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Refused::field(
            "burst",
            "there is no rate that it belongs to",
        )),
        (Some(text), burst) => Rate::parse(text, burst)
            .map(Some)
            .map_err(|error| Refused::field("rate", error)),
    }
}

fn egress(texts: &[String]) -> Result<Vec<HostPattern>, Refused> {
    words("egress", texts)?;
    let pattern = |text: &String| text.parse::<HostPattern>();
    let patterns = texts.iter().map(pattern).collect::<Result<_, _>>();
    patterns.map_err(|error| Refused::field("egress", error))
}

/// Refuses words that are too many or too long to be kept.
fn words(field: &str, words: &[String]) -> Result<(), Refused> {
    let (most, longest) = (TenantRules::WORDS_MAX, TenantRules::WORD_BYTES_MAX);
    let is_fit = |word: &String| (1..=longest).contains(&word.len()) && !word.contains('\0');
    match words.len() <= most && words.iter().all(is_fit) {
        true => Ok(()),
        false => {
            let detail = format_args!("at most {most} words of 1 to {longest} bytes, without NUL");
            Err(Refused::field(field, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceilings_are_those_of_other_layers() {
        let longest = Duration::from_millis(OVERLAP_MS_MAX);
        assert_eq!(longest, cofferdam::access::OVERLAP_MAX);
        assert_eq!(i32::try_from(COUNT_MAX), Ok(i32::MAX));
    }

    #[test]
    fn a_key_says_for_whom_it_is_and_what_it_may() {
        let key = |body: &str| new_key(body.as_bytes());
        let made = key(r#"{"name":"CI","scopes":["run","read"],"rate":"2/minute","burst":9}"#);
        let made = made.unwrap();
        assert_eq!(
            (made.tenant.as_str(), made.name.as_str()),
            ("default", "CI")
        );
        assert!(made.scopes.contain(Scope::Run) && !made.scopes.contain(Scope::Admin));
        assert_eq!(made.rate, Rate::parse("2/minute", Some(9)).ok());
        for bad in [
            r#"{"name":"CI"}"#,
            r#"{"name":"CI","scopes":[]}"#,
            r#"{"name":"CI","scopes":["all"]}"#,
            r#"{"name":"","scopes":["run"]}"#,
            r#"{"name":"CI","scopes":["run"],"tenant":"A"}"#,
            r#"{"name":"CI","scopes":["run"],"burst":1}"#,
            r#"{"name":"CI","scopes":["run"],"rate":"1/day"}"#,
            r#"{"name":"CI","scopes":["run"],"expires_at":"soon"}"#,
            r#"{"name":"CI","scopes":["run"],"id":"0123456789abcdef"}"#,
            r#"{"name":"CI","scopes":["run"],"created_at":"2026-01-31T12:00:00Z"}"#,
        ] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rotated_key_goes_on_for_an_hour_or_as_long_as_is_said() {
        let millis = |body: &[u8]| overlap(body).map(|overlap| overlap.as_millis());
        assert_eq!(millis(b"").unwrap(), 3_600_000);
        assert_eq!(millis(br#"{"overlap_ms":0}"#).unwrap(), 0);
        assert!(millis(br#"{"overlap_ms":2592000001}"#).is_err());
    }

    #[test]
    fn a_tenants_rules_are_in_their_ranges() {
        let rules = |body: &str| rules(body.as_bytes());
        let full = rules(
            r#"{"weight":3,"running_max":2,"pending_max":0,"sessions_max":5,"rate":"9/second",
                "ceilings":{"cpu_ms":7},"egress":["*.Example.org:443"],"dirs":["data"]}"#,
        );
        let full = full.unwrap();
        assert_eq!((full.pending_max, full.sessions_max), (Some(0), Some(5)));
        assert_eq!(full.egress.unwrap()[0].to_string(), "*.example.org:443");
        assert_eq!((full.weight, full.running_max), (3, Some(2)));
        assert_eq!(full.ceilings.cpu, Some(Duration::from_millis(7)));
        assert_eq!(rules("{}").unwrap(), TenantRules::default());
        for bad in [
            r#"{"weight":0}"#,
            r#"{"weight":1001}"#,
            r#"{"running_max":0}"#,
            r#"{"rate":"0/second"}"#,
            r#"{"pending_max":-1}"#,
            r#"{"storage_bytes":9007199254740992}"#,
            r#"{"sessions_max":2147483648}"#,
            r#"{"egress":["a b"]}"#,
            r#"{"egress":["127.1"]}"#,
            r#"{"dirs":[""]}"#,
            r#"{"ceilings":{"cpu":7}}"#,
            r#"{"name":"a"}"#,
        ] {
            assert!(rules(bad).is_err(), "{bad}");
        }
    }
}
