//! The outer JSON object of a message, read so that no two readers can disagree about it.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::refusal::Refusal;

/// The fields of a JSON object, in which no name stands twice, at any depth.
#[derive(Default)]
pub(super) struct Envelope(HashMap<String, Value>);

/// A field's value, as far as anyone asks.
pub(super) enum Value {
    Text(String),
    Object(Envelope),
    Null,
    /// A number, a boolean or a list: SNS sends none, and what else there is, is ignored.
    Other,
}

impl Envelope {
    /// Reads a whole body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut twice = None;
        let mut json = serde_json::Deserializer::from_slice(body);
        let value = Walk { twice: &mut twice }
            .deserialize(&mut json)
            .and_then(|value| json.end().map(|()| value))
            .map_err(|_| Refusal::NotJson)?;
        if let Some(name) = twice {
            return Err(Refusal::DuplicateKey(name));
        }
        match value {
            Value::Object(fields) => Ok(fields),
            _ => Err(Refusal::NotAnObject),
        }
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// Takes out a field that has to be there and to be a string.
    pub(super) fn take_text(&mut self, field: &'static str) -> Result<String, Refusal> {
        match self.0.remove(field) {
            Some(Value::Text(text)) => Ok(text),
            Some(_) => Err(bad(field, "must be a string")),
            None => Err(bad(field, "is missing")),
        }
    }

    /// Takes out a field that may be absent or null.
    pub(super) fn take_optional_text(
        &mut self,
        field: &'static str,
    ) -> Result<Option<String>, Refusal> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.take_text(field).map(Some),
        }
    }
}

pub(super) fn bad(field: &'static str, why: &'static str) -> Refusal {
    Refusal::BadField { field, why }
}

/// Reads any JSON value and notes the first key that stands twice in its object.
///
/// `serde_json` bounds the depth.
struct Walk<'a> {
    twice: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let twice = self.twice;
        while list.next_element_seed(Walk { twice })?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Envelope::default();
        let twice = self.twice;
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Walk { twice })?;
            if twice.is_none() && fields.0.contains_key(&name) {
                *twice = Some(presentable(&name));
            }
            fields.0.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

/// A key's name where it is a plain short word, which is all that an answer or a log shows.
fn presentable(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if (1..=40).contains(&name.len()) && name.bytes().all(plain) {
        name.to_owned()
    } else {
        "(no plain word)".to_owned()
    }
}
