//! Who the caller is, what the caller may do, and what the company still asks of the caller.

use crate::user::{self, Account};
use db::{Row, Tx};
use futures::try_join;
use jiff::Timestamp;
use kernel::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const PERMISSIONS: &str =
    "SELECT coalesce(array_agg(DISTINCT rp.permission_code ORDER BY rp.permission_code), '{}')
    FROM app.roles_held($1, $2) held JOIN role_permissions rp ON rp.role_id = held.role_id";
const SECURITY: &str =
    "SELECT u.twofa_methods, u.phone_masked, u.phone_country, u.phone_verified_at, u.email_verified_at IS NULL AS owes_email,
        t.twofa_required_from, t.phone_required_from,
        t.twofa_required_from IS NOT NULL AND u.twofa_methods = '{}' AS owes_twofa,
        t.phone_required_from IS NOT NULL AND u.phone_verified_at IS NULL AS owes_phone
    FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE u.tenant_id = $1 AND u.id = $2";

/// The signed-in user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    #[serde(flatten)]
    pub account: Account,
    /// Codes of everything the user may do: of roles given, inherited and held through groups.
    pub permissions: Vec<String>,
    pub security: Security,
}

/// How the user proves who they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Security {
    /// Second factors that are on: `totp`, `sms`, `whatsapp`.
    pub twofa_methods: Vec<String>,
    /// `+20********67`.
    pub phone_masked: Option<String>,
    /// As in ISO 3166: `EG`. Null without a phone, and for one of no country.
    pub phone_country: Option<String>,
    pub phone_verified_at: Option<Timestamp>,
    /// From when on the company asks for a second factor.
    pub twofa_required_from: Option<Timestamp>,
    /// From when on the company asks for a verified phone.
    pub phone_required_from: Option<Timestamp>,
    /// What the user has yet to do: `verify_email`, `set_up_twofa`, `verify_phone`.
    pub owes: Vec<String>,
}

/// A user of the entered tenant; `None` when there is none with this id.
///
/// # Errors
/// As [`Tx::query`].
pub async fn find(tx: &Tx, user_id: Uuid) -> Result<Option<Me>> {
    let tenant = tx.tenant().0;
    let params: db::Params<'_> = &[&tenant, &user_id];
    let (account, permissions, security) = try_join!(
        user::find(tx, user_id),
        tx.query_one(PERMISSIONS, params),
        tx.query_opt(SECURITY, params),
    )?;
    Ok(account.zip(security).map(|(account, row)| Me {
        account,
        permissions: permissions.get(0),
        security: security_of(&row),
    }))
}

fn security_of(row: &Row) -> Security {
    let owes = [
        ("owes_email", "verify_email"),
        ("owes_twofa", "set_up_twofa"),
        ("owes_phone", "verify_phone"),
    ];
    Security {
        twofa_methods: row.get("twofa_methods"),
        phone_masked: row.get("phone_masked"),
        phone_country: row.get("phone_country"),
        phone_verified_at: row.get("phone_verified_at"),
        twofa_required_from: row.get("twofa_required_from"),
        phone_required_from: row.get("phone_required_from"),
        owes: owes
            .iter()
            .filter(|(column, _)| row.get(*column))
            .map(|(_, todo)| (*todo).to_owned())
            .collect(),
    }
}
