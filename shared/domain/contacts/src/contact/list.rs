//! A page of contacts.

use super::{Contact, LIST, read};
use crate::channel::Address;
use crate::lifecycle::LifecycleStage;
use db::{Sql, Tx};
use kernel::page::{Key, KeyType, Sort};
use kernel::{Email, Page, PageRequest, Phone, Result, Validator, text};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

/// The filters of the list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct ContactFilter {
    #[serde(alias = "owner")]
    pub owner_user_id: Option<Uuid>,
    #[serde(alias = "lifecycle")]
    pub lifecycle_stage: Option<LifecycleStage>,
    /// Words that a name starts with; all of them, in any order, also in other Arabic spellings.
    pub search: Option<String>,
    /// A phone or WhatsApp number in E.164.
    pub phone: Option<String>,
    /// An e-mail address.
    pub email: Option<String>,
}

/// What the list can be sorted by.
pub static SORTS: &[Sort] = &[
    Sort {
        name: "created_at",
        column: "c.created_at",
        key: KeyType::Timestamp,
    },
    Sort {
        name: "name",
        column: "c.name_norm",
        key: KeyType::Text,
    },
];

/// One page of the company's contacts.
///
/// # Errors
/// 422 for a phone or e-mail filter that is none.
pub async fn list(tx: &Tx, filter: &ContactFilter, page: &PageRequest) -> Result<Page<Contact>> {
    let mut sql = Sql::list(tx, LIST, "c");
    sql.only("c.archived_at IS NULL");
    sql.filter_opt("c.owner_user_id = $", filter.owner_user_id);
    sql.filter_opt(
        "c.lifecycle_stage = $",
        filter.lifecycle_stage.map(LifecycleStage::as_str),
    );
    for word in text::search_words(filter.search.as_deref().unwrap_or("")) {
        sql.filter(
            "c.id IN (SELECT n.contact_id FROM contact_names n WHERE n.tenant_id = c.tenant_id
                      AND n.word >= $ AND n.word < $ || U&'\\+10FFFF')",
            word,
        );
    }
    for address in addresses(filter)? {
        sql.filter(
            "c.id IN (SELECT x.contact_id FROM contact_channels x WHERE x.tenant_id = c.tenant_id AND x.value_hash = $)",
            address.hash(tx.sealer(), tx.tenant()),
        );
    }
    let by_name = page.sort.key == KeyType::Text;
    let tenant = tx.tenant();
    let listed = sql.fetch(
        tx,
        page,
        |row| Ok((row.get::<_, String>("name_norm"), read(row, tx.sealer(), tenant)?)),
        |(name, contact)| {
            (
                if by_name {
                    Key::Text(name.clone())
                } else {
                    Key::Timestamp(contact.created_at)
                },
                contact.id,
            )
        },
    );
    let listed = listed.await?;
    Ok(Page {
        data: listed.data.into_iter().map(|(_, contact)| contact).collect(),
        next_cursor: listed.next_cursor,
    })
}

fn addresses(filter: &ContactFilter) -> Result<Vec<Address>> {
    let mut validator = Validator::default();
    let mut addresses = Vec::new();
    if let Some(phone) = &filter.phone {
        // A plus in a query string that was not escaped arrives as a space.
        match Phone::parse(&phone.replacen(' ', "+", usize::from(phone.starts_with(' ')))) {
            Some(phone) => addresses.push(Address::phone(&phone)),
            None => validator.reject(
                "phone",
                "invalid",
                "Give a valid number in E.164, like +201001234567.",
            ),
        }
    }
    if let Some(email) = &filter.email {
        match Email::parse(email) {
            Some(email) => addresses.push(Address::email(&email)),
            None => validator.reject("email", "invalid", "This is not an e-mail address."),
        }
    }
    validator.finish().map(|()| addresses)
}
