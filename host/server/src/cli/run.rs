//! `cofferdam run`: runs one module in this process, without a server.
//!
//! It uses the same compiler, sandbox and limits as a server, without the queue and the API. A
//! command's standard streams and exit code are the process's own.

mod report;
mod schema;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;

use crate::cli::{Usage, output, outward, stop, units};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::grants::Access;
use cofferdam_domain::grants::http::HttpGrant;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::{LimitPolicy, LimitRequest, Limits};
use cofferdam_domain::memory::{Budget, Share};
use cofferdam_domain::module::{Language, ModuleKind};
use cofferdam_sandbox::cache::CodeCache;
use cofferdam_sandbox::compile::Compiler;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::egress::Outward;
use cofferdam_sandbox::memory;
use cofferdam_sandbox::settings::{GuestProgram, SandboxConfig};
use cofferdam_sandbox::{
    self, Attachments, EngineClass, GuestInput, Identity, LoadedModule, Mount, Report, RunSpec,
    Sandbox, Stdin, processes,
};

/// Flags of `run`.
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam run [OPTIONS] FILE [ARGS]...")]
pub(super) struct Run {
    /// The input: a file, or - for standard input [default: a command reads standard input as it
    /// arrives, a task module's input is empty].
    #[arg(long, value_name = "FILE")]
    input: Option<String>,
    /// The input's media type.
    #[arg(long, default_value = "application/json", value_name = "TYPE")]
    content_type: String,
    /// A directory of this machine and where the guest sees it; read and write unless :ro. May be
    /// repeated.
    #[arg(long, value_name = "HOST::GUEST[:ro]", value_parser = mount)]
    dir: Vec<Mount>,
    /// A host that the guest may send HTTP requests to, such as api.example.com, *.example.org:8443 or
    /// 127.0.0.1:8080. May be repeated.
    #[arg(long, value_parser = outward::http_grant, value_name = "HOST[:PORT]")]
    http: Vec<HttpGrant>,
    /// An environment variable of the guest. May be repeated.
    #[arg(long, value_parser = units::pair, value_name = "K=V")]
    env: Vec<(String, String)>,
    /// Fuel limit, about one unit per instruction; uses the metered, deterministic engine [default:
    /// none].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    fuel: Option<u64>,
    /// Wall-clock limit, as 250ms, 5s, 2m or 1h [default: 30s].
    #[arg(long, value_parser = units::duration_limit, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// CPU-time limit, as 250ms, 5s, 2m or 1h [default: that of --timeout, else 10s].
    #[arg(long, value_parser = units::duration_limit, value_name = "DURATION")]
    cpu: Option<Duration>,
    /// Memory limit, as 64KiB, 128MiB or 1GiB [default: 128MiB].
    #[arg(long, value_parser = units::bytes_limit, value_name = "SIZE")]
    memory: Option<u64>,
    /// Limit of the files it writes to /work and /out, as 64KiB, 64MiB or 1GiB [default: 64MiB].
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    disk: Option<u64>,
    /// Limit of the output, as 64KiB, 4MiB or 1GiB [default: 4MiB].
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    output: Option<u64>,
    /// shared, process or dedicated: whether the guest runs in this process, in a jailed one, or in one where
    /// its code has no checks, so that it computes faster.
    #[arg(long, value_parser = units::isolation, default_value = "shared", value_name = "WORD")]
    isolation: Isolation,
    /// The module, wasm or WAT, and then its arguments: everything after FILE is the guest's.
    // One argument takes the rest, so that clap looks for this program's options only before it.
    #[arg(trailing_var_arg = true, required = true, value_name = "FILE [ARGS]")]
    words: Vec<OsString>,
}

impl Run {
    fn file(&self) -> &Path {
        let first = self.words.first().expect("clap requires one");
        Path::new(first)
    }

    fn args(&self) -> anyhow::Result<Vec<String>> {
        let text = |word: &OsString| match word.to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(Usage(format!(
                "the guest's argument {} is not UTF-8",
                word.display()
            ))
            .into()),
        };
        self.words.iter().skip(1).map(text).collect()
    }
}

/// How long removing the guest's files may take at the end.
const SCRATCH_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn run(command: Run, json: bool) -> anyhow::Result<ExitCode> {
    let limits = limits(&command)?;
    let wasm = Bytes::from(wasm(command.file())?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let cache = output::cache_dir();
        // Nothing is compiled while the guest runs.
        let mut config = SandboxConfig {
            compiles_reserved_bytes: 0,
            ..SandboxConfig::default()
        };
        outward::allow(&mut config.egress, &command.http);
        let memory = memory::budget(&config, Share::NONE);
        let data = tempfile::tempdir().context("a directory for the guest's files")?;
        let incarnation = u64::from(std::process::id());
        let sandbox = Sandbox::new(
            &config,
            memory.clone(),
            data.path(),
            incarnation,
            Clock::system(),
            guest_program(command.isolation)?,
        )?;
        let compiler = compiler(&config, memory, &cache)?;
        let (module, kind) = {
            let class = EngineClass::of_run(&limits, command.isolation);
            load(&sandbox, &compiler, wasm.clone(), class).await?
        };
        // Code without checks is only run.
        let asked = match command.isolation {
            Isolation::Shared | Isolation::Process => Arc::clone(&module),
            Isolation::Dedicated => {
                let class = EngineClass::of_run(&limits, Isolation::Process);
                load(&sandbox, &compiler, wasm, class).await?.0
            }
        };
        let watcher = watch::Watcher::new(kind, json);
        let request = request(&command, kind, limits, Arc::clone(&watcher))?;
        let schemas =
            schema::Held::of(&sandbox, &asked, &config, &limits, command.isolation).await?;
        let ended = match schemas.input(&request.spec.input) {
            Ok(()) => stop::unless_interrupted(sandbox.start(module, request))
                .await
                .and_then(|report| Ok(schemas.output(report?))),
            Err(failure) => Ok(Report::not_begun(failure)),
        };
        watcher.finish();
        let shown = ended.and_then(|ended| report::show(&ended, kind, json));
        sandbox.close(SCRATCH_TIMEOUT);
        shown
    });
    // A pending read of standard input must not keep the process alive.
    runtime.shutdown_background();
    ended
}

/// What a process for the guest is made of, if it is to have one.
fn guest_program(isolation: Isolation) -> anyhow::Result<Option<GuestProgram>> {
    Ok(match isolation {
        Isolation::Shared => None,
        Isolation::Process | Isolation::Dedicated => {
            Some(processes::program(&std::env::current_exe()?))
        }
    })
}

/// The content of the file, unless its name says that it is not a module.
fn wasm(file: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = file.display();
    if Language::of_file(&file.to_string_lossy()).is_some() {
        let way = format!("`cofferdam exec {shown}` runs it");
        return Err(Usage(format!("{shown} is code, not a module: {way}")).into());
    }
    std::fs::read(file).with_context(|| format!("{shown} cannot be read"))
}

fn compiler(config: &SandboxConfig, memory: Budget, cache: &Path) -> anyhow::Result<Compiler> {
    let code_cache = CodeCache::open(&cache.join("compiled"), config)?;
    let program = std::env::current_exe()?;
    Ok(Compiler::new(config, memory, program, code_cache))
}

/// Compiles the module, or finds it compiled, and maps it.
async fn load(
    sandbox: &Sandbox,
    compiler: &Compiler,
    wasm: Bytes,
    class: EngineClass,
) -> anyhow::Result<(Arc<LoadedModule>, ModuleKind)> {
    let spinner = output::spinner("compiling");
    let compiled = compiler.compile(wasm, class, 0).await;
    spinner.finish_and_clear();
    let compiled = compiled?;
    let code = compiler
        .code_cache()
        .verified(&compiled.digest, class)?
        .context("the compiled module vanished from the cache")?;
    Ok((sandbox.load(&code, compiled.kind)?, compiled.kind))
}

fn request(
    command: &Run,
    kind: ModuleKind,
    limits: Limits,
    watcher: Arc<watch::Watcher>,
) -> anyhow::Result<cofferdam_sandbox::Run> {
    let body = match command.input.as_deref() {
        None => Bytes::new(),
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)?;
            bytes.into()
        }
        Some(file) => std::fs::read(file)
            .with_context(|| format!("{file} cannot be read"))?
            .into(),
    };
    let live_stdin = match kind {
        ModuleKind::Command | ModuleKind::CoreCommand => command.input.is_none(),
        ModuleKind::Task | ModuleKind::Interpreter(_) | ModuleKind::Script(_) => false,
    };
    let spec = RunSpec {
        program: command
            .file()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        input: GuestInput::Inline(Payload {
            content_type: command.content_type.as_str().into(),
            body,
        }),
        args: command.args()?,
        env: command.env.clone(),
        limits,
        files: Vec::new(),
        dirs: command.dir.clone(),
        outward: Outward {
            grants: command.http.clone(),
            secrets: Vec::new(),
            within: None,
            tenant: None,
        },
        isolation: command.isolation,
        identity: Identity {
            task_id: String::new(),
            attempt: 1,
        },
    };
    let attachments = Attachments {
        stdin: live_stdin.then(|| Stdin::Stream(Box::new(tokio::io::stdin()))),
        control: Control {
            observer: Some(watcher),
            ..Control::default()
        },
        ..Attachments::default()
    };
    Ok(cofferdam_sandbox::Run { spec, attachments })
}

/// A local run has no operator, so the ceilings are the highest possible.
fn limits(command: &Run) -> anyhow::Result<Limits> {
    let request = LimitRequest {
        timeout: command.timeout,
        cpu: command.cpu.or(command.timeout),
        fuel: command.fuel,
        memory_bytes: command.memory,
        disk_bytes: command.disk,
        output_bytes: command.output,
        ..LimitRequest::default()
    };
    LimitPolicy::default()
        .resolve(&request)
        .map_err(|error| Usage(error.to_string()).into())
}

fn mount(text: &str) -> Result<Mount, String> {
    let (text, access) = match text.strip_suffix(":ro") {
        Some(text) => (text, Access::Read),
        None => (text, Access::Write),
    };
    match text.split_once("::") {
        Some((host, guest)) if guest.starts_with('/') && !host.is_empty() => match is_dir(host) {
            Ok(()) => Ok(Mount {
                path: host.into(),
                at: guest.to_owned(),
                access,
            }),
            Err(why) => Err(why),
        },
        _ => Err("write HOST::/GUEST or HOST::/GUEST:ro".to_owned()),
    }
}

fn is_dir(path: &str) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(about) if about.is_dir() => Ok(()),
        Ok(_) => Err(format!("{path} is not a directory")),
        Err(error) => Err(format!("{path} cannot be granted: {error}")),
    }
}
