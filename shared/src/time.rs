//! Moments in time, in the form that both servers use. Nothing here reads a clock.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A moment: milliseconds since 1970-01-01T00:00:00Z. In JSON it is RFC 3339 in UTC with a literal `Z`,
/// because clients append `Z` to whatever lacks it. The default is that of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
pub struct Timestamp {
    unix_ms: i64,
}

/// The latest moment RFC 3339 can write: the last millisecond of the year 9999.
const UNIX_MS_MAX: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The earliest moment there is.
    pub const EPOCH: Self = Self { unix_ms: 0 };

    /// The moment `unix_ms` milliseconds after the epoch, limited to the years 1970 to 9999.
    pub fn from_unix_ms(unix_ms: i64) -> Self {
        Self { unix_ms: unix_ms.clamp(0, UNIX_MS_MAX) }
    }

    /// Milliseconds since the epoch.
    pub fn unix_ms(self) -> i64 {
        self.unix_ms
    }

    /// Whole seconds since the epoch.
    pub fn unix_s(self) -> i64 {
        self.unix_ms / 1_000
    }

    /// The moment `ms` milliseconds later, or earlier if `ms` is negative. It stays within the years 1970 to 9999.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self::from_unix_ms(self.unix_ms.saturating_add(ms))
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(moment: OffsetDateTime) -> Self {
        let unix_ms = moment.unix_timestamp_nanos() / 1_000_000;
        Self::from_unix_ms(i64::try_from(unix_ms).unwrap_or(UNIX_MS_MAX))
    }
}

impl From<Timestamp> for OffsetDateTime {
    fn from(moment: Timestamp) -> Self {
        Self::from_unix_timestamp_nanos(i128::from(moment.unix_ms) * 1_000_000).unwrap_or(Self::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from(*self).to_offset(UtcOffset::UTC).format(&Rfc3339);
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        time::serde::rfc3339::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(feature = "openapi")]
mod schema {
    use utoipa::{
        PartialSchema, ToSchema,
        openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
    };

    impl PartialSchema for super::Timestamp {
        fn schema() -> RefOr<Schema> {
            let text = ObjectBuilder::new().schema_type(Type::String);
            let text = text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).pattern(Some("Z$"));
            let text =
                text.description(Some("A moment as RFC 3339 writes it, in UTC with a literal Z, to the millisecond."));
            text.examples(["2026-03-01T12:00:00.25Z"]).into()
        }
    }

    impl ToSchema for super::Timestamp {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_utc_with_a_literal_z() {
        let text = serde_json::to_string(&Timestamp::from_unix_ms(1_772_366_400_250)).unwrap();
        assert_eq!(text, r#""2026-03-01T12:00:00.25Z""#);
        let whole: Timestamp = serde_json::from_str(r#""2026-03-01T14:00:00+02:00""#).unwrap();
        assert_eq!(whole.to_string(), "2026-03-01T12:00:00Z");
    }

    proptest! {
        #[test]
        fn a_moment_is_read_as_it_is_written(unix_ms in any::<i64>(), text in "[0-9TZ:.+-]{0,30}") {
            let moment = Timestamp::from_unix_ms(unix_ms);
            let json = serde_json::to_string(&moment).unwrap();
            prop_assert!(json.ends_with("Z\""));
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
            let _ = serde_json::from_str::<Timestamp>(&format!("\"{text}\""));
        }
    }

    #[test]
    fn arithmetic_stays_within_what_can_be_written() {
        assert_eq!(Timestamp::from_unix_ms(5).plus_ms(-10).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_unix_ms(i64::MAX).plus_ms(1).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
