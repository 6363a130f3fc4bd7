//! The keys of `[access]`.

use std::path::PathBuf;

use super::{Key, Kind};
use cofferdam::access::settings::AdminKey;

pub(super) fn keys() -> Vec<Key> {
    vec![
        Key {
            section: "access",
            name: "admin_key",
            doc: "An administrator's key that is set from outside, for containers: it opens everything, also where no other key is kept. Only its hash is kept in memory, and it is never shown.",
            kind: Kind::Secret {
                form: "32 to 256 visible ASCII characters",
                is_set: |config| config.access.admin_key.is_some(),
                set: |config, text| {
                    config.access.admin_key = AdminKey::parse(text).ok();
                    text.is_empty() || config.access.admin_key.is_some()
                },
            },
        },
        path!(
            "access",
            "admin_key_file",
            "A file that has that key in place of admin_key; none if empty.",
            access.admin_key_file
        ),
    ]
}
