//! Reads JSON objects in which no key is given twice, at any depth.
//!
//! Parsers disagree on which of two values counts, so whoever checks a body could see another one than
//! whoever acts on it.

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
};

/// The members of an object, by name.
pub type Object<'a> = HashMap<Cow<'a, str>, Value<'a>>;

/// A value. Text without escapes is borrowed from what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    Text(Cow<'a, str>),
    Object(Object<'a>),
    /// Only if lists are kept.
    List(Vec<Self>),
    Bool(bool),
    Null,
    /// A whole number that is not negative.
    Whole(u64),
    /// Another number, or a list that is not kept.
    Other,
}

/// Whether lists are kept. Without them, a body takes little more memory than its text, whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    Kept,
    Ignored,
}

/// Why a text is refused. Safe to log and to show to anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonFault {
    /// What is wrong, and where.
    NotJson(String),
    /// The first key that is given twice, if it is a short plain word.
    DuplicateKey(String),
}

/// Reads any JSON value.
pub fn read(text: &[u8], lists: Lists) -> Result<Value<'_>, JsonFault> {
    let mut twice = None;
    let mut json = serde_json::Deserializer::from_slice(text);
    let walk = Walk {
        twice: &mut twice,
        lists,
    };
    let value = walk
        .deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|error| JsonFault::NotJson(error.to_string()))?;
    match twice {
        Some(name) => Err(JsonFault::DuplicateKey(name)),
        None => Ok(value),
    }
}

/// Records the first duplicate key.
///
/// The recursion is bounded by `serde_json`'s depth limit.
struct Walk<'a> {
    twice: &'a mut Option<String>,
    lists: Lists,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value<'de>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Whole(number))
    }

    /// A whole number may be written as `3600.0`.
    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() != 0.0 || !(0.0..=EXACT).contains(&number) {
            return Ok(Value::Other);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole, and in the range"
        )]
        Ok(Value::Whole(number as u64))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let Self { twice, lists } = self;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Walk { twice, lists })? {
            if lists == Lists::Kept {
                values.push(value);
            }
        }
        Ok(match lists {
            Lists::Kept => Value::List(values),
            Lists::Ignored => Value::Other,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut fields = Object::default();
        let Self { twice, lists } = self;
        while let Some(Name(name)) = map.next_key()? {
            let value = map.next_value_seed(Walk { twice, lists })?;
            if twice.is_none() && fields.contains_key(&name) {
                *twice = Some(presentable(&name));
            }
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

/// A key, borrowed if it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        json.deserialize_str(Text)
    }
}

/// The key, if it is a short plain word. Other keys are not shown in answers and logs.
fn presentable(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if (1..=40).contains(&name.len()) && name.bytes().all(plain) {
        name.to_owned()
    } else {
        "(not shown)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(text: &str) -> Option<String> {
        [Lists::Kept, Lists::Ignored]
            .map(|lists| match read(text.as_bytes(), lists) {
                Err(JsonFault::DuplicateKey(name)) => Some(name),
                _ => None,
            })
            .into_iter()
            .reduce(|one, other| {
                assert_eq!(one, other, "{text}");
                one
            })
            .flatten()
    }

    #[test]
    fn a_key_given_twice_is_found_at_any_depth() {
        for (text, name) in [
            (r#"{"a": 1, "a": 1}"#, "a"),
            (r#"{"a": {"b": 1, "b": 2}}"#, "b"),
            (r#"{"a": [1, [{"c": null, "c": null}]]}"#, "c"),
            (r#"{"a": 1, "\u0061": 2}"#, "a"),
            (r#"{"a b": 1, "a b": 2}"#, "(not shown)"),
        ] {
            assert_eq!(twice(text).as_deref(), Some(name), "{text}");
        }
        for text in [r#"{"a": {"a": [{"a": 1}, {"a": 1}]}}"#, "[]", "{}", "{"] {
            assert_eq!(twice(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_what_they_are_written_as() {
        let text = br#"{"text": "\u00e4", "list": ["a", 1, true, null, [], {}]}"#;
        let Ok(Value::Object(kept)) = read(text, Lists::Kept) else {
            panic!("an object");
        };
        assert_eq!(kept["text"], Value::Text("ä".into()));
        let list = [
            Value::Text("a".into()),
            Value::Whole(1),
            Value::Bool(true),
            Value::Null,
            Value::List(Vec::new()),
            Value::Object(Object::default()),
        ];
        assert_eq!(kept["list"], Value::List(list.into()));
        let Ok(Value::Object(ignored)) = read(text, Lists::Ignored) else {
            panic!("an object");
        };
        assert_eq!(ignored["list"], Value::Other);
    }

    #[test]
    fn anything_but_one_value_is_not_json() {
        for text in ["", "distribution_id=E1", "{} {}", "{\"a\": 1,}", "nan"] {
            let read = read(text.as_bytes(), Lists::Kept);
            assert!(matches!(read, Err(JsonFault::NotJson(_))), "{text}");
        }
    }
}
