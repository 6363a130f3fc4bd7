//! Parameters of statements with their types.
//!
//! The types are told with each statement, so that it needs no name and no round trip to find them
//! out; that is also what works behind a pooler.

use bytes::{Bytes, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

/// A value with its type.
pub(super) struct Param(Box<dyn ToSql + Sync + Send>, Type);

/// The parameters of one statement.
pub(super) type Params = Vec<Param>;

impl Param {
    pub(super) fn new<T: Typed + ToSql + Sync + Send + 'static>(value: T) -> Param {
        Param(Box::new(value), T::TYPE)
    }

    /// As the client takes it.
    pub(super) fn parts(&self) -> (&(dyn ToSql + Sync), Type) {
        (&*self.0, self.1.clone())
    }
}

/// Parameters, in their order.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::postgres::params::Param::new($value)),*]
    };
}
pub(super) use params;

/// A Rust type that stands for one type of the database.
pub(super) trait Typed {
    const TYPE: Type;
}

/// The same for what arrays are made of.
pub(super) trait Element {
    const ARRAY: Type;
}

macro_rules! typed {
    ($($rust:ty: $one:ident, $many:ident;)*) => {
        $(
            impl Typed for $rust {
                const TYPE: Type = Type::$one;
            }
            impl Element for $rust {
                const ARRAY: Type = Type::$many;
            }
        )*
    };
}

typed! {
    bool: BOOL, BOOL_ARRAY;
    i16: INT2, INT2_ARRAY;
    i32: INT4, INT4_ARRAY;
    i64: INT8, INT8_ARRAY;
    f64: FLOAT8, FLOAT8_ARRAY;
    String: TEXT, TEXT_ARRAY;
    &'static str: TEXT, TEXT_ARRAY;
    Uuid: UUID, UUID_ARRAY;
    Raw: BYTEA, BYTEA_ARRAY;
}

impl<T: Typed> Typed for Option<T> {
    const TYPE: Type = T::TYPE;
}

impl<T: Element> Element for Option<T> {
    const ARRAY: Type = T::ARRAY;
}

impl<T: Element> Typed for Vec<T> {
    const TYPE: Type = T::ARRAY;
}

/// Bytes, shared rather than copied.
#[derive(Clone, Debug)]
pub(super) struct Raw(pub(super) Bytes);

impl Raw {
    pub(super) fn copy(bytes: &[u8]) -> Raw {
        Raw(Bytes::copy_from_slice(bytes))
    }
}

impl ToSql for Raw {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        (&self.0[..]).to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <&[u8] as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

/// A text as the database takes it, which has no NUL in it.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
