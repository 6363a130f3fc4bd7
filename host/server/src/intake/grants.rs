//! The grants in a caller's request.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::intake::refused::Refused;
use cofferdam_domain::grants::http::{BadHttpGrant, HttpGrant, SecretHeader};
use cofferdam_domain::grants::{Access, DirGrant, Grants};
use cofferdam_domain::secret::SecretName;

/// The task's grants.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantsJson {
    /// Directories that the operator named.
    #[serde(default)]
    dirs: Vec<DirJson>,
    /// The hosts to which it may send requests, within those that the operator allows: `api.example.com`,
    /// `*.example.org:8443`, or an object that also names the methods, and headers into which the host puts a
    /// secret: `{"host": "api.example.com", "headers": {"Authorization": {"secret": "token", "prefix": "Bearer "}}}`.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    http: Option<Vec<HttpJson>>,
}

/// Requests to hosts.
#[derive(Debug)]
pub(crate) struct HttpJson {
    host: String,
    methods: Vec<String>,
    headers: BTreeMap<String, HeaderJson>,
}

/// A header with a secret of the tenant, which the host puts into requests and the guest never has.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderJson {
    secret: String,
    #[serde(default)]
    prefix: String,
}

/// One directory.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DirJson {
    /// The operator's name for it.
    name: String,
    /// Where the guest sees it: an absolute path.
    at: String,
    /// `read` or `write`; the operator's own access if absent.
    access: Option<String>,
}

impl GrantsJson {
    /// The grants, not yet checked against the configuration.
    pub(crate) fn into_grants(self) -> Result<Grants, Refused> {
        if self.dirs.len() > Grants::DIRS_MAX {
            let detail = format!("at most {} directories", Grants::DIRS_MAX);
            return Err(Refused::field("grants.dirs", detail));
        }
        let grant = |dir: DirJson| {
            let access = match dir.access.as_deref() {
                None => None,
                Some("read") => Some(Access::Read),
                Some("write") => Some(Access::Write),
                Some(other) => {
                    let detail = format!("{other:?} is not read or write");
                    return Err(Refused::field("grants.dirs.access", detail));
                }
            };
            Ok(DirGrant {
                name: dir.name,
                at: dir.at,
                access,
            })
        };
        Ok(Grants {
            dirs: self.dirs.into_iter().map(grant).collect::<Result<_, _>>()?,
            http: http(&self.http.unwrap_or_default())?,
        })
    }
}

fn http(grants: &[HttpJson]) -> Result<Vec<HttpGrant>, Refused> {
    if grants.len() > Grants::HTTP_MAX {
        let detail = format!("at most {} grants", Grants::HTTP_MAX);
        return Err(Refused::field("grants.http", detail));
    }
    grants.iter().map(HttpJson::read).collect()
}

impl HttpJson {
    fn read(&self) -> Result<HttpGrant, Refused> {
        let refused = |error: BadHttpGrant| Refused::field("grants.http", error);
        let header = |(name, header): (&String, &HeaderJson)| {
            let secret = SecretName::parse(&header.secret);
            let secret =
                secret.map_err(|error| Refused::field("grants.http.headers.secret", error))?;
            SecretHeader::new(name, secret, &header.prefix).map_err(refused)
        };
        let headers: Result<_, Refused> = self.headers.iter().map(header).collect();
        let grant = HttpGrant::new(&self.host, &self.methods).map_err(refused)?;
        grant.with_headers(headers?).map_err(refused)
    }
}

/// An object, which may say more than a host.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpObject {
    host: String,
    #[serde(default)]
    methods: Vec<String>,
    /// Secrets that the host adds, by the names of their headers.
    #[serde(default)]
    headers: BTreeMap<String, HeaderJson>,
}

impl<'de> Deserialize<'de> for HttpJson {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<HttpJson, D::Error> {
        struct HostOrObject;
        impl<'de> Visitor<'de> for HostOrObject {
            type Value = HttpJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a host or an object with one")
            }

            fn visit_str<E: de::Error>(self, host: &str) -> Result<HttpJson, E> {
                Ok(HttpJson {
                    host: host.to_owned(),
                    methods: Vec::new(),
                    headers: BTreeMap::new(),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HttpJson, A::Error> {
                let HttpObject {
                    host,
                    methods,
                    headers,
                } = HttpObject::deserialize(MapAccessDeserializer::new(map))?;
                Ok(HttpJson {
                    host,
                    methods,
                    headers,
                })
            }
        }
        input.deserialize_any(HostOrObject)
    }
}
