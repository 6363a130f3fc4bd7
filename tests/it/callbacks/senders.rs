//! Who sends: hosts that die, signatures, and tenants.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cofferdam_test_postgres::Database;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::receiver::{Message, Receiver};
use super::{config, is, put_modules, told};
use crate::access::site::Site;
use crate::support::guests;
use crate::support::host::Host;

/// The message is under way when its host dies. The next one, or another, sends it again once the time of
/// the dead one for it is over.
fn dies_under_way(database: Option<&Database>) {
    let receiver = Receiver::start();
    let storage = database.map(|database| format!("[storage]\nurl = {:?}\n", database.url()));
    let config = config(&receiver, &storage.unwrap_or_default());
    // It is under way until its host dies.
    let config = config.replace("timeout_ms = 2000", "timeout_ms = 5000");
    let mut host = Host::with_config(&config);
    put_modules(&host.client);
    let id = host.client.submit(&told(&receiver, "/hang"));
    receiver.await_messages("/hang", 1);
    let again = host
        .client
        .post(&format!("/v1/tasks/{id}/callback/redeliver"), &Value::Null);
    assert_eq!(again.expect(202).json()["attempts"], 0);
    host.kill();
    receiver.answer("/hang", 200);
    host.restart();
    let messages = receiver.await_messages("/hang", 2);
    assert_eq!(
        messages[0].header("webhook-id"),
        messages[1].header("webhook-id")
    );
    let task = host.client.task_when(&id, is("delivered"));
    // Nobody knows what became of the first try.
    assert_eq!(task["callback"]["attempts"], 1, "{task}");
}

#[test]
fn a_host_that_dies_between_the_end_and_the_message_loses_neither() {
    let database = Database::fresh();
    std::thread::scope(|threads| {
        threads.spawn(|| dies_under_way(None));
        threads.spawn(|| dies_under_way(Some(&database)));
    });
}

/// The signature of a message as receivers make it, from the text of a key.
fn signed(message: &Message, key: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    let (id, at) = (
        message.header("webhook-id"),
        message.header("webhook-timestamp"),
    );
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(&message.body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[test]
fn a_receiver_knows_who_sent_it_while_secrets_change() {
    let receiver = Receiver::start();
    let keys = vec![("COFFERDAM_STORAGE_ENCRYPTION_KEYS", "5e".repeat(32))];
    let config = format!(
        "{}\n[interpreters]\ndir = \"/nowhere\"\n",
        config(&receiver, "")
    );
    let host = Host::with_environment(&config, keys);
    put_modules(&host.client);
    let client = &host.client;
    let put = |secret: &str| {
        let json = json!({"value": secret}).to_string();
        let headers = [("content-type", "application/json")];
        let answer = client.send("PUT", "/v1/secrets/hook", &headers, json.as_bytes());
        assert!([201, 204].contains(&answer.status), "{}", answer.text());
    };
    let submit = |path: &str| {
        let mut task = told(&receiver, path);
        task["callback"]["secret_name"] = json!("hook");
        client.submit(&task)
    };
    // Without its secret it does not go out, and follows once that is there.
    let id = submit("/early");
    let task = client.task_when(&id, |task| !task["callback"]["last_error"].is_null());
    assert_eq!(
        task["callback"]["last_error"], "there is no secret hook",
        "{task}"
    );
    assert_eq!(task["callback"]["secret_name"], "hook");
    assert_eq!(receiver.messages("/early").len(), 0);
    put("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let old = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let message = &receiver.await_messages("/early", 1)[0];
    assert_eq!(message.header("webhook-signature"), signed(message, &old));
    // While both hold, each of them verifies.
    put("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nanother one\n");
    submit("/both");
    let message = &receiver.await_messages("/both", 1)[0];
    let both: Vec<&str> = message.header("webhook-signature").split(' ').collect();
    assert_eq!(
        both,
        [signed(message, &old), signed(message, b"another one")]
    );
    put("another one");
    submit("/new");
    let message = &receiver.await_messages("/new", 1)[0];
    assert_eq!(
        message.header("webhook-signature"),
        signed(message, b"another one")
    );
    assert!(!host.log().contains("another one") && !host.log().contains("MfKQ9"));
}

/// What another tenant is told is unknown, and its broken hosts hold nobody else back.
#[test]
fn tenants_know_nothing_of_each_others_callbacks() {
    let receiver = Receiver::start();
    let site = Site::start(&config(
        &receiver,
        "breaker_threshold = 2\nbreaker_recovery_ms = 60000",
    ));
    let [a, b] = ["a", "b"].map(|tenant| site.key(tenant, &["run", "read", "modules"]));
    for key in [&a, &b] {
        site.put_module(key, "echo", &guests::wat("echo.wat"));
    }
    receiver.answer("/down", 500);
    let submit = |key: &str, path: &str| {
        let answer = site
            .send(key, "POST", "/v1/tasks", &told(&receiver, path))
            .expect(202);
        answer.json()["task_id"].as_str().unwrap().to_owned()
    };
    let of_a = submit(&a, "/down");
    receiver.await_messages("/down", 2);
    let stats = |key: &str| {
        site.send(key, "GET", "/v1/stats", &Value::Null)
            .expect(200)
            .json()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while stats(&a)["callbacks"]["held"] == json!([]) {
        assert!(std::time::Instant::now() < deadline, "{}", stats(&a));
        std::thread::sleep(Duration::from_millis(5));
    }
    // The same host is told what is of another tenant.
    let of_b = submit(&b, "/up");
    receiver.await_messages("/up", 1);
    let told_b = stats(&b);
    assert_eq!(told_b["callbacks"]["held"], json!([]), "{told_b}");
    assert_eq!(told_b["tenant"], "b");
    assert_eq!(stats(&a)["callbacks"]["pending"], 1);
    let redeliver = |key: &str, id: &str| {
        let path = format!("/v1/tasks/{id}/callback/redeliver");
        site.send(key, "POST", &path, &Value::Null)
    };
    redeliver(&b, &of_a).expect_problem(404, "task_not_found");
    redeliver(&a, &of_b).expect_problem(404, "task_not_found");
    redeliver(&b, &of_b).expect(202);
    redeliver(&site.key("b", &["read"]), &of_b).expect_problem(403, "forbidden");
}
