//! Seats that nobody uses are free again.

use super::entry;
use crate::messaging::stack::{Stack, task};
use crate::people::setup::{Office, address};
use crate::support::Answer;
use serde_json::{Value, json};
use uuid::Uuid;

async fn seats(office: &Office) -> Value {
    office.get("/v1/admin/seats").await.expect(200)
}

async fn allow(office: &Office, seats: i64) {
    let limits = json!({ "overrides": [{ "code": "users.max", "limit_value": seats }] });
    let path = "/v1/admin/entitlements/overrides/tenant";
    office.api.put(&office.me, path, &limits).await.expect(200);
}

async fn try_invite(office: &Office) -> Answer {
    let body = json!({ "email": address(), "roles": ["staff"] });
    office.post("/v1/admin/users/invite", &body).await
}

async fn resend(office: &Office, user: Uuid) -> Answer {
    let path = format!("/v1/admin/users/{user}/resend-invite");
    office.post(&path, &json!({})).await
}

#[tokio::test]
async fn an_invitation_that_ran_out_gives_its_seat_back_and_takes_one_when_it_is_sent_again() {
    let stack = Stack::alone().await;
    let scheduler = stack.scheduler.clone();
    let office = Office::of(stack.world).await;
    let others = seats(&office).await["used"].as_i64().unwrap();
    allow(&office, others + 2).await;
    let (late, link) = office
        .invite(&json!({ "email": address(), "roles": ["staff"] }))
        .await;
    let (waiting, _) = office
        .invite(&json!({ "email": address(), "roles": ["staff"] }))
        .await;
    try_invite(&office).await.expect_code(422, "LIMIT_REACHED");

    let sql = office.world.admin_sql().await;
    let over = "UPDATE invites SET expires_at = now() WHERE tenant_id = $1 AND user_id = $2";
    let params: [&(dyn db::ToSql + Sync); 2] = [&office.world.tenant.0, &late];
    assert_eq!(sql.execute(over, &params).await.unwrap(), 1);
    for _ in 0..2 {
        scheduler.handle(task("daily")).await.unwrap();
    }
    let now = seats(&office).await;
    assert_eq!(
        (&now["used"], &now["pending_invites"], &now["without_seat"]),
        (&json!(others + 1), &json!(1), &json!(1))
    );
    let told = office.actions(late).await;
    let times = told
        .iter()
        .filter(|action| *action == "user.inviteExpired")
        .count();
    assert_eq!(times, 1, "{told:?}");
    assert!(
        !office
            .actions(waiting)
            .await
            .contains(&"user.inviteExpired".to_owned())
    );
    assert_eq!(office.accept(&link).await.status, 422);

    // Somebody else has the seat now.
    let third = try_invite(&office).await.expect(201);
    let error = resend(&office, late).await.expect_code(422, "LIMIT_REACHED");
    assert_eq!(error["details"]["key"], "users.max");
    let third = format!("/v1/admin/users/{}", third["id"].as_str().unwrap());
    office.api.delete(&office.me, &third).await.expect(204);
    resend(&office, late).await.expect(200);
    assert_eq!(seats(&office).await["used"], others + 2);
    try_invite(&office).await.expect_code(422, "LIMIT_REACHED");
}

/// Not even until the night: all the seats that a company pays for can be used.
#[tokio::test]
async fn the_seat_of_an_invitation_that_ran_out_is_there_for_the_next_at_once() {
    let stack = Stack::alone().await;
    let scheduler = stack.scheduler.clone();
    let office = Office::of(stack.world).await;
    let others = seats(&office).await["used"].as_i64().unwrap();
    allow(&office, others + 1).await;
    let (late, _) = office
        .invite(&json!({ "email": address(), "roles": ["staff"] }))
        .await;
    let roles = seats(&office).await["by_role"].clone();
    try_invite(&office).await.expect_code(422, "LIMIT_REACHED");
    let sql = office.world.admin_sql().await;
    let over = "UPDATE invites SET expires_at = now() WHERE tenant_id = $1 AND user_id = $2";
    let params: [&(dyn db::ToSql + Sync); 2] = [&office.world.tenant.0, &late];
    assert_eq!(sql.execute(over, &params).await.unwrap(), 1);

    let now = seats(&office).await;
    assert_eq!(
        (&now["used"], &now["available"], &now["pending_invites"]),
        (&json!(others), &json!(1), &json!(0))
    );
    assert_eq!(now["without_seat"], 1);
    assert_ne!(now["by_role"], roles);
    let plan = office.get("/v1/admin/plan").await.expect(200);
    assert_eq!(entry(&plan["limits"], "users.max")["used"], others);

    try_invite(&office).await.expect(201);
    try_invite(&office).await.expect_code(422, "LIMIT_REACHED");
    resend(&office, late).await.expect_code(422, "LIMIT_REACHED");
    let now = seats(&office).await;
    assert_eq!(
        (&now["used"], &now["pending_invites"]),
        (&json!(others + 1), &json!(1))
    );
    scheduler.handle(task("daily")).await.unwrap();
    let told = office.actions(late).await;
    let times = told.iter().filter(|action| *action == "user.inviteExpired");
    assert_eq!(times.count(), 1, "{told:?}");
}

#[tokio::test]
async fn who_is_let_back_in_before_joining_takes_a_seat_with_the_next_link() {
    let office = Office::new().await;
    let used = seats(&office).await["used"].as_i64().unwrap();
    let (user, _) = office
        .invite(&json!({ "email": address(), "roles": ["staff"] }))
        .await;
    assert_eq!(seats(&office).await["used"], used + 1);
    let path = format!("/v1/admin/users/{user}");
    for (verb, seat) in [("deactivate", 0), ("reactivate", 0), ("resend-invite", 1)] {
        office
            .post(&format!("{path}/{verb}"), &json!({}))
            .await
            .expect(200);
        assert_eq!(seats(&office).await["used"], used + seat, "{verb}");
    }
}

#[tokio::test]
async fn a_group_at_rest_takes_no_seats_and_needs_them_to_wake() {
    let office = Office::new().await;
    let reader = office.world.user("read_only").await;
    let roles = office.get("/v1/admin/roles?search=staff").await.expect(200);
    let staff = roles["data"][0]["id"].clone();
    let body = json!({ "name": "Night shift", "role_ids": [staff] });
    let group = office.post("/v1/admin/groups", &body).await.expect(201);
    let path = format!("/v1/admin/groups/{}", group["id"].as_str().unwrap());
    let join = json!({ "user_ids": [reader.user_id] });
    office.post(&format!("{path}/members"), &join).await.expect(201);
    let used = seats(&office).await["used"].as_i64().unwrap();
    let set = async |active: bool| {
        let body = json!({ "is_active": active });
        office.api.patch(&office.me, &path, &body).await
    };
    set(false).await.expect(200);
    assert_eq!(seats(&office).await["used"], used - 1);
    allow(&office, used - 1).await;
    let error = set(true).await.expect_code(422, "LIMIT_REACHED");
    assert_eq!(
        error["details"],
        json!({ "key": "users.max", "limit": used - 1, "used": used - 1 })
    );
    allow(&office, used).await;
    set(true).await.expect(200);
    assert_eq!(seats(&office).await["used"], used);
}
