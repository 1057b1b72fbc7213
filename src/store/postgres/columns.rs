//! Conversions between columns and values.

use std::borrow::Cow;

use jiff::Timestamp;
use sqlx::{
    Decode, Encode, Postgres, Row as _, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef},
};
use uuid::Uuid;

use crate::ports::StoreError;
pub(super) use crate::store::object_hash::object_hash;

/// The character that stands before what cannot be written as it is. Nobody uses it: it is no character, but
/// text may have it.
const ESCAPE: char = '\u{10FFFF}';

/// Text of strangers in a column. PostgreSQL's text cannot hold U+0000, but what S3 and callers send may:
/// U+0000 is written as U+10FFFF and "0", and U+10FFFF itself as U+10FFFF and "1". All other text is written as
/// it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text.into())
    }

    pub(super) fn into_string(self) -> String {
        self.0.into_owned()
    }

    fn escaped(&self) -> Cow<'_, str> {
        if self.0.contains(['\0', ESCAPE]) {
            let escaped = self.0.replace(ESCAPE, "\u{10FFFF}1");
            return escaped.replace('\0', "\u{10FFFF}0").into();
        }
        Cow::Borrowed(&self.0)
    }

    fn unescaped(written: &'a str) -> Self {
        if !written.contains(ESCAPE) {
            return Self(written.into());
        }
        let text = written.replace("\u{10FFFF}0", "\0");
        Self(text.replace("\u{10FFFF}1", "\u{10FFFF}").into())
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text<'static> {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Text that may be missing, for binding.
pub(super) fn optional(text: Option<&str>) -> Option<Text<'_>> {
    text.map(Text::new)
}

/// A list of texts, for `= ANY($1)` and `unnest`.
pub(super) fn texts<'a>(
    list: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Vec<Text<'a>> {
    let list = list.into_iter();
    list.map(|text| Text::new(text.as_ref())).collect()
}

impl Type<Postgres> for Text<'_> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(other: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(other)
    }
}

impl PgHasArrayType for Text<'_> {
    fn array_type_info() -> PgTypeInfo {
        <&str as PgHasArrayType>::array_type_info()
    }

    fn array_compatible(other: &PgTypeInfo) -> bool {
        <&str as PgHasArrayType>::array_compatible(other)
    }
}

impl Encode<'_, Postgres> for Text<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <&str as Encode<'_, Postgres>>::encode(&*self.escaped(), buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Text<'r> {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self::unescaped(<&str as Decode<'r, Postgres>>::decode(
            value,
        )?))
    }
}

/// Reads rows of `table`. The error for an unreadable row names it by its `key` column.
pub(super) fn read_all<T>(
    table: &'static str,
    key: &'static str,
    rows: &[PgRow],
    read: impl Fn(&PgRow) -> sqlx::Result<T>,
) -> Result<Vec<T>, StoreError> {
    rows.iter()
        .map(|row| read_one(table, key, row, &read))
        .collect()
}

/// Reads a row of `table`. The error for an unreadable row names it by its `key` column.
pub(super) fn read_one<T>(
    table: &'static str,
    key: &'static str,
    row: &PgRow,
    read: impl Fn(&PgRow) -> sqlx::Result<T>,
) -> Result<T, StoreError> {
    read(row).map_err(|error| {
        let name = row
            .try_get::<i64, _>(key)
            .map(|number| number.to_string())
            .or_else(|_| row.try_get::<Uuid, _>(key).map(|id| id.to_string()))
            .or_else(|_| text(row, key))
            .unwrap_or_else(|_| "unreadable".to_owned());
        StoreError::corrupt(table, format!("{key} = {name}"), error)
    })
}

/// A time as microseconds since 1970.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A column of microseconds as a time.
pub(super) fn time(micros: i64) -> sqlx::Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(decode)
}

pub(super) fn optional_time(micros: Option<i64>) -> sqlx::Result<Option<Timestamp>> {
    micros.map(time).transpose()
}

pub(super) fn parsed<T>(text: &str) -> sqlx::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(decode)
}

/// A text column that must not be NULL.
pub(super) fn text(row: &PgRow, column: &'static str) -> sqlx::Result<String> {
    Ok(row.try_get::<Text<'_>, _>(column)?.into_string())
}

pub(super) fn optional_text(row: &PgRow, column: &'static str) -> sqlx::Result<Option<String>> {
    let text: Option<Text<'_>> = row.try_get(column)?;
    Ok(text.map(Text::into_string))
}

/// A column of JSON that must not be NULL.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(
    row: &PgRow,
    column: &'static str,
) -> sqlx::Result<T> {
    serde_json::from_str(&text(row, column)?).map_err(decode)
}

pub(super) fn optional_from_json<T: serde::de::DeserializeOwned>(
    row: &PgRow,
    column: &'static str,
) -> sqlx::Result<Option<T>> {
    let text = optional_text(row, column)?;
    text.map(|text| serde_json::from_str(&text).map_err(decode))
        .transpose()
}

/// A value as JSON, for binding.
pub(super) fn to_json(value: &impl serde::Serialize) -> sqlx::Result<Text<'static>> {
    Ok(serde_json::to_string(value).map_err(decode)?.into())
}

/// A count, which is never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// A BIGINT column as another kind of number.
pub(super) fn number<T>(row: &PgRow, column: &'static str) -> sqlx::Result<T>
where
    T: TryFrom<i64, Error: std::error::Error + Send + Sync + 'static>,
{
    T::try_from(row.try_get::<i64, _>(column)?).map_err(decode)
}

pub(super) fn count(row: &PgRow, column: &'static str) -> sqlx::Result<usize> {
    number(row, column)
}

pub(super) fn signed(number: usize) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// The error for a column with an unexpected value.
pub(super) fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_is_written_as_it_is() {
        let text = Text::new("/a/ü/%2A?\u{1}\u{FFFD}\u{10FFFE}");
        assert!(matches!(text.escaped(), Cow::Borrowed(written) if written == &*text.0));
    }

    #[test]
    fn what_the_database_cannot_hold_is_escaped() {
        assert_eq!(Text::new("a\0b").escaped(), "a\u{10FFFF}0b");
        assert_eq!(Text::new("\u{10FFFF}0").escaped(), "\u{10FFFF}10");
    }

    proptest! {
        #[test]
        fn every_text_is_read_as_it_was(text in "[\0\u{10FFFF}01a]{0,12}|\\PC{0,12}") {
            let written = Text::new(&text).escaped().into_owned();
            prop_assert!(!written.contains('\0'));
            prop_assert_eq!(Text::unescaped(&written).into_string(), text);
        }
    }
}
