//! Where this host is: the address at which others reach it, the machine's name, and what it needs to
//! reach the others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::app::works::Works;
use crate::config::Config;
use crate::config::keys::ENCRYPTION_KEYS_FORM;
use crate::http::peers::{Peers, Sharing};
use crate::http::settings::HttpConfig;
use crate::http::tls::trust::Trust;
use cofferdam::access::Access;
use cofferdam::access::settings::{AccessConfig, AdminKey};
use cofferdam::audit::Audit;
use cofferdam::resealing;
use cofferdam::runner::Runner;
use cofferdam::runner::admission::Tenants;
use cofferdam::secrets::Secrets;
use cofferdam::sessions::Sessions;
use cofferdam::shutdown::Shutdown;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::{Address, Profile};
use cofferdam_sandbox::egress::Watch;
use cofferdam_storage::Opened;
use cofferdam_storage::settings::{EncryptionKeys, StorageConfig};
use zeroize::Zeroizing;

/// How often sessions are looked through for those of removed tenants.
const TENANTS_INTERVAL: Duration = Duration::from_secs(1);

/// Where other hosts reach this one: where the operator says, or where it listens.
pub(super) fn advertised(config: &HttpConfig, listens: SocketAddr) -> Option<Address> {
    let configured = config.advertise.clone();
    configured.or_else(|| Address::parse(&base(config, listens)).ok())
}

/// The address that clients here use.
pub(super) fn base(config: &HttpConfig, listens: SocketAddr) -> String {
    match config.tls_files() {
        Some(_) => format!("https://{listens}"),
        None => format!("http://{listens}"),
    }
}

/// What this host tells of itself.
pub(super) fn profile(config: &Config, address: Option<Address>, started_at: Timestamp) -> Profile {
    let version = env!("CARGO_PKG_VERSION");
    let worker = &config.worker;
    worker.profile(&machine_name(), address, version, started_at)
}

/// The name of this machine; empty if it is unknown.
fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

/// What this host needs of the others, if there can be others.
pub(super) fn peers(
    config: &Config,
    storage: &Opened,
    own: WorkerId,
    random: &mut StdRng,
) -> anyhow::Result<Arc<Peers>> {
    let Some(secret) = storage.secret.clone() else {
        return Ok(Arc::new(Peers::new(own, None)));
    };
    let sharing = Sharing {
        secret,
        reads: Arc::clone(&storage.reads),
        clock: storage.clock.clone(),
        dead_after: config.queue.dead_after,
        forwards_max: config.http.forwards_max,
        trust: Trust::open(&config.http.peers_ca).context("http.peers_ca")?,
        random: StdRng::from_rng(random),
    };
    Ok(Arc::new(Peers::new(own, Some(sharing))))
}

/// The administrator's key that the operator sets, which may be in a file. It is read before the host
/// confines itself.
pub(super) fn admin_key(config: &AccessConfig) -> anyhow::Result<Option<AdminKey>> {
    let file = &config.admin_key_file;
    match (config.admin_key, file.as_os_str().is_empty()) {
        (key, true) => Ok(key),
        (Some(_), false) => {
            anyhow::bail!("access.admin_key and access.admin_key_file are both set")
        }
        (None, false) => {
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("access.admin_key_file {}", file.display()))?;
            let key = AdminKey::parse(text.trim_ascii());
            let key = key.with_context(|| format!("access.admin_key_file {}", file.display()))?;
            Ok(Some(key))
        }
    }
}

/// The keys with which things are sealed, which may be in a file. It is read before the host confines itself.
pub(super) fn encryption_keys(config: &StorageConfig) -> anyhow::Result<EncryptionKeys> {
    let file = &config.encryption_keys_file;
    if file.as_os_str().is_empty() {
        return Ok(config.encryption_keys.clone());
    }
    anyhow::ensure!(
        config.encryption_keys.is_empty(),
        "storage.encryption_keys and storage.encryption_keys_file are both set"
    );
    let named = || format!("storage.encryption_keys_file {}", file.display());
    let text = Zeroizing::new(std::fs::read_to_string(file).with_context(named)?);
    let words = text.split([',', '\n']).map(str::trim);
    let keys = EncryptionKeys::parse(words.filter(|word| !word.is_empty()));
    let keys = keys.context(ENCRYPTION_KEYS_FORM).with_context(named)?;
    anyhow::ensure!(!keys.is_empty(), "{}: there is no key in it", named());
    Ok(keys)
}

/// Who may ask here: the keys that storage keeps, which are followed until `end`, and the one that the operator
/// sets.
pub(super) async fn access(
    config: &Config,
    storage: &Opened,
    random: &mut StdRng,
    end: &Shutdown,
) -> anyhow::Result<Arc<Access>> {
    let kept = Arc::clone(&storage.access);
    let (clock, random) = (storage.clock.clone(), StdRng::from_rng(random));
    let (admin, is_shared) = (config.access.admin_key, !storage.exclusive);
    let access = Access::open(kept, clock, admin, random, is_shared).await?;
    access.follow(end);
    Ok(access)
}

/// What holds for tenants, for those who run their tasks.
pub(super) fn tenants(access: &Arc<Access>) -> Tenants {
    let access = Arc::clone(access);
    Tenants::by(move |tenant| access.rules_of(tenant))
}

/// The storage, with a source of fences of its own.
pub(super) fn storage(
    config: &Config,
    random: &mut StdRng,
    machine: &Clock,
) -> anyhow::Result<Opened> {
    let for_fences = StdRng::from_rng(random);
    Ok(cofferdam_storage::open(
        &config.storage,
        for_fences,
        machine,
    )?)
}

/// Keeps results on this host's disk, if the operator has room for them, as long as anybody is answered.
pub(super) fn keep_results(
    config: &Config,
    storage: &Opened,
    runner: &Arc<Runner>,
    access: &Arc<Access>,
    end: &Shutdown,
) -> anyhow::Result<()> {
    if config.cache.bytes > 0 && config.cache.disk_bytes > 0 {
        let (files, access) = (storage.results(&config.storage)?, Arc::clone(access));
        let keeps = move |tenant: &Tenant, since| access.is_still_of(tenant, since);
        runner.results().keep_on_disk(files, keeps, end);
    }
    Ok(())
}

/// Ends sessions whose tenant was removed, at whichever host, and forgets the results that it had.
pub(super) fn end_with_tenants(
    sessions: &Arc<Sessions>,
    runner: &Arc<Runner>,
    access: &Arc<Access>,
    end: &Shutdown,
) {
    let (sessions, access, until) = (Arc::clone(sessions), Arc::clone(access), end.clone());
    let results = Arc::clone(runner.results());
    end.spawn("what removed tenants had", async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TENANTS_INTERVAL) => {}
                () = until.requested() => return,
            }
            sessions.keep_those(|tenant, since| access.is_still_of(tenant, since));
            results.keep_those(|tenant, since| access.is_still_of(tenant, since));
        }
    });
}

/// The audit trail, which is written until `end`; guests' refused tries are told to it.
pub(super) fn audit(
    config: &Config,
    storage: &Opened,
    works: &Works,
    random: &mut StdRng,
    end: &Shutdown,
) -> Arc<Audit> {
    let audit = Audit::start(
        Arc::clone(&storage.trail),
        storage.clock.clone(),
        StdRng::from_rng(random),
        Arc::clone(&works.metrics),
        config.audit.clone(),
        end,
    );
    if let Some(egress) = works.sandbox.egress() {
        egress.tell(Arc::<Audit>::clone(&audit) as Arc<dyn Watch>);
    }
    audit
}

/// What tenants entrust to this host. Whatever an earlier key sealed, here or elsewhere, and whatever is not sealed
/// yet, is sealed with the first key in the background.
pub(super) fn secrets(storage: &Opened, works: &Works, end: &Shutdown) -> Secrets {
    let secrets = Secrets::new(storage.secrets.clone(), storage.clock.clone());
    secrets.reseal(end);
    let parts = resealing::Parts {
        words: storage.sealed.clone(),
        files: works.files.clone(),
        metrics: Arc::clone(&works.metrics),
    };
    resealing::follow(parts, end);
    secrets
}

/// The address of the first listener.
pub(super) fn first_address(listeners: &[std::net::TcpListener]) -> anyhow::Result<SocketAddr> {
    let first = listeners
        .first()
        .context("there is at least one listener")?;
    Ok(first.local_addr()?)
}
