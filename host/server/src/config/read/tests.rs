//! Valid configurations, and the messages for invalid ones.

use super::*;
use cofferdam_domain::isolation::Isolation;

fn file(text: &str) -> Result<Config, ConfigErrors> {
    read(Some(text), [])
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn the_environment_overrides_the_file() {
    let text = "[queue]\nslots = 7\nstrategy = \"lifo\"\n";
    let config = read(Some(text), [variable("COFFERDAM_QUEUE_SLOTS", "9")]).unwrap();
    assert_eq!(config.queue.slots, 9);
    assert_eq!(
        config.queue.strategy,
        cofferdam_domain::task::ClaimOrder::Lifo
    );
}

#[test]
fn the_isolation_and_its_floor_are_words() {
    let config = file("[sandbox]\nisolation_floor = \"process\"\n").unwrap();
    assert_eq!(config.isolation.default, None);
    assert_eq!(config.isolation.floor, Isolation::Process);
    let config = read(None, [variable("COFFERDAM_SANDBOX_ISOLATION", "process")]).unwrap();
    assert_eq!(config.isolation.default, Some(Isolation::Process));
    let config = file("[sandbox]\nisolation = \"auto\"\ndedicated_above_ms = 7\n").unwrap();
    assert_eq!(
        config.isolation,
        cofferdam_domain::isolation::IsolationPolicy {
            dedicated_above: std::time::Duration::from_millis(7),
            ..Default::default()
        }
    );
    let error = file("[sandbox]\nisolation = \"container\"\n").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("auto, shared, process or dedicated"),
        "{error}"
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let error = file("[limits]\nmemory_byte = 1\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown key limits.memory_byte; the nearest known one is limits.memory_bytes"
    );
    let error = read(None, [variable("COFFERDAM_HTTP_LISTN", "x")]).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the nearest known one is COFFERDAM_HTTP_LISTEN")
    );
    assert!(file("[limit]\ntimeout_ms = 1\n").is_err());
    assert!(file("slots = 1\n").is_err());
}

#[test]
fn every_mistake_is_reported_at_once() {
    let text = "[queue]\nslots = -1\n[limit]\ntimeout_ms = 1\n[dirs.data]\npath = \"srv\"\n";
    let environment = [
        variable("COFFERDAM_LOG_FORMAT", "xml"),
        variable("COFFERDAM_NOTHING", "1"),
    ];
    let told = read(Some(text), environment).unwrap_err().to_string();
    let keys = [
        "dirs.data",
        "limit.timeout_ms",
        "queue.slots",
        "FORMAT",
        "NOTHING",
    ];
    assert_eq!(told.lines().count(), keys.len(), "{told}");
    for key in keys {
        assert!(told.contains(key), "{key}: {told}");
    }
}

#[test]
fn every_number_is_held_to_its_range() {
    for key in keys::all() {
        let Kind::Number { range, .. } = &key.kind else {
            continue;
        };
        // The one is held to the other as well.
        let beside = match key.name {
            "heartbeat_interval_ms" => "dead_after_ms = 3600000\n",
            "dead_after_ms" => "heartbeat_interval_ms = 100\n",
            _ => "",
        };
        let write = |number: i128| format!("[{}]\n{} = {number}\n{beside}", key.section, key.name);
        assert!(
            file(&write(i128::from(*range.start()))).is_ok(),
            "{}",
            key.name
        );
        assert!(
            file(&write(i128::from(*range.end()))).is_ok(),
            "{}",
            key.name
        );
        assert!(
            file(&write(i128::from(*range.start()) - 1)).is_err(),
            "{}",
            key.name
        );
        assert!(
            file(&write(i128::from(*range.end()) + 1)).is_err(),
            "{}",
            key.name
        );
    }
}

#[test]
fn every_default_is_a_value_its_key_takes() {
    let defaults = Config::default();
    for key in keys::all() {
        let text = format!(
            "[{}]\n{} = {}\n",
            key.section,
            key.name,
            key.value(&defaults)
        );
        assert!(file(&text).is_ok(), "{text}");
    }
}

#[test]
fn a_silent_host_lives_for_three_heartbeats_at_least() {
    let text = |dead_after_ms: u32| {
        format!("[queue]\nheartbeat_interval_ms = 3000\ndead_after_ms = {dead_after_ms}\n")
    };
    assert!(file(&text(9000)).is_ok());
    let error = file(&text(8999)).unwrap_err().to_string();
    assert_eq!(
        error,
        "queue.dead_after_ms is 8999; it takes at least 3 times queue.heartbeat_interval_ms"
    );
    assert!(
        read(
            None,
            [variable("COFFERDAM_QUEUE_HEARTBEAT_INTERVAL_MS", "60000")]
        )
        .is_err()
    );
}

#[test]
fn a_directory_is_an_absolute_path_with_an_access() {
    let config = file("[dirs.data]\npath = \"/srv\"\naccess = \"write\"\n").unwrap();
    assert_eq!(
        config.dirs["data"],
        Dir {
            path: "/srv".into(),
            access: Access::Write
        }
    );
    for bad in [
        "path = \"srv\"",
        "path = \"/srv\"\naccess = \"all\"",
        "path = \"/srv\"\nmode = 1",
    ] {
        assert!(file(&format!("[dirs.data]\n{bad}\n")).is_err(), "{bad}");
    }
}

#[test]
fn words_are_an_array_in_the_file_and_parted_by_commas_in_a_variable() {
    let words = |config: Config| {
        let worker = config.worker;
        let names = worker.capabilities.into_iter().chain(worker.groups);
        let names = names.map(|capability| capability.as_str().to_owned());
        names.collect::<Vec<_>>()
    };
    let text = "[worker]\ncapabilities = [\"gpu\", \"big\"]\ngroups = [\"eu\"]\n";
    assert_eq!(words(file(text).unwrap()), ["gpu", "big", "group:eu"]);
    let variables = [
        variable("COFFERDAM_WORKER_CAPABILITIES", " a, b ,"),
        variable("COFFERDAM_WORKER_GROUPS", ""),
    ];
    assert_eq!(words(read(Some(text), variables).unwrap()), ["a", "b"]);
    let many = "\"a\",".repeat(32);
    for bad in [
        "capabilities = \"gpu\"",
        "capabilities = [1]",
        "capabilities = [\"GPU\"]",
        "capabilities = [\"group:eu\"]",
        "groups = [\"group:eu\"]",
        "name = \"a b\"",
        &format!("capabilities = [{many}]"),
        &format!("groups = [{many}]"),
    ] {
        assert!(file(&format!("[worker]\n{bad}\n")).is_err(), "{bad}");
    }
}

#[test]
fn an_advertised_address_is_one_of_http() {
    let advertised = |text: &str| {
        let config = file(&format!("[http]\nadvertise = \"{text}\"\n"));
        config.map(|config| {
            config
                .http
                .advertise
                .map(|address| address.as_str().to_owned())
        })
    };
    assert_eq!(advertised("").unwrap(), None);
    let address = advertised("https://host-1.example:8443/").unwrap();
    assert_eq!(address.as_deref(), Some("https://host-1.example:8443"));
    for bad in [
        "host-1",
        "ftp://host-1",
        "http://host-1/v1",
        "http://user@host-1",
    ] {
        assert!(advertised(bad).is_err(), "{bad}");
    }
}

#[test]
fn numbers_and_texts_are_not_taken_for_one_another() {
    assert!(file("[queue]\nslots = \"7\"\n").is_err());
    assert!(file("[log]\nlevel = 1\n").is_err());
    assert!(file("[queue]\nslots = 1.5\n").is_err());
}
