//! Who holds what while waiting for whom: the rows of a change first, the company's audit chain last.
//! Each test stands in for a request that holds one and then takes the other.

use super::setup::{Office, PASSWORD, address, public};
use crate::support::{Answer, World};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

pub(crate) type Params<'a> = &'a [&'a (dyn tokio_postgres::types::ToSql + Sync)];

/// Takes something, and something else once `request` waits for the first: both get what they want.
pub(crate) async fn takes_in_turn(
    world: &World,
    (first, then): (&str, &str),
    params: Params<'_>,
    request: impl Future<Output = Answer>,
) -> Answer {
    let (mut admin, watch) = (world.admin_sql().await, world.admin_sql().await);
    let holding = admin.transaction().await.unwrap();
    let tenant = world.tenant.to_string();
    let enter = "SELECT set_config('app.current_tenant_id', $1, true)";
    holding.query(enter, &[&tenant]).await.unwrap();
    assert_eq!(holding.query(first, params).await.unwrap().len(), 1);
    let other = async {
        until_somebody_waits(&watch, &holding).await;
        holding.query(then, &[&world.tenant.0]).await.unwrap();
        holding.commit().await.unwrap();
    };
    futures::join!(request, other).0
}

async fn until_somebody_waits(watch: &Client, holding: &Transaction<'_>) {
    let own: i32 = holding
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))";
    for _ in 0..200 {
        if watch.query_one(waits, &[&own]).await.unwrap().get(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the request does not wait");
}

pub(crate) const CHAIN: &str = "SELECT app.audit('test.done', 'test', $1, NULL, NULL)";

/// A colleague with a session, as a login leaves it.
async fn signed_in(office: &Office) -> Uuid {
    let email = address();
    let (id, token) = office
        .invite(&json!({ "email": email, "full_name": "Basma Nour" }))
        .await;
    let accept = json!({ "token": token, "password": PASSWORD, "delivery": "body" });
    public(&office.auth().await, "/v1/auth/accept-invite", &accept)
        .await
        .expect(200);
    id
}

const SESSION: &str = "SELECT id FROM sessions WHERE tenant_id = $1 AND user_id = $2 FOR UPDATE";

/// As a refresh does: its session, then the audit log.
#[tokio::test]
async fn a_password_is_reset_while_its_user_refreshes() {
    let office = Office::new().await;
    let id = signed_in(&office).await;
    let path = format!("/v1/admin/users/{id}/reset-password");
    let params: Params<'_> = &[&office.world.tenant.0, &id];
    let nothing = json!({});
    let reset = office.post(&path, &nothing);
    let answer = takes_in_turn(&office.world, (SESSION, CHAIN), params, reset).await;
    assert_eq!(answer.expect(200)["sessions_ended"], 1);
    let actions = office.actions(id).await;
    assert_eq!(actions.last().unwrap(), "user.passwordResetRequested");
}

#[tokio::test]
async fn who_leaves_records_to_a_colleague_is_erased_while_refreshing() {
    let office = Office::new().await;
    let (id, heir) = (signed_in(&office).await, office.world.user("staff").await.user_id);
    let params: Params<'_> = &[&office.world.tenant.0, &id];
    let body = json!({ "subject_type": "user", "subject_id": id, "confirm": id, "reassign_to": heir });
    let erase = office.post("/v1/admin/gdpr/erase", &body);
    takes_in_turn(&office.world, (SESSION, CHAIN), params, erase)
        .await
        .expect(200);
    let actions = office.actions(id).await;
    assert!(
        actions.contains(&"user.recordsReassigned".to_owned()),
        "{actions:?}"
    );
}

/// As whoever adds an audit line: the chain, then the company's row, which the line refers to.
#[tokio::test]
async fn the_companys_settings_are_changed_while_others_write_to_the_audit_log() {
    let office = Office::new().await;
    let chain = "SELECT seq FROM audit_chains WHERE tenant_id = $1 FOR UPDATE";
    let company = "SELECT FROM tenants WHERE id = $1 FOR KEY SHARE";
    let params: Params<'_> = &[&office.world.tenant.0];
    let security: (&str, Value) = (
        "/v1/admin/security",
        json!({ "require_twofa": true, "grace_days": 30 }),
    );
    let compliance = ("/v1/admin/compliance", json!({ "audit_keep_months": 24 }));
    for (path, body) in [security, compliance] {
        let change = office.api.patch(&office.me, path, &body);
        let answer = takes_in_turn(&office.world, (chain, company), params, change).await;
        answer.expect(200);
    }
}
