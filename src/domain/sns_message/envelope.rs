//! The outer JSON object of a message.

use std::borrow::Cow;

use super::refusal::Refusal;
use crate::domain::json::{self, JsonFault, Lists, Object};

pub(super) use crate::domain::json::Value;

/// The fields of the object. No field that is used has a list.
#[derive(Default)]
pub(super) struct Envelope<'a>(Object<'a>);

impl<'a> Envelope<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        match json::read(body, Lists::Ignored) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Refusal::NotAnObject),
            Err(JsonFault::DuplicateKey(name)) => Err(Refusal::DuplicateKey(name)),
            Err(JsonFault::NotJson(_)) => Err(Refusal::NotJson),
        }
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value<'a>> {
        self.0.get(field)
    }

    /// Removes and returns a field that must be a string.
    pub(super) fn take_text(&mut self, field: &'static str) -> Result<Cow<'a, str>, Refusal> {
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
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.take_text(field).map(Some),
        }
    }
}

pub(super) fn bad(field: &'static str, why: &'static str) -> Refusal {
    Refusal::BadField { field, why }
}
