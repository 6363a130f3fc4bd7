//! Hosts that reach one another over HTTPS.

use cofferdam_test_postgres::Database;
use serde_json::json;

use super::{Authority, Files};
use crate::exec::{copy_compiled, ready, wait_until_ready};
use crate::support::host::Host;
use crate::support::http::Client;

#[test]
fn requests_are_passed_on_to_a_host_whose_authority_is_trusted() {
    let database = Database::fresh();
    let (authority, files) = (Authority::new(), Files::new());
    files.put(&authority.issue());
    let trusted = files.path("root.pem");
    std::fs::write(&trusted, authority.root()).unwrap();
    let strange = files.path("strange.pem");
    std::fs::write(&strange, Authority::new().root()).unwrap();
    let config = |http: &str| format!("[storage]\nurl = {:?}\n[http]\n{http}", database.url());

    let data = tempfile::tempdir().unwrap();
    copy_compiled(&data.path().join("compiled"));
    let mut keeps = Host::over(data, &config(&files.config()));
    keeps.client = Client::trusting(keeps.client.base.clone(), &authority.root());
    wait_until_ready(&keeps);
    let request = json!({"language": "javascript"});
    let made = keeps.client.post("/v1/sessions", &request).expect(201);
    let session = made.header("location").to_owned();

    let believes = ready(&config(&format!("peers_ca = {trusted:?}\n")));
    believes.client.get(&session).expect(200);
    let doubts = ready(&config(&format!("peers_ca = {strange:?}\n")));
    let refused = doubts.client.get(&session);
    let problem = refused.expect_problem(503, "host_unreachable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("certificate"), "{detail}");
    // So do the authorities of the web.
    let usual = ready(&config(""));
    usual
        .client
        .get(&session)
        .expect_problem(503, "host_unreachable");
}
