//! What the forms for dead letters send.

use std::borrow::Cow;

use crate::http::letters::MAX_LIMIT;

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Replay,
    Drop,
}

/// Which dead letters a form is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    Ids(Vec<i64>),
    /// All with exactly the reason of this one.
    Like(i64),
    All,
}

/// A form that was filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) action: Action,
    pub(super) selection: Selection,
    /// Where to begin, if an earlier order did not come to the end.
    pub(super) cursor: Option<i64>,
}

/// What is wrong with a form. The forms of the page have none of these faults but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormFault {
    #[error("no dead letter is selected: tick some, or choose all of them")]
    NothingSelected,
    #[error("the form says neither to replay nor to drop")]
    NoAction,
    #[error("the form names more dead letters than one step may handle")]
    TooMany,
    #[error(
        "the dead letter whose reason was chosen was replayed or dropped meanwhile: choose again"
    )]
    Gone,
    #[error("the form has a value that the page never sends")]
    Malformed,
}

impl Action {
    /// The value in forms.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Drop => "drop",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Replay, Self::Drop]
            .into_iter()
            .find(|one| one.name() == text)
    }
}

impl Order {
    /// Reads the fields `do`, `scope`, `id`, `why` and `cursor`, or `one`, a button of a single dead
    /// letter.
    pub(super) fn read(encoded: &[u8]) -> Result<Self, FormFault> {
        let (mut action, mut scope, mut why, mut cursor) = (None, None, None, None);
        let (mut ids, mut one) = (Vec::new(), None);
        let number = |text: &str| text.parse().map_err(|_| FormFault::Malformed);
        for (name, value) in form_urlencoded::parse(encoded) {
            match name.as_ref() {
                "do" => action = Action::parse(&value),
                "scope" => scope = Some(value),
                "why" => why = Some(value),
                "id" => ids.push(number(&value)?),
                "cursor" => cursor = Some(number(&value)?),
                "one" => one = Some(value),
                _ => {}
            }
        }
        if let Some(one) = one {
            let (name, id) = one.split_once('-').ok_or(FormFault::Malformed)?;
            return Ok(Self {
                action: Action::parse(name).ok_or(FormFault::NoAction)?,
                selection: Selection::Ids(vec![number(id)?]),
                cursor: None,
            });
        }
        let selection = match (scope.as_deref(), why) {
            (Some("all"), _) => Selection::All,
            (Some("why"), Some(why)) if !why.is_empty() => Selection::Like(number(&why)?),
            (Some("why"), _) => return Err(FormFault::NothingSelected),
            (Some("ids") | None, _) if ids.is_empty() => return Err(FormFault::NothingSelected),
            (Some("ids") | None, _) if ids.len() > MAX_LIMIT => return Err(FormFault::TooMany),
            (Some("ids") | None, _) => Selection::Ids(ids),
            _ => return Err(FormFault::Malformed),
        };
        Ok(Self {
            action: action.ok_or(FormFault::NoAction)?,
            selection,
            cursor,
        })
    }

    /// The fields that [`Self::read`] reads.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("do", self.action.name().to_owned())];
        match &self.selection {
            Selection::Ids(ids) => {
                fields.push(("scope", "ids".to_owned()));
                fields.extend(ids.iter().map(|id| ("id", id.to_string())));
            }
            Selection::Like(id) => {
                fields.push(("scope", "why".to_owned()));
                fields.push(("why", id.to_string()));
            }
            Selection::All => fields.push(("scope", "all".to_owned())),
        }
        fields.extend(self.cursor.map(|cursor| ("cursor", cursor.to_string())));
        fields
    }

    /// The same as a query.
    pub(super) fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.fields())
            .finish()
    }
}

/// A field of a form; `None` if it is not there, or empty.
pub(super) fn field(encoded: &[u8], wanted: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(encoded);
    let found = fields.find(|(name, _)| name == wanted);
    found
        .map(|(_, value)| Cow::into_owned(value))
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(encoded: &str) -> Result<Order, FormFault> {
        Order::read(encoded.as_bytes())
    }

    #[test]
    fn an_order_is_about_the_ticked_ones_a_reason_or_all() {
        let order = |action, selection| Order {
            action,
            selection,
            cursor: None,
        };
        let ids = |ids: &[i64]| Selection::Ids(ids.to_vec());
        assert_eq!(
            read("id=1&id=2&scope=ids&do=replay&why=x"),
            Ok(order(Action::Replay, ids(&[1, 2])))
        );
        assert_eq!(read("id=1&do=drop"), Ok(order(Action::Drop, ids(&[1]))));
        assert_eq!(
            read("id=1&scope=all&do=drop"),
            Ok(order(Action::Drop, Selection::All))
        );
        assert_eq!(
            read("scope=why&why=7&do=drop"),
            Ok(order(Action::Drop, Selection::Like(7)))
        );
        assert_eq!(
            read("id=1&id=2&scope=all&one=drop-7"),
            Ok(order(Action::Drop, ids(&[7]))),
            "the button of one goes before what is ticked"
        );
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let many = "id=1&".repeat(MAX_LIMIT + 1) + "do=drop";
        for (encoded, fault) in [
            ("", FormFault::NothingSelected),
            ("scope=ids&do=drop", FormFault::NothingSelected),
            ("scope=why&why=&do=drop", FormFault::NothingSelected),
            ("scope=why&do=drop", FormFault::NothingSelected),
            ("scope=why&why=no+key&do=drop", FormFault::Malformed),
            ("id=1", FormFault::NoAction),
            ("id=1&do=burn", FormFault::NoAction),
            ("one=burn-1", FormFault::NoAction),
            ("one=drop", FormFault::Malformed),
            ("id=x&do=drop", FormFault::Malformed),
            ("id=1&scope=some&do=drop", FormFault::Malformed),
            (&many, FormFault::TooMany),
        ] {
            assert_eq!(read(encoded), Err(fault), "{encoded}");
        }
    }

    #[test]
    fn an_order_is_read_as_it_was_written() {
        for selection in [
            Selection::Ids(vec![3, 1]),
            Selection::Like(5),
            Selection::All,
        ] {
            let order = Order {
                action: Action::Drop,
                selection,
                cursor: Some(-4),
            };
            assert_eq!(read(&order.query()), Ok(order));
        }
        assert_eq!(field(b"a=&token=x+%2B&b", "token"), Some("x +".to_owned()));
        assert_eq!(field(b"a=&b", "a"), None);
    }
}
