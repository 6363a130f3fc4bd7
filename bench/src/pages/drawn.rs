//! The pages in a browser: `bench/pages/drawn.mjs` loads them, and says how long that took and what they asked.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::PagesPlan;
use super::fill::Site;
use crate::place::Place;

const CHROMIUM: &str = "/usr/bin/chromium";

/// What the browser told.
pub(super) struct Drawn {
    pub(super) pages: Vec<Page>,
    /// Milliseconds that it takes to draw an answer of two bytes, sorted.
    pub(super) floor_ms: Vec<f64>,
}

/// A page.
pub(super) struct Page {
    pub(super) name: String,
    /// Milliseconds from nothing until it showed everything, sorted.
    pub(super) drawn_ms: Vec<f64>,
    /// The same for somebody who goes to it from another page, sorted.
    pub(super) moved_ms: Vec<f64>,
    /// What it asked the host, with its query.
    pub(super) requests: Vec<String>,
}

pub(super) fn drawn(plan: &PagesPlan, place: &Place, site: &Site) -> anyhow::Result<Drawn> {
    let packages = place.file("target/browser")?;
    ensure!(
        Path::new(CHROMIUM).exists(),
        "{CHROMIUM} does not exist; cargo xtask peers installs it"
    );
    let output = Command::new("node")
        .arg(place.file("bench/pages/drawn.mjs")?)
        .env("COFFERDAM_BROWSER", packages)
        .env("COFFERDAM_CHROMIUM", CHROMIUM)
        .env("COFFERDAM_SITE", site.told().to_string())
        .env("COFFERDAM_LOADS", plan.loads.to_string())
        .output()
        .context("node cannot be started")?;
    ensure!(
        output.status.success(),
        "the browser: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let pages = list(&told, "pages")?.iter().map(page);
    Ok(Drawn {
        pages: pages.collect::<anyhow::Result<_>>()?,
        floor_ms: milliseconds(&told, "floor_ms")?,
    })
}

fn page(told: &Value) -> anyhow::Result<Page> {
    let requests = list(told, "requests")?.iter().filter_map(Value::as_str);
    Ok(Page {
        name: told["name"].as_str().context("no name")?.to_owned(),
        requests: requests.map(str::to_owned).collect(),
        drawn_ms: milliseconds(told, "drawn_ms")?,
        moved_ms: milliseconds(told, "moved_ms")?,
    })
}

fn milliseconds(told: &Value, name: &str) -> anyhow::Result<Vec<f64>> {
    let mut taken: Vec<f64> = list(told, name)?.iter().filter_map(Value::as_f64).collect();
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}

fn list<'a>(told: &'a Value, name: &str) -> anyhow::Result<&'a Vec<Value>> {
    told[name].as_array().with_context(|| format!("no {name}"))
}
