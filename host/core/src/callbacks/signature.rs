//! How a receiver knows who sent a message: the headers of Standard Webhooks.
//!
//! What is signed is the name of the message, the moment at which it is sent and its body, so that neither
//! can be changed, and an old message is not taken for a new one. A secret of two lines is two keys, with both
//! of which is signed: so receivers change from one to the other when they like.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use cofferdam_domain::secret::SecretValue;
use cofferdam_domain::time::Timestamp;

/// The beginning of a key that is written in base64.
const ENCODED: &[u8] = b"whsec_";
/// Keys with which is signed at once: one, and the one that takes its place.
const KEYS_MAX: usize = 2;

/// Whether there are keys in a secret, or why not.
pub fn check(secret: &SecretValue) -> Result<(), &'static str> {
    keys(secret).map(|_keys| ())
}

/// The keys of a secret: its lines, each as it is or in the form that begins with `whsec_`.
pub(crate) fn keys(secret: &SecretValue) -> Result<Vec<SecretValue>, &'static str> {
    let lines = secret.reveal().split(|byte| *byte == b'\n');
    let lines: Vec<&[u8]> = lines
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        return Err("is empty");
    }
    if lines.len() > KEYS_MAX {
        return Err("has more than two lines");
    }
    lines.into_iter().map(key).collect()
}

fn key(line: &[u8]) -> Result<SecretValue, &'static str> {
    let bad = "has a line of whsec_ and something that is not base64";
    let bytes = match line.strip_prefix(ENCODED) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| bad)?,
        None => line.to_vec(),
    };
    SecretValue::new(bytes).map_err(|_| bad)
}

/// The headers of a message with this name, sent at `at`, with a signature for each key.
pub(super) fn headers(
    name: &str,
    at: Timestamp,
    keys: &[SecretValue],
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let seconds = at.as_millis().div_euclid(1000).to_string();
    let signatures: Vec<String> = keys
        .iter()
        .map(|key| signature(key.reveal(), name, &seconds, body))
        .collect();
    let mut headers = vec![
        ("webhook-id", name.to_owned()),
        ("webhook-timestamp", seconds),
    ];
    if !signatures.is_empty() {
        headers.push(("webhook-signature", signatures.join(" ")));
    }
    headers
}

fn signature(key: &[u8], name: &str, seconds: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    for part in [name.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(secret: &[u8]) -> Result<Vec<SecretValue>, &'static str> {
        keys(&SecretValue::new(secret.to_vec()).unwrap())
    }

    #[test]
    fn a_secret_is_one_key_or_two() {
        let keys = |secret| {
            let keys = read(secret)?;
            Ok(keys.iter().map(|key| key.reveal().to_vec()).collect())
        };
        let all: Result<Vec<Vec<u8>>, &str> =
            Ok(vec![b"\xff with blanks".to_vec(), b"second".to_vec()]);
        assert_eq!(keys(b"\xff with blanks\n\nsecond\r\n"), all);
        assert_eq!(keys(b"whsec_AQID"), Ok(vec![vec![1, 2, 3]]));
        for bad in [
            &b"\n \n"[..],
            b"a\nb\nc",
            b"whsec_",
            b"whsec_*",
            b"a\nwhsec_A",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let key = read(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let at = Timestamp::from_millis(1_614_265_330_999);
        let name = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let signed = headers(name, at, &key, body);
        assert_eq!(
            signed,
            [
                ("webhook-id", name.to_owned()),
                ("webhook-timestamp", "1614265330".to_owned()),
                (
                    "webhook-signature",
                    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()
                ),
            ]
        );
        let both = read(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\r\nan other\n").unwrap();
        let both = headers(name, at, &both, body);
        assert_eq!(both[2].1.split(' ').count(), 2);
        assert!(both[2].1.starts_with(&signed[2].1));
        assert_eq!(headers(name, at, &[], body).len(), 2);
    }
}
