//! What a module may import and what it must export, as tables.
//!
//! The tables refuse a module before Cranelift has spent a second, in words that its author
//! understands. The linker still decides when the module is loaded; a test below compares the
//! tables with the linkers of `wasmtime_wasi`.

use cofferdam_domain::module::ModuleKind;

/// The grant that `wasi:sockets` needs; without it every call answers "access denied".
pub(super) const NETWORK: &str = "network";

/// The grant that `wasi:http` needs; without it every request is denied.
pub(super) const HTTP: &str = "http";

/// Interfaces of WASI 0.2 that the host links, by package.
const WASI_02: [(&str, &[&str]); 7] = [
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:filesystem", &["types", "preopens"]),
    ("wasi:http", &["types", "outgoing-handler"]),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    (
        "wasi:sockets",
        &[
            "network",
            "instance-network",
            "ip-name-lookup",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
];

/// The interfaces of a task module's world.
const TASK_IMPORTS: [&str; 2] = ["context", "log"];

/// The functions of WASI 0.1 with their core signatures: `i` is i32, `I` is i64, the result
/// follows `>`.
pub(super) const PREVIEW1: [(&str, &str); 46] = [
    ("args_get", "ii>i"),
    ("args_sizes_get", "ii>i"),
    ("clock_res_get", "ii>i"),
    ("clock_time_get", "iIi>i"),
    ("environ_get", "ii>i"),
    ("environ_sizes_get", "ii>i"),
    ("fd_advise", "iIIi>i"),
    ("fd_allocate", "iII>i"),
    ("fd_close", "i>i"),
    ("fd_datasync", "i>i"),
    ("fd_fdstat_get", "ii>i"),
    ("fd_fdstat_set_flags", "ii>i"),
    ("fd_fdstat_set_rights", "iII>i"),
    ("fd_filestat_get", "ii>i"),
    ("fd_filestat_set_size", "iI>i"),
    ("fd_filestat_set_times", "iIIi>i"),
    ("fd_pread", "iiiIi>i"),
    ("fd_prestat_dir_name", "iii>i"),
    ("fd_prestat_get", "ii>i"),
    ("fd_pwrite", "iiiIi>i"),
    ("fd_read", "iiii>i"),
    ("fd_readdir", "iiiIi>i"),
    ("fd_renumber", "ii>i"),
    ("fd_seek", "iIii>i"),
    ("fd_sync", "i>i"),
    ("fd_tell", "ii>i"),
    ("fd_write", "iiii>i"),
    ("path_create_directory", "iii>i"),
    ("path_filestat_get", "iiiii>i"),
    ("path_filestat_set_times", "iiiiIIi>i"),
    ("path_link", "iiiiiii>i"),
    ("path_open", "iiiiiIIii>i"),
    ("path_readlink", "iiiiii>i"),
    ("path_remove_directory", "iii>i"),
    ("path_rename", "iiiiii>i"),
    ("path_symlink", "iiiii>i"),
    ("path_unlink_file", "iii>i"),
    ("poll_oneoff", "iiii>i"),
    ("proc_exit", "i>"),
    ("proc_raise", "i>i"),
    ("random_get", "ii>i"),
    ("sched_yield", ">i"),
    ("sock_accept", "iii>i"),
    ("sock_recv", "iiiiii>i"),
    ("sock_send", "iiiii>i"),
    ("sock_shutdown", "ii>i"),
];

/// The parts of an interface's name: `wasi:io/poll@0.2.6`.
struct Interface<'a> {
    package: &'a str,
    name: &'a str,
    version: &'a str,
}

impl<'a> Interface<'a> {
    fn parse(text: &'a str) -> Option<Interface<'a>> {
        let (path, version) = text.split_once('@').unwrap_or((text, ""));
        let (package, name) = path.split_once('/')?;
        Some(Interface {
            package,
            name,
            version,
        })
    }

    /// Whether the version is `series` and a patch number. The linker accepts any patch version of
    /// a series for any other, in both directions, as long as every imported function exists.
    fn is_of(&self, series: &str) -> bool {
        self.version
            .strip_prefix(series)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// What kind of module exports an interface of this name, if any kind does.
pub(super) fn kind_of_export(name: &str) -> Option<ModuleKind> {
    let interface = Interface::parse(name)?;
    match (interface.package, interface.name) {
        ("cofferdam:task", "handler") if interface.is_of("0.1") => Some(ModuleKind::Task),
        ("wasi:cli", "run") if interface.is_of("0.2") => Some(ModuleKind::Command),
        (_, _) => None,
    }
}

/// Whether the host links the interface: the grant it needs, if it needs one, or why not.
pub(super) fn component_import(name: &str) -> Result<Option<&'static str>, String> {
    let Some(interface) = Interface::parse(name) else {
        return Err(format!(
            "{name} (a plain name; only interfaces of packages are provided)"
        ));
    };
    let package = interface.package;
    if package == "cofferdam:task" && TASK_IMPORTS.contains(&interface.name) {
        return match interface.is_of("0.1") {
            true => Ok(None),
            false => Err(format!("{name} (this host speaks cofferdam:task 0.1)")),
        };
    }
    if package == "wasi:http" && interface.name == "incoming-handler" {
        return Err(format!("{name} (no requests come in to a module)"));
    }
    let linked = WASI_02
        .iter()
        .any(|(linked, names)| *linked == package && names.contains(&interface.name));
    match (linked, interface.is_of("0.2")) {
        (true, true) => Ok(match package {
            "wasi:sockets" => Some(NETWORK),
            "wasi:http" => Some(HTTP),
            _ => None,
        }),
        (true, false) => Err(format!("{name} (this host speaks WASI 0.2)")),
        (false, _) => Err(name.to_owned()),
    }
}

/// Whether the host links a core import of kind function, and if not, why.
pub(super) fn core_import(module: &str, name: &str, signature: &str) -> Result<(), String> {
    match module {
        "wasi_snapshot_preview1" => {}
        #[cfg(feature = "fault-injection")]
        crate::faults::MODULE => return Ok(()),
        "wasi_unstable" => {
            return Err(format!(
                "{module}.{name} (an older WASI than 0.1; rebuild the module)"
            ));
        }
        "wasi" if name == "thread-spawn" => {
            return Err(format!("{module}.{name} (threads are not offered)"));
        }
        _ => return Err(format!("{module}.{name}")),
    }
    match PREVIEW1.iter().find(|(known, _)| *known == name) {
        Some((_, expected)) if *expected == signature => Ok(()),
        Some(_) => Err(format!("{module}.{name} (its type is not the one in WASI)")),
        None => Err(format!("{module}.{name} (not a function of WASI 0.1)")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wasmtime::component::ResourceTable;
    use wasmtime::{Engine, ExternType, Linker, Store, ValType};
    use wasmtime_wasi::p1::WasiP1Ctx;
    use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

    use super::*;

    #[test]
    fn the_table_of_wasi_01_is_the_linkers() {
        let engine = Engine::default();
        let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut linker, |ctx| ctx).unwrap();
        let mut store = Store::new(&engine, WasiCtxBuilder::new().build_p1());
        let linked: BTreeMap<String, String> = linker
            .iter(&mut store)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(module, name, item)| {
                assert_eq!(module, "wasi_snapshot_preview1");
                (name.to_owned(), item)
            })
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(name, item)| {
                let ExternType::Func(ty) = item.ty(&store) else {
                    panic!("{name}")
                };
                let word = |ty: ValType| if matches!(ty, ValType::I64) { 'I' } else { 'i' };
                let params: String = ty.params().map(word).collect();
                let results: String = ty.results().map(word).collect();
                (name, format!("{params}>{results}"))
            })
            .collect();
        let table: BTreeMap<String, String> = PREVIEW1
            .iter()
            .map(|(n, s)| ((*n).to_owned(), (*s).to_owned()))
            .collect();
        assert_eq!(table, linked);
    }

    struct Host(WasiCtx, ResourceTable);

    impl wasmtime_wasi_http::WasiHttpView for Host {
        fn http(&mut self) -> wasmtime_wasi_http::WasiHttpCtxView<'_> {
            unreachable!("nothing runs here")
        }
    }

    impl WasiView for Host {
        fn ctx(&mut self) -> WasiCtxView<'_> {
            WasiCtxView {
                ctx: &mut self.0,
                table: &mut self.1,
            }
        }
    }

    #[test]
    fn every_interface_of_the_table_is_linked() {
        let engine = Engine::default();
        let mut linker: wasmtime::component::Linker<Host> =
            wasmtime::component::Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        for (package, names) in WASI_02 {
            for name in names {
                for version in ["0.2.0", "0.2.12", "0.2.40"] {
                    let full = format!("{package}/{name}@{version}");
                    assert!(component_import(&full).is_ok(), "{full}");
                    let text = format!("(component (import \"{full}\" (instance)))");
                    let binary = wat::parse_str(&text).unwrap();
                    let component =
                        wasmtime::component::Component::from_binary(&engine, &binary).unwrap();
                    assert!(linker.instantiate_pre(&component).is_ok(), "{full}");
                }
            }
        }
    }

    #[test]
    fn versions_of_another_series_are_refused() {
        for name in [
            "wasi:io/poll",
            "wasi:io/poll@0.2",
            "wasi:io/poll@0.2.",
            "wasi:io/poll@0.20.0",
            "wasi:io/poll@0.2.0-rc-2023-12-05",
            "wasi:io/poll@0.3.0",
            "wasi:clocks/timezone@0.2.0",
            "wasi:http/incoming-handler@0.2.0",
            "wasi:http/outgoing-handler@0.3.0",
            "cofferdam:task/context@0.2.0",
            "cofferdam:task/handler@0.1.0",
            "poll",
        ] {
            assert!(component_import(name).is_err(), "{name}");
        }
        assert_eq!(
            component_import("wasi:sockets/tcp@0.2.3"),
            Ok(Some(NETWORK))
        );
        assert_eq!(
            component_import("wasi:http/outgoing-handler@0.2.3"),
            Ok(Some(HTTP))
        );
        assert_eq!(component_import("cofferdam:task/log@0.1.7"), Ok(None));
    }
}
