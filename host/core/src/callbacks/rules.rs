//! Who may be told: what can be said of a callback before its task is stored.
//!
//! The same rules hold again when it is sent, with the addresses of its host.

use std::fmt;

use cofferdam_domain::callback::CallbackUrl;
use cofferdam_domain::caller::Caller;
use cofferdam_sandbox::egress::{Egress, EgressError};

/// The operator's rules for callbacks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Rules(Option<Egress>);

impl Rules {
    /// The rules of this way out.
    pub fn of(egress: Egress) -> Rules {
        Rules(Some(egress))
    }

    /// Why a caller's tasks may not have a callback there, if they may not.
    pub(crate) fn refusal(&self, caller: &Caller, url: &CallbackUrl) -> Option<String> {
        let (host, port) = (url.host(), url.port());
        let Some(egress) = self.way_out() else {
            return Some(
                "this host tells nobody of ended tasks; its operator would have to list hosts in [callbacks] allow"
                    .to_owned(),
            );
        };
        match egress.refusal(host, port) {
            None => {}
            Some(EgressError::NotAllowed(place)) => {
                return Some(format!(
                    "this host tells {place} nothing; its operator would have to list it in [callbacks] allow"
                ));
            }
            Some(error) => return Some(error.to_string()),
        }
        let own = caller.rules().and_then(|rules| rules.egress.as_ref());
        let is_own = own.is_none_or(|own| own.iter().any(|it| it.matches(host, port)));
        let place = url.place();
        (!is_own).then(|| format!("{place} is not among the hosts of this tenant"))
    }

    fn way_out(&self) -> Option<&Egress> {
        let egress = self.0.as_ref();
        egress.filter(|egress| !egress.config().allow.is_empty())
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allow = self.0.as_ref().map(|egress| &egress.config().allow);
        f.debug_tuple("Rules").field(&allow).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::callbacks::{CallbacksConfig, way_out};
    use cofferdam_domain::caller::tenant::TenantRules;
    use cofferdam_sandbox::egress::EgressConfig;

    fn rules(allow: &[&str]) -> Rules {
        let allow = allow.iter().map(|host| host.parse().unwrap()).collect();
        let config = CallbacksConfig {
            allow,
            ..CallbacksConfig::default()
        };
        let egress = EgressConfig {
            allow_private: vec!["10.0.0.1".parse().unwrap()],
            ..EgressConfig::default()
        };
        Rules::of(way_out(&config, &egress))
    }

    #[test]
    fn what_can_never_be_told_is_refused_at_once() {
        let some = Caller::local();
        let refused = |rules: &Rules, caller: &Caller, url: &str| {
            let url = CallbackUrl::parse(url).unwrap();
            rules.refusal(caller, &url).unwrap_or_default()
        };
        let nobody = [Rules::default(), rules(&[])];
        for rules in &nobody {
            let why = refused(rules, &some, "https://a.example/");
            assert!(why.contains("[callbacks] allow"), "{why}");
        }
        let all = rules(&["*", "*:8443"]);
        for (url, words) in [
            ("https://a.example/", ""),
            ("https://a.example:8443/", ""),
            ("http://10.0.0.1/", ""),
            ("http://10.0.0.2/", "private"),
            ("http://127.0.0.1/", "loopback"),
            ("http://[::1]/", "loopback"),
            ("http://169.254.169.254/", "link-local"),
            ("https://a.example:22/", "a.example:22"),
        ] {
            let why = refused(&all, &some, url);
            assert!(why.contains(words), "{url}: {why}");
            assert_eq!(why.is_empty(), words.is_empty(), "{url}: {why}");
        }
        let bound = TenantRules {
            egress: Some(vec!["*.b.example".parse().unwrap()]),
            ..TenantRules::default()
        };
        let bound = some.under(Arc::new(bound));
        assert_eq!(refused(&all, &bound, "https://x.b.example/"), "");
        let why = refused(&all, &bound, "https://a.example/");
        assert!(why.contains("of this tenant"), "{why}");
    }
}
