//! The pages in a browser: `bench/pages/drawn.mjs` loads them, and says how long that took and what they asked.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::PagesPlan;
use super::fill::Site;
use crate::place::Place;

const CHROMIUM: &str = "/usr/bin/chromium";

/// A page.
pub(super) struct Page {
    pub(super) name: String,
    /// Milliseconds from nothing until it showed everything, sorted.
    pub(super) drawn_ms: Vec<f64>,
    /// What it asked the host, with its query.
    pub(super) requests: Vec<String>,
}

pub(super) fn drawn(plan: &PagesPlan, place: &Place, site: &Site) -> anyhow::Result<Vec<Page>> {
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
    let pages: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    pages.iter().map(page).collect()
}

fn page(told: &Value) -> anyhow::Result<Page> {
    let list = |name: &str| told[name].as_array().with_context(|| format!("no {name}"));
    let mut drawn_ms: Vec<f64> = list("drawn_ms")?.iter().filter_map(Value::as_f64).collect();
    drawn_ms.sort_by(f64::total_cmp);
    let requests = list("requests")?.iter().filter_map(Value::as_str);
    Ok(Page {
        name: told["name"].as_str().context("no name")?.to_owned(),
        requests: requests.map(str::to_owned).collect(),
        drawn_ms,
    })
}
