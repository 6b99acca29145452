//! Companies with users and contacts, made in SQL.

use anyhow::Result;
use kernel::TenantId;
use tokio_postgres::Client;
use uuid::Uuid;

/// How many of what.
#[derive(Clone, Copy)]
pub struct Size {
    pub tenants: i32,
    /// Contacts of each tenant.
    pub contacts: i32,
    /// More contacts of the first.
    pub more_of_first: i32,
}

/// The nth tenant; its admin and his session have ids of their own.
pub fn tenant(n: i32) -> TenantId {
    TenantId(made("tenant", n))
}

/// The admin of the nth tenant.
pub fn user(n: i32) -> Uuid {
    made("user", n)
}

/// A session of the admin of the nth tenant.
pub fn session(n: i32) -> Uuid {
    made("session", n)
}

/// As `md5(kind || n)::uuid` in SQL.
fn made(kind: &str, n: i32) -> Uuid {
    let mut bytes = [0; 16];
    let (kind, number) = (kind.as_bytes(), n.to_be_bytes());
    let kept = kind.len().min(8);
    bytes[..kept].copy_from_slice(&kind[..kept]);
    bytes[12..].copy_from_slice(&number);
    Uuid::from_bytes(bytes)
}

/// An access token of the nth tenant's admin.
pub fn token(n: i32) -> Result<String> {
    bench::token(tenant(n).0, user(n), session(n))
}

/// Fills a migrated database. Triggers are off; the indexes are made after the rows. Contacts of
/// different tenants lie side by side, as time would have put them.
pub async fn fill(admin: &Client, size: Size) -> Result<()> {
    admin
        .batch_execute(
            "SET session_replication_role = replica; SET work_mem = '256MB'; SET synchronous_commit = off",
        )
        .await?;
    let indexes = "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
        FROM pg_index i WHERE NOT i.indisunique AND i.indrelid IN ('contacts'::regclass, 'contact_channels'::regclass)";
    let indexes: Vec<(String, String)> = admin
        .query(indexes, &[])
        .await?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    for (name, _) in &indexes {
        admin.batch_execute(&format!("DROP INDEX {name}")).await?;
    }
    // Every tenant's values are sealed for the first: nobody opens the others'.
    let context = format!("{}/contact_channels.value", tenant(1));
    let sealed = bench::sealer()?.seal(&context, b"+201001234567")?.0;
    admin.batch_execute(&identities(size.tenants)).await?;
    admin.batch_execute(&contacts(size)).await?;
    let channels = "INSERT INTO contact_channels (tenant_id, id, contact_id, type, value_sealed, value_hash, value_masked,
                                                  claims_value, is_primary, created_at)
        SELECT tenant_id, id, id, 'phone', $1, sha256(uuid_send(tenant_id) || uuid_send(id)), '+20********67', true, true, created_at
        FROM contacts";
    admin.execute(channels, &[&sealed]).await?;
    for (_, definition) in &indexes {
        admin.batch_execute(definition).await?;
    }
    Ok(())
}

/// As [`made`], in SQL; `n` is the number.
fn id(kind: &str) -> String {
    let hex = kind
        .bytes()
        .take(8)
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    format!("(rpad('{hex}', 24, '0') || lpad(to_hex(n), 8, '0'))::uuid")
}

fn identities(tenants: i32) -> String {
    let (tenant, user, session) = (id("tenant"), id("user"), id("session"));
    let tables = [
        format!("tenants (id, name, slug) SELECT {tenant}, 'Tenant ' || n, 'tenant-' || n"),
        format!(
            "users (tenant_id, id, email, email_norm, full_name)
             SELECT {tenant}, {user}, 'admin-' || n || '@bench.invalid', 'admin-' || n || '@bench.invalid', 'Admin'"
        ),
        format!(
            "user_roles (tenant_id, user_id, role_id)
             SELECT {tenant}, {user}, (SELECT id FROM roles WHERE code = 'super_admin' AND tenant_id IS NULL)"
        ),
        format!(
            "sessions (tenant_id, id, user_id, created_at, last_used_at, expires_at)
             SELECT {tenant}, {session}, {user}, now(), now(), now() + interval '30 days'"
        ),
        format!(
            "tenant_subscription (tenant_id, plan_code, status, started_at, updated_at)
             SELECT {tenant}, 'dev_pro', 'active', now(), now()"
        ),
        // more contacts are made than any plan holds
        format!(
            "entitlement_overrides (tenant_id, scope, scope_id, code, created_at, updated_at)
             SELECT {tenant}, 'tenant', {tenant}, 'contacts.max', now(), now()"
        ),
    ];
    tables
        .map(|table| format!("INSERT INTO {table} FROM generate_series(1, {tenants}) AS n;"))
        .concat()
}

fn contacts(size: Size) -> String {
    let Size {
        tenants,
        contacts,
        more_of_first,
    } = size;
    format!(
        "INSERT INTO contacts (tenant_id, id, first_name, last_name, name_norm, job_title, lifecycle_stage, source,
                               created_at, updated_at)
         SELECT {tenant},
                (lpad(to_hex((extract(epoch FROM made.at) * 1000)::bigint), 12, '0') || '7'
                 || left(random.hex, 3) || '8' || substr(random.hex, 4, 15))::uuid,
                'First' || k, 'Last' || n, 'first' || k || ' last' || n, 'Buyer',
                (ARRAY['lead', 'prospect', 'customer', 'inactive', 'lost'])[1 + k % 5], 'import', made.at, made.at
         FROM (SELECT k, n FROM generate_series(1, {contacts}) AS k CROSS JOIN generate_series(1, {tenants}) AS n
               UNION ALL SELECT {contacts} + more, 1 FROM generate_series(1, {more_of_first}) AS more) AS number
         CROSS JOIN LATERAL (SELECT timestamptz '2025-01-01' + k * interval '10 minutes' + n * interval '1 millisecond') AS made (at)
         CROSS JOIN LATERAL (SELECT md5(n || '/' || k)) AS random (hex)",
        tenant = id("tenant"),
    )
}

/// A valid phone number that no other run and serial has; `kind` keeps the sections apart.
pub fn phone(kind: u32, serial: u32) -> String {
    let run = std::process::id() % 100;
    let prefix = ["10", "11", "12", "15"][kind as usize % 4];
    format!("+20{prefix}{:08}", (run * 1_000_000 + serial) % 100_000_000)
}
