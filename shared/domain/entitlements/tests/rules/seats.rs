//! Seats, given and taken by the database at commit.

use crate::support::{Company, INVITE, limit};
use entitlements::override_::Scope;
use entitlements::seat::{self, Seats};
use futures::future::join_all;
use kernel::{Code, Limit};
use serde_json::json;
use uuid::Uuid;

async fn seats(company: &Company) -> Seats {
    let found = company
        .test
        .db
        .read(&company.caller, async |tx| seat::overview(&tx).await);
    found.await.unwrap()
}

async fn status(company: &Company, user: Uuid, status: &str) -> kernel::Result<u64> {
    let sql = "UPDATE users SET status = $3 WHERE tenant_id = $1 AND id = $2";
    company.try_run(sql, &[&company.tenant.0, &user, &status]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_users_exactly_as_many_are_made_as_there_are_seats() {
    let company = Company::on_trial().await;
    let attempts = (0..12).map(|at| {
        let status = if at % 2 == 0 { "active" } else { "invited" };
        company.try_user(testkit::unique(), "staff", status)
    });
    let outcomes = join_all(attempts).await;
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 3);
    for refusal in refused {
        let error = refusal.unwrap_err();
        assert_eq!(error.code(), Code::LimitReached);
        assert_eq!(
            error.details().unwrap(),
            &json!({ "key": "users.max", "limit": 3, "used": 3 })
        );
    }
    let now = seats(&company).await;
    assert_eq!((now.used, now.allowed, now.available), (3, Some(3), Some(0)));
    assert_eq!(company.used(Limit::UsersMax).await, 3, "the meter agrees");
    let (audited, events) = company.told("tenant.seat.limit_reached").await;
    assert_eq!(audited, [json!({ "limit": 3 })]);
    assert_eq!(events, audited);
}

#[tokio::test]
async fn who_leaves_frees_a_seat_and_who_returns_needs_one() {
    let company = Company::on_trial().await;
    let mut people = Vec::new();
    for _ in 0..3 {
        people.push(company.user("staff").await.0);
    }
    let last = testkit::unique();
    assert!(company.try_user(last, "staff", "active").await.is_err());
    status(&company, people[0], "suspended").await.unwrap();
    assert_eq!(seats(&company).await.used, 2);
    company.try_user(last, "staff", "invited").await.unwrap();
    let again = status(&company, people[0], "active").await.unwrap_err();
    assert_eq!(again.code(), Code::LimitReached);
    status(&company, people[1], "deactivated").await.unwrap();
    status(&company, people[0], "active").await.unwrap();
    // An invitation that is accepted keeps its seat.
    status(&company, last, "active").await.unwrap();
    let now = seats(&company).await;
    assert_eq!((now.used, now.active, now.pending_invites), (3, 3, 0));
    let ledger = company
        .test
        .db
        .read(&company.caller, async |tx| {
            tx.query(
                "SELECT action FROM seat_ledger WHERE tenant_id = $1 AND user_id = $2 ORDER BY occurred_at, id",
                &[&company.tenant.0, &people[0]],
            )
            .await
        })
        .await
        .unwrap();
    let actions: Vec<&str> = ledger.iter().map(|row| row.get(0)).collect();
    assert_eq!(actions, ["assign", "unassign", "assign"]);
}

#[tokio::test]
async fn who_only_looks_takes_no_seat_until_they_may_do_more() {
    let company = Company::on_trial().await;
    for _ in 0..2 {
        company.user("staff").await;
    }
    let (reader, second) = (
        company.user("read_only").await.0,
        company.user("read_only").await.0,
    );
    let now = seats(&company).await;
    assert_eq!((now.used, now.without_seat), (2, 2));
    let give = "INSERT INTO user_roles (tenant_id, user_id, role_id)
        SELECT $1, $2, id FROM roles WHERE tenant_id IS NULL AND code = 'admin'";
    company.run(give, &[&company.tenant.0, &reader]).await;
    assert_eq!(seats(&company).await.used, 3);
    let more = company
        .try_run(give, &[&company.tenant.0, &second])
        .await
        .unwrap_err();
    assert_eq!(
        more.code(),
        Code::LimitReached,
        "the change of a role is refused, too"
    );

    // Nor do they get more for nothing through a group.
    let group = company.group(&[second]).await;
    let grant = "INSERT INTO group_roles (tenant_id, group_id, role_id, created_at)
        SELECT $1, $2, id, now() FROM roles WHERE tenant_id IS NULL AND code = 'admin'";
    let more = company
        .try_run(grant, &[&company.tenant.0, &group])
        .await
        .unwrap_err();
    assert_eq!(more.code(), Code::LimitReached);
    let take = "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2
        AND role_id = (SELECT id FROM roles WHERE tenant_id IS NULL AND code = 'admin')";
    company.run(take, &[&company.tenant.0, &reader]).await;
    assert_eq!(seats(&company).await.used, 2);
    company.run(grant, &[&company.tenant.0, &group]).await;
    assert_eq!(seats(&company).await.used, 3);
    let leave = "DELETE FROM group_members WHERE tenant_id = $1 AND user_id = $2";
    company.run(leave, &[&company.tenant.0, &second]).await;
    let now = seats(&company).await;
    assert_eq!((now.used, now.without_seat), (2, 2));
}

#[tokio::test]
async fn seats_are_listed_by_role_and_group() {
    let company = Company::on_trial().await;
    let (first, _) = company.user("staff").await;
    let (second, _) = company.user("admin").await;
    company.user("read_only").await;
    let group = company.group(&[first, second]).await;
    let now = seats(&company).await;
    let by_role: Vec<_> = now
        .by_role
        .iter()
        .map(|part| (part.code.as_str(), part.used))
        .collect();
    assert_eq!(by_role, [("admin", 1), ("staff", 1)]);
    assert_eq!((now.by_group[0].id, now.by_group[0].used), (group, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_changes_of_one_person_at_once_leave_the_seat_that_both_make() {
    for _ in 0..10 {
        let company = Company::on_trial().await;
        let (person, _) = company.user("read_only").await;
        let role = |code: &'static str| {
            let company = &company;
            async move {
                let give = "INSERT INTO user_roles (tenant_id, user_id, role_id)
                    SELECT $1, $2, id FROM roles WHERE tenant_id IS NULL AND code = $3";
                company.run(give, &[&company.tenant.0, &person, &code]).await
            }
        };
        let drop_reading = async {
            let take = "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2
                AND role_id = (SELECT id FROM roles WHERE tenant_id IS NULL AND code = 'read_only')";
            company.run(take, &[&company.tenant.0, &person]).await
        };
        futures::join!(role("staff"), role("manager"), drop_reading);
        assert_eq!(seats(&company).await.used, 1);
        assert_eq!(company.used(Limit::UsersMax).await, 1);
    }
}

#[tokio::test]
async fn a_larger_company_has_room_at_once() {
    let company = Company::subscribed().await;
    company
        .set(Scope::Tenant, &[limit(Limit::UsersMax, Some(3))])
        .await;
    for _ in 0..3 {
        company.user("staff").await;
    }
    let refused = company.try_user(testkit::unique(), "staff", "active").await;
    assert_eq!(refused.unwrap_err().code(), Code::LimitReached);
    company
        .set(Scope::Tenant, &[limit(Limit::UsersMax, Some(4))])
        .await;
    company.user("staff").await;
    let refused = company.try_user(testkit::unique(), "staff", "active").await;
    assert_eq!(refused.unwrap_err().code(), Code::LimitReached);
    // Fewer seats take nobody's away.
    company
        .set(Scope::Tenant, &[limit(Limit::UsersMax, Some(1))])
        .await;
    let now = seats(&company).await;
    assert_eq!((now.used, now.allowed, now.available), (4, Some(1), Some(0)));
}

#[tokio::test]
async fn a_group_at_rest_costs_no_seat_and_needs_one_to_wake() {
    let company = Company::on_trial().await;
    let (first, _) = company.user("read_only").await;
    let group = company.group(&[first]).await;
    company.grant(group, "staff").await;
    assert_eq!(seats(&company).await.used, 1);
    let rest = "UPDATE groups SET is_active = $3 WHERE tenant_id = $1 AND id = $2";
    let wake = async |active: bool| {
        let params: [&(dyn db::ToSql + Sync); 3] = [&company.tenant.0, &group, &active];
        company.try_run(rest, &params).await
    };
    wake(false).await.unwrap();
    let now = seats(&company).await;
    assert_eq!((now.used, now.without_seat), (0, 1));
    assert_eq!(company.used(Limit::UsersMax).await, 0, "the meter agrees");
    for _ in 0..3 {
        company.user("staff").await;
    }
    assert_eq!(wake(true).await.unwrap_err().code(), Code::LimitReached);
    // Who joins a group at rest gets nothing that takes a seat.
    let (second, _) = company.user("read_only").await;
    let join =
        "INSERT INTO group_members (tenant_id, group_id, user_id, added_at) VALUES ($1, $2, $3, now())";
    company.run(join, &[&company.tenant.0, &group, &second]).await;
    assert_eq!(seats(&company).await.used, 3);
}

#[tokio::test]
async fn resting_never_takes_a_seat() {
    let company = Company::on_trial().await;
    for _ in 0..3 {
        company.user("staff").await;
    }
    // Somebody who only looks, and by the group alone.
    let (reader, _) = company.user("read_only").await;
    let group = company.group(&[reader]).await;
    company.grant(group, "read_only").await;
    let own = "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2";
    company.run(own, &[&company.tenant.0, &reader]).await;
    let rest = "UPDATE groups SET is_active = false WHERE tenant_id = $1 AND id = $2";
    company.run(rest, &[&company.tenant.0, &group]).await;
    assert_eq!(seats(&company).await.used, 3);
}

/// Time alone frees it for whoever wants one; the sweep says so, and only of those whose invitation is over.
#[tokio::test]
async fn an_invitation_takes_a_seat_while_it_can_be_accepted() {
    let company = Company::on_trial().await;
    company.user("staff").await;
    let (late, waiting) = (testkit::unique(), testkit::unique());
    for user in [late, waiting] {
        company.try_user(user, "staff", "invited").await.unwrap();
    }
    let over = "UPDATE invites SET expires_at = now() WHERE tenant_id = $1 AND user_id = $2";
    company.run(over, &[&company.tenant.0, &late]).await;
    let now = seats(&company).await;
    assert_eq!((now.used, now.pending_invites, now.without_seat), (2, 1, 1));
    assert_eq!(company.used(Limit::UsersMax).await, 2, "the meter agrees");
    let sweep = async || {
        let released = company
            .test
            .db
            .write(&company.caller, async |tx| seat::release_expired(&tx).await);
        released.await.unwrap()
    };
    assert_eq!(sweep().await, 1);
    assert_eq!(sweep().await, 0);
    assert_eq!(seats(&company).await, now, "it was so before");
    assert_eq!(company.used(Limit::UsersMax).await, 2, "the meter agrees");
    assert_eq!(company.told("user.inviteExpired").await.0.len(), 1);

    // A new invitation takes the seat again, when there is one.
    let (third, _) = company.user("staff").await;
    let invite = async || {
        let params: [&(dyn db::ToSql + Sync); 3] = [&company.tenant.0, &testkit::unique(), &late];
        company.try_run(INVITE, &params).await
    };
    assert_eq!(invite().await.unwrap_err().code(), Code::LimitReached);
    status(&company, third, "suspended").await.unwrap();
    invite().await.unwrap();
    assert_eq!(seats(&company).await.used, 3);
    let revoke = "UPDATE invites SET revoked_at = now() WHERE tenant_id = $1 AND user_id = $2";
    company.run(revoke, &[&company.tenant.0, &waiting]).await;
    assert_eq!(seats(&company).await.used, 2, "nor does one that was taken back");
}

/// Whoever comes first frees it, a newcomer or the sweep, and it is said once.
#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_users_as_many_are_made_as_invitations_ran_out() {
    for _ in 0..5 {
        let company = Company::on_trial().await;
        company.user("staff").await;
        for _ in 0..2 {
            let late = company.try_user(testkit::unique(), "staff", "invited");
            late.await.unwrap();
        }
        let over = "UPDATE invites SET expires_at = now() WHERE tenant_id = $1";
        company.run(over, &[&company.tenant.0]).await;
        let attempts = join_all((0..6).map(|_| company.try_user(testkit::unique(), "staff", "active")));
        let sweep = async || {
            let released = company
                .test
                .db
                .write(&company.caller, async |tx| seat::release_expired(&tx).await);
            released.await.unwrap()
        };
        let (outcomes, ..) = futures::join!(attempts, sweep(), sweep());
        let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 4);
        assert!(refused.iter().all(|error| error.code() == Code::LimitReached));
        assert_eq!(company.told("user.inviteExpired").await.0.len(), 2);
        let now = seats(&company).await;
        assert_eq!((now.used, now.without_seat), (3, 2));
        assert_eq!(company.used(Limit::UsersMax).await, 3, "the meter agrees");
    }
}
