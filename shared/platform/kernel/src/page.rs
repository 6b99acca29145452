//! Keyset pages: `?limit=&cursor=&sort=` in, `{"data":[…],"next_cursor":…}` out.

use crate::{Error, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many records a page holds when the request does not say.
pub const DEFAULT_LIMIT: u16 = 50;
/// The most records a page holds.
pub const MAX_LIMIT: u16 = 200;

/// What a list is ordered by: a column that an index of the tenant holds, with the id after it.
#[derive(Debug)]
pub struct Sort {
    /// As in `?sort=`.
    pub name: &'static str,
    /// The SQL column, qualified.
    pub column: &'static str,
    pub key: KeyType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    Timestamp,
    Text,
    /// Ids are ordered in time, so a log can be listed by them alone.
    Id,
}

/// The value of a sort column in the last record of a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    Timestamp(Timestamp),
    Id(Uuid),
    Text(String),
}

/// The paging part of a query string.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct PageQuery {
    /// How many records, 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u16>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// A field to sort by; `-field` for descending.
    pub sort: Option<String>,
}

/// A checked request for one page.
#[derive(Clone, Debug)]
pub struct PageRequest {
    pub limit: u16,
    pub sort: &'static Sort,
    pub descending: bool,
    pub after: Option<(Key, Uuid)>,
}

#[derive(Serialize, Deserialize)]
struct Cursor(String, Key, Uuid);

impl PageQuery {
    /// Checks the request against what the list can be sorted by; the first of `sorts` descending
    /// is the default order.
    ///
    /// # Errors
    /// 422 for a limit or a sort that does not exist, 400 for a cursor that is not of this list
    /// and order.
    pub fn check(&self, sorts: &'static [Sort]) -> Result<PageRequest> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if limit == 0 || limit > MAX_LIMIT {
            return Err(Error::field(
                "limit",
                "out_of_range",
                "limit is between 1 and 200.",
            ));
        }
        let (name, descending) = match self.sort.as_deref() {
            None => (sorts[0].name, true),
            Some(sort) => sort
                .strip_prefix('-')
                .map_or((sort, false), |field| (field, true)),
        };
        let Some(sort) = sorts.iter().find(|sort| sort.name == name) else {
            let names: Vec<&str> = sorts.iter().map(|sort| sort.name).collect();
            return Err(Error::field(
                "sort",
                "unknown",
                &format!("sort is one of {}.", names.join(", ")),
            ));
        };
        let after = self
            .cursor
            .as_deref()
            .map(|cursor| decode(cursor, sort, descending))
            .transpose()?;
        Ok(PageRequest {
            limit,
            sort,
            descending,
            after,
        })
    }
}

impl PageRequest {
    /// Cuts what was read (one more than the limit) to a page and makes the cursor of the next.
    pub fn finish<T>(&self, mut records: Vec<T>, key: impl Fn(&T) -> (Key, Uuid)) -> Page<T> {
        let more = records.len() > usize::from(self.limit);
        records.truncate(usize::from(self.limit));
        let next_cursor = records.last().filter(|_| more).map(|last| {
            let (key, id) = key(last);
            encode(&Cursor(self.order(), key, id))
        });
        Page {
            data: records,
            next_cursor,
        }
    }

    fn order(&self) -> String {
        order(self.sort, self.descending)
    }
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// Send it as `?cursor=` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

fn order(sort: &Sort, descending: bool) -> String {
    format!("{}{}", if descending { "-" } else { "" }, sort.name)
}

fn encode(cursor: &Cursor) -> String {
    // A tuple of strings always serialises.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

fn decode(cursor: &str, sort: &Sort, descending: bool) -> Result<(Key, Uuid)> {
    let bad = || {
        Error::invalid_request("The cursor is not one of this list and sort order; start again without it.")
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| bad())?;
    let Cursor(of, key, id) = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let key = match (sort.key, key) {
        (KeyType::Text, Key::Timestamp(at)) => Key::Text(at.to_string()),
        (KeyType::Text, Key::Id(id)) => Key::Text(id.to_string()),
        (_, key) => key,
    };
    let fits = matches!(
        (sort.key, &key),
        (KeyType::Timestamp, Key::Timestamp(_)) | (KeyType::Text, Key::Text(_)) | (KeyType::Id, Key::Id(_))
    );
    (of == order(sort, descending) && fits)
        .then_some((key, id))
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    static SORTS: &[Sort] = &[
        Sort {
            name: "created_at",
            column: "c.created_at",
            key: KeyType::Timestamp,
        },
        Sort {
            name: "name",
            column: "c.name",
            key: KeyType::Text,
        },
    ];

    fn query(limit: Option<u16>, cursor: Option<String>, sort: Option<&str>) -> PageQuery {
        PageQuery {
            limit,
            cursor,
            sort: sort.map(str::to_owned),
        }
    }

    #[test]
    fn a_cursor_leads_to_the_record_after_the_last() {
        let at: Timestamp = "2026-05-01T10:00:00.123456Z".parse().unwrap();
        let request = query(Some(2), None, None).check(SORTS).unwrap();
        let page = request.finish(vec![1_u128, 2, 3], |n| (Key::Timestamp(at), Uuid::from_u128(*n)));
        assert_eq!(page.data, [1, 2]);
        let next = query(Some(2), page.next_cursor, None).check(SORTS).unwrap();
        assert_eq!(next.after, Some((Key::Timestamp(at), Uuid::from_u128(2))));
        assert!(
            next.finish(vec![3_u128], |n| (Key::Timestamp(at), Uuid::from_u128(*n)))
                .next_cursor
                .is_none()
        );
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let request = query(Some(1), None, Some("name")).check(SORTS).unwrap();
        let page = request.finish(vec![1, 2], |_| {
            (Key::Text("2026-05-01T10:00:00Z".into()), Uuid::nil())
        });
        let cursor = page.next_cursor;
        assert!(query(None, cursor.clone(), Some("name")).check(SORTS).is_ok());
        for sort in [None, Some("-name"), Some("created_at")] {
            assert_eq!(
                query(None, cursor.clone(), sort).check(SORTS).unwrap_err().code(),
                crate::Code::InvalidRequest
            );
        }
        assert_eq!(
            query(None, Some("x".into()), None)
                .check(SORTS)
                .unwrap_err()
                .code(),
            crate::Code::InvalidRequest
        );
    }

    #[test]
    fn limits_and_sorts_are_bounded() {
        for (limit, sort) in [
            (Some(0), None),
            (Some(201), None),
            (None, Some("password_hash")),
            (None, Some("")),
        ] {
            assert_eq!(
                query(limit, None, sort).check(SORTS).unwrap_err().code(),
                crate::Code::ValidationFailed
            );
        }
    }
}
