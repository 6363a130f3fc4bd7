//! Which addresses may be reached: public ones, and those that the operator lists.
//!
//! An address that is not plainly public is refused, so whatever the tables below forget of IPv6 is refused
//! as well. Forms that carry an IPv4 address in an IPv6 one are refused whatever that address is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses with the same beginning: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network such as 10.0.0.0/8, with zeros after its prefix")]
pub struct BadNetwork(String);

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Network {
        Network {
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix,
        }
    }

    const fn v6(segments: [u16; 3], prefix: u8) -> Network {
        let [a, b, c] = segments;
        Network {
            address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)),
            prefix,
        }
    }

    /// Whether it has this address. An IPv4 address inside an IPv6 one is not looked for.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = mask(self.prefix, 32);
                (u128::from(own.to_bits()) ^ u128::from(other.to_bits())) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()) & mask(self.prefix, 128) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The bits of a prefix of an address of `width` bits.
fn mask(prefix: u8, width: u32) -> u128 {
    let rest = width - u32::from(prefix).min(width);
    let all = u128::MAX >> (128 - width);
    all.checked_shl(rest).unwrap_or(0) & all
}

/// The network of one address.
impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        let prefix = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Network { address, prefix }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Network, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let (bits, width) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let prefix = match prefix {
            None => width,
            Some(prefix) => prefix.parse().map_err(|_| bad())?,
        };
        let has_rest = prefix <= width && bits & !mask(prefix, u32::from(width)) != 0;
        if prefix > width || has_rest {
            return Err(bad());
        }
        Ok(Network { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

/// IPv4 addresses that are not public, and what they are.
const NOT_PUBLIC_V4: [(Network, &str); 16] = [
    (Network::v4(0, 0, 0, 0, 8), "unspecified"),
    (Network::v4(10, 0, 0, 0, 8), "private"),
    (
        Network::v4(100, 64, 0, 0, 10),
        "shared by a carrier's customers",
    ),
    (Network::v4(127, 0, 0, 0, 8), "loopback"),
    (
        Network::v4(169, 254, 0, 0, 16),
        "link-local, as metadata services are",
    ),
    (Network::v4(172, 16, 0, 0, 12), "private"),
    (Network::v4(192, 0, 0, 0, 24), "reserved for protocols"),
    (Network::v4(192, 0, 2, 0, 24), "for documentation"),
    (Network::v4(192, 88, 99, 0, 24), "a relay to IPv6"),
    (Network::v4(192, 168, 0, 0, 16), "private"),
    (Network::v4(198, 18, 0, 0, 15), "for benchmarks"),
    (Network::v4(198, 51, 100, 0, 24), "for documentation"),
    (Network::v4(203, 0, 113, 0, 24), "for documentation"),
    (Network::v4(224, 0, 0, 0, 4), "multicast"),
    (Network::v4(240, 0, 0, 0, 4), "reserved"),
    // It serves virtual machines in Azure their configuration.
    (Network::v4(168, 63, 129, 16, 32), "a metadata service"),
];

/// IPv6 addresses that have a name, whether or not they are in [`PUBLIC_V6`].
const NOT_PUBLIC_V6: [(Network, &str); 14] = [
    (Network::v6([0, 0, 0], 128), "unspecified"),
    // Also the loopback address, and the deprecated compatible addresses.
    (Network::v6([0, 0, 0], 80), "loopback, or IPv4 inside IPv6"),
    (
        Network::v6([0x64, 0xff9b, 0], 96),
        "IPv4 translated to IPv6",
    ),
    (
        Network::v6([0x64, 0xff9b, 1], 48),
        "IPv4 translated to IPv6",
    ),
    (Network::v6([0x100, 0, 0], 64), "discarded"),
    (Network::v6([0x2001, 0, 0], 23), "reserved for protocols"),
    (Network::v6([0x2001, 0xdb8, 0], 32), "for documentation"),
    (Network::v6([0x2002, 0, 0], 16), "IPv4 inside IPv6"),
    (Network::v6([0x3fff, 0, 0], 20), "for documentation"),
    (Network::v6([0x5f00, 0, 0], 16), "reserved for routing"),
    (Network::v6([0xfc00, 0, 0], 7), "private"),
    (Network::v6([0xfe80, 0, 0], 10), "link-local"),
    (Network::v6([0xfec0, 0, 0], 10), "site-local"),
    (Network::v6([0xff00, 0, 0], 8), "multicast"),
];

/// All that is given out of IPv6.
const PUBLIC_V6: Network = Network::v6([0x2000, 0, 0], 3);

/// What stands against an address, unless it is public.
pub(super) fn not_public(address: IpAddr) -> Option<&'static str> {
    let table: &[(Network, &str)] = match address {
        IpAddr::V4(_) => &NOT_PUBLIC_V4,
        IpAddr::V6(_) => &NOT_PUBLIC_V6,
    };
    let named = table.iter().find(|(network, _)| network.contains(address));
    match (named, address) {
        (Some((_, what)), _) => Some(what),
        (None, IpAddr::V6(address)) if is_tunnelled(address) => Some("IPv4 inside IPv6"),
        (None, IpAddr::V6(_)) if !PUBLIC_V6.contains(address) => Some("not in use"),
        (None, IpAddr::V4(_) | IpAddr::V6(_)) => None,
    }
}

/// Whether its last half is that of ISATAP, which ends in an IPv4 address.
fn is_tunnelled(address: Ipv6Addr) -> bool {
    let [_, _, _, _, flags, id, _, _] = address.segments();
    id == 0x5efe && flags & !0x0300 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_refused() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::2",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::1",
            "64:ff9b::7f00:1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002::1",
            "2002:7f00:1::",
            "2002:0808:0808::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "feff::1",
            "ff02::1",
            "4000::1",
            "8000::1",
            "1::1",
            "2607:f8b0::5efe:127.0.0.1",
            "2607:f8b0::200:5efe:8.8.8.8",
        ] {
            assert!(not_public(text.parse().unwrap()).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_public_is_not() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "191.255.255.255",
            "192.0.1.1",
            "192.0.3.1",
            "192.167.255.255",
            "192.169.0.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "168.63.129.15",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
            "2607:f8b0::1:5eff:0:1",
        ] {
            assert_eq!(not_public(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        let cases = [
            ("127.0.0.0/8", "127.1.2.3", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("127.0.0.0/8", "::ffff:127.0.0.1", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "ffff::", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fc00::1", false),
        ];
        for (network, address, expected) in cases {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::/129",
            "10/8",
            "a/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
        assert_eq!(
            "10.0.0.0/8".parse::<Network>().unwrap().to_string(),
            "10.0.0.0/8"
        );
    }
}
