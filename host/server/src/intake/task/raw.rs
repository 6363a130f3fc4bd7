//! A task whose input is the raw body; the query has everything else about it.

use std::time::Duration;

use crate::intake::callback;
use crate::intake::limits;
use crate::intake::placement::placement;
use crate::intake::query::Query;
use crate::intake::refused::Refused;
use crate::intake::task::DELAY_MS_MAX;
use crate::intake::time::Time;
use crate::intake::words;
use cofferdam::queue::Submission;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::module::ModuleRef;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::task::Input;

/// The queue's submission, without the input and the fingerprint, which come with the body.
pub(crate) fn submission(mut query: Query<'_>, module: &str) -> Result<Submission, Refused> {
    let task_id = query.parsed("task_id", "a UUID", words::task_id)?;
    let args = query.list("arg");
    let env = words::pairs(query.list("env"))?;
    words::check(&args, &env)?;
    let priority = words::priority(query.text("priority")?.as_deref())?;
    let delay = query.number("delay_ms", 0..=DELAY_MS_MAX)?;
    let run_at = query.parsed("run_at", "a time in RFC 3339", |text| {
        Time::parse(text).ok()
    })?;
    let dedup_key = query.text("dedup_key")?.map(words::dedup_key).transpose()?;
    let limits = limits::of_task(|name, range| query.number(name, range))?;
    let mut retry = RetryPolicy::default();
    let attempts = query.number("max_attempts", 1..=u64::from(RetryPolicy::ATTEMPTS_CEILING))?;
    if let Some(attempts) = attempts.and_then(|attempts| u32::try_from(attempts).ok()) {
        retry.max_attempts = attempts;
    }
    let told = query.text("callback_url")?;
    let secret = query.text("callback_secret_name")?;
    let ends = query.list("callback_on");
    let callback = callback::of_query(told, secret.as_deref(), &ends)?;
    let isolation = query.parsed("isolation", words::ISOLATIONS, Isolation::parse)?;
    let cache_ttl = query.number("cache_ttl_ms", 1..=words::CACHE_TTL_MS_MAX)?;
    let requires = query.list("requires");
    let preferred = query.text("preferred_worker")?;
    let placement = placement(requires, preferred, |name, why| {
        Refused::parameter(name, why)
    })?;
    query.done()?;
    Ok(Submission {
        task_id,
        args,
        env,
        priority,
        delay: Duration::from_millis(delay.unwrap_or(0)),
        run_at: run_at.map(|time| time.0),
        limits,
        retry,
        dedup_key,
        callback,
        isolation,
        cache_ttl: cache_ttl.map(Duration::from_millis),
        placement,
        ..Submission::new(ModuleRef::parse(module)?, Input::empty())
    })
}
