//! One message of the host to somebody outside: signed, and posted through the way out.
//!
//! What it says, when it is sent again, and what its answer means is the sender's business.

use std::time::Duration;

use bytes::Bytes;

use super::signature;
use cofferdam_domain::callback::CallbackUrl;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::grants::http::{HostPattern, HttpGrant};
use cofferdam_domain::secret::SecretValue;
use cofferdam_domain::time::Timestamp;
use cofferdam_sandbox::egress::{Answer, Egress, EgressError, Message, Outward};

pub(crate) use super::signature::keys as signing_keys;

/// A message.
pub(crate) struct Letter<'l> {
    /// Where it goes.
    pub(crate) url: &'l CallbackUrl,
    /// Its name: the same whenever it is sent again.
    pub(crate) name: &'l str,
    /// What it is about, as the audit trail names it.
    pub(crate) about: &'l str,
    /// What kind of message it is, for the log.
    pub(crate) kind: &'l str,
    /// When it is sent.
    pub(crate) at: Timestamp,
    /// What it is signed with.
    pub(crate) keys: &'l [SecretValue],
    /// What it says, in JSON.
    pub(crate) body: Bytes,
    /// The hosts of its tenant, if the operator bounds them.
    pub(crate) within: Option<Vec<HostPattern>>,
    /// Whose it is, if it is a tenant's.
    pub(crate) tenant: Option<Tenant>,
}

impl Letter<'_> {
    /// Posts it; none if its host cannot be read.
    pub(crate) async fn post(
        self,
        egress: &Egress,
        answer_bytes: usize,
        timeout: Duration,
    ) -> Option<Result<Answer, EgressError>> {
        let post = ["POST".to_owned()];
        let grant = HttpGrant::new(&self.url.place(), &post).ok()?;
        let headers = signature::headers(self.name, self.at, self.keys, &self.body);
        let outward = Outward {
            grants: vec![grant],
            within: self.within,
            tenant: self.tenant,
            ..Outward::default()
        };
        let pass = egress.pass(outward, self.about, self.kind);
        let message = Message {
            url: self.url.as_str(),
            headers: &headers,
            body: self.body,
        };
        Some(egress.post(&pass, message, answer_bytes, timeout).await)
    }
}
