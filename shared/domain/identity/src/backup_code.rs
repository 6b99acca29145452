//! Backup codes (S1.10): ten, shown once, each good once in place of a second factor.

use crate::trail;
use aws_lc_rs::rand;
use db::Tx;
use kernel::{Code, Error, Result};
use uuid::Uuid;

/// How many a user gets.
pub const COUNT: usize = 10;

/// Without what is read as another; a power of two, so that a byte picks one without bias.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnopqrstuvwxyz23456789";
/// 50 bits, in two groups of five.
const CHARS: usize = 10;

const FORGET: &str = "DELETE FROM backup_codes WHERE tenant_id = $1 AND user_id = $2";
const INSERT: &str = "INSERT INTO backup_codes (tenant_id, user_id, code_hash, created_at)
    SELECT $1, $2, hash, $4 FROM unnest($3::bytea[]) AS hash";
const LOCK_USER: &str =
    "SELECT twofa_methods <> '{}' FROM users WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE";
const LEFT: &str =
    "SELECT EXISTS (SELECT FROM backup_codes WHERE tenant_id = $1 AND user_id = $2 AND used_at IS NULL)";
const SPEND: &str = "UPDATE backup_codes SET used_at = $4
    WHERE tenant_id = $1 AND user_id = $2 AND code_hash = $3 AND used_at IS NULL RETURNING user_id";

/// Makes ten new codes; those from before are worth nothing any more.
///
/// # Errors
/// 409 when no second factor is on.
pub async fn regenerate(tx: &Tx, user_id: Uuid) -> Result<Vec<String>> {
    // Two at once come one after the other: the later's codes count.
    let on = tx.query_opt(LOCK_USER, &[&tx.tenant().0, &user_id]).await?;
    if !on.is_some_and(|row| row.get(0)) {
        return Err(Error::new(
            Code::Conflict,
            "Backup codes stand in for a second factor; turn one on first.",
        ));
    }
    issue(tx, user_id).await
}

/// As [`regenerate`], for a user whose row is held and who has a second factor on.
pub(crate) async fn issue(tx: &Tx, user_id: Uuid) -> Result<Vec<String>> {
    let now = tx.clock().now();
    let codes = (0..COUNT).map(|_| random()).collect::<Result<Vec<String>>>()?;
    let hashes: Vec<Vec<u8>> = codes.iter().map(|code| hash(tx, user_id, code)).collect();
    forget(tx, user_id).await?;
    tx.execute(INSERT, &[&tx.tenant().0, &user_id, &hashes, &now])
        .await?;
    trail::note(tx, user_id, "twofa.backup_codes_issued", &trail::nothing()).await?;
    Ok(codes)
}

/// Those that the user has are worth nothing any more.
pub(crate) async fn forget(tx: &Tx, user_id: Uuid) -> Result<()> {
    tx.execute(FORGET, &[&tx.tenant().0, &user_id]).await.map(drop)
}

pub(crate) async fn any_left(tx: &Tx, user_id: Uuid) -> Result<bool> {
    Ok(tx.query_one(LEFT, &[&tx.tenant().0, &user_id]).await?.get(0))
}

/// Spends a code; of parallel requests with one code, one is true.
pub(crate) async fn spend(tx: &Tx, user_id: Uuid, typed: &str) -> Result<bool> {
    let code: String = typed
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(CHARS + 1)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let hash = hash(tx, user_id, &code);
    let spent = tx.query_opt(SPEND, &[&tenant, &user_id, &hash, &now]).await?;
    if spent.is_some() {
        trail::note(tx, user_id, "twofa.backup_code_used", &trail::nothing()).await?;
    }
    Ok(spent.is_some())
}

/// As it is shown: `abcde-fghjk`.
fn random() -> Result<String> {
    let mut bytes = [0; CHARS];
    rand::fill(&mut bytes).map_err(|_| Error::internal("no randomness"))?;
    let chars: String = bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    let (head, tail) = chars.split_at(CHARS / 2);
    Ok(format!("{head}-{tail}"))
}

fn hash(tx: &Tx, user_id: Uuid, code: &str) -> Vec<u8> {
    let context = format!("{}/backup_codes.code/{user_id}", tx.tenant());
    tx.sealer().lookup_hash(&context, &code.replace('-', ""))
}
