//! Parses the outer JSON object of a message, and rejects ambiguous (duplicate) keys.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::refusal::Refusal;

/// The fields of a JSON object without duplicate keys at any depth.
#[derive(Default)]
pub(super) struct Envelope(HashMap<String, Value>);

pub(super) enum Value {
    Text(String),
    Object(Envelope),
    Null,
    /// A number, a boolean or a list. No field that is used has one.
    Other,
}

impl Envelope {
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

    /// Removes and returns a field that must be a string.
    pub(super) fn take_text(&mut self, field: &'static str) -> Result<String, Refusal> {
        match self.0.remove(field) {
            Some(Value::Text(text)) => Ok(text),
            Some(_) => Err(bad(field, "must be a string")),
            None => Err(bad(field, "is missing")),
        }
    }

    /// Removes and returns a field that must be a string, null or absent.
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

/// Reads any JSON value and records the first duplicate key.
///
/// The recursion is bounded by `serde_json`'s depth limit.
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

/// The key, if it is a short plain word. Other keys are not shown in answers and logs.
fn presentable(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if (1..=40).contains(&name.len()) && name.bytes().all(plain) {
        name.to_owned()
    } else {
        "(not shown)".to_owned()
    }
}
