//! Who may reach the API: which addresses are listened on, and with what protection.

use std::net::SocketAddr;

/// What stands between the API and whoever reaches its address.
#[derive(Clone, Copy, Debug)]
pub struct Protection {
    /// Whether callers have keys.
    pub has_keys: bool,
    /// Whether the listener speaks HTTPS.
    pub has_tls: bool,
    /// Whether the operator has said that it need not, because something before it does.
    pub allow_plaintext: bool,
}

/// An address that would expose the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    /// Anybody could call.
    #[error(
        "{0} can be reached from other machines: without keys only a loopback address (127.0.0.1, [::1]) \
         may be listened on; make one there first (cofferdam key create), or set access.admin_key"
    )]
    WithoutKeys(SocketAddr),
    /// Keys and data could be read on their way.
    #[error(
        "{0} can be reached from other machines, and without HTTPS everybody on the way can read keys and \
         data: set http.tls_certificate and http.tls_key, or http.allow_plaintext = true if something \
         before this host encrypts"
    )]
    Plaintext(SocketAddr),
}

/// Refuses an address that others can reach without the protection that this needs.
pub fn check(address: SocketAddr, protection: Protection) -> Result<(), Exposed> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    if !protection.has_keys {
        return Err(Exposed::WithoutKeys(address));
    }
    match protection.has_tls || protection.allow_plaintext {
        true => Ok(()),
        false => Err(Exposed::Plaintext(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_need_a_key_and_a_way_that_nobody_reads() {
        let addresses: [SocketAddr; 2] =
            ["0.0.0.0:80", "[2001:db8::1]:80"].map(|address| address.parse().unwrap());
        for has_keys in [false, true] {
            for has_tls in [false, true] {
                for allow_plaintext in [false, true] {
                    let protection = Protection {
                        has_keys,
                        has_tls,
                        allow_plaintext,
                    };
                    for local in ["127.0.0.1:80", "[::1]:80"] {
                        assert_eq!(check(local.parse().unwrap(), protection), Ok(()));
                    }
                    for address in addresses {
                        let expected = match (has_keys, has_tls || allow_plaintext) {
                            (false, _) => Err(Exposed::WithoutKeys(address)),
                            (true, false) => Err(Exposed::Plaintext(address)),
                            (true, true) => Ok(()),
                        };
                        assert_eq!(check(address, protection), expected, "{protection:?}");
                    }
                }
            }
        }
    }
}
