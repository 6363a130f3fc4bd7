//! A host with keys, on either database.

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use crate::support::host::Host;
use crate::support::http::Answer;

/// The administrator's key from outside.
pub(crate) const ADMIN: &str = "an-administrator-s-key-from-outside-0123456789";

/// The header with it.
pub(crate) fn admin_key() -> (&'static str, &'static str) {
    ("x-api-key", ADMIN)
}

/// A host, and the tenants `a` and `b` beside the default one.
pub(crate) struct Site {
    pub(crate) host: Host,
    // Dropped after its host.
    pub(crate) database: Option<Database>,
}

impl Site {
    pub(crate) fn start(config: &str) -> Site {
        Site::over(None, config)
    }

    pub(crate) fn on_postgres(config: &str) -> Site {
        Site::over(Some(Database::fresh()), config)
    }

    fn over(database: Option<Database>, config: &str) -> Site {
        let storage = database.as_ref().map(|database| database.url());
        let storage = storage.map(|url| format!("[storage]\nurl = {url:?}\n"));
        let host = host(&format!("{config}\n{}", storage.unwrap_or_default()));
        let site = Site { host, database };
        for name in ["a", "b"] {
            let put = site.send(ADMIN, "PUT", &format!("/v1/tenants/{name}"), &json!({}));
            put.expect(201);
        }
        site
    }

    /// A key of a tenant with these scopes.
    #[track_caller]
    pub(crate) fn key(&self, tenant: &str, scopes: &[&str]) -> String {
        let asked = json!({"tenant": tenant, "name": "test", "scopes": scopes});
        let made = self.send(ADMIN, "POST", "/v1/keys", &asked).expect(201);
        made.json()["key"].as_str().unwrap().to_owned()
    }

    /// Sends JSON, or nothing, with a key.
    #[track_caller]
    pub(crate) fn send(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        let mut headers = vec![("x-api-key", key)];
        let body = if body.is_null() {
            String::new()
        } else {
            headers.push(("content-type", "application/json"));
            body.to_string()
        };
        self.host
            .client
            .send(method, path, &headers, body.as_bytes())
    }

    /// A file that the page for people refers to.
    pub(super) fn file_of_the_page(&self) -> String {
        let page = self.host.client.get("/monitoring").expect(200).text();
        let mut quoted = page.split('"');
        let file = quoted.find(|text| text.ends_with("/app.js")).unwrap();
        file.to_owned()
    }

    #[track_caller]
    pub(crate) fn put_module(&self, key: &str, name: &str, wat: &[u8]) {
        let headers = [("x-api-key", key), ("content-type", "text/wat")];
        let path = format!("/v1/modules/{name}");
        self.host
            .client
            .send("PUT", &path, &headers, wat)
            .expect(201);
    }
}

/// A host that has an administrator's key from outside, and one for what it keeps.
pub(crate) fn host(config: &str) -> Host {
    let environment = vec![
        ("COFFERDAM_ACCESS_ADMIN_KEY", ADMIN.to_owned()),
        ("COFFERDAM_STORAGE_ENCRYPTION_KEYS", "5e".repeat(32)),
    ];
    Host::with_environment(config, environment)
}
