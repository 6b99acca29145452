//! Who may decide, in what order, and what comes of it.

use super::setup::{Company, REQUESTS, dynamic, email, kind, role, user, with};
use crate::support::Login;
use futures::future::join;
use serde_json::{Value, json};
use uuid::Uuid;

fn group(id: Uuid) -> Value {
    json!({ "approver_mode": "group", "approver_ref": id })
}

fn states(request: &Value) -> Vec<String> {
    let steps = request["steps"].as_array().unwrap().iter();
    steps
        .map(|step| step["state"].as_str().unwrap().to_owned())
        .collect()
}

fn sorted(logins: &[&Login]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = logins.iter().map(|login| login.user_id).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn of_flat_steps_any_one_approver_is_enough() {
    let company = Company::gated(json!([role("sales_manager"), role("finance_manager")])).await;
    let (sales, finance, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    let (contact, request) = company.ask(&manager).await;
    assert_eq!(company.deciders(&request).await, sorted(&[&sales, &finance]));
    let path = format!("{REQUESTS}/{request}/approve");
    let done = company
        .approvals
        .post(&finance, &path, &json!({ "comment": " fine by me " }))
        .await
        .expect(200);
    assert_eq!(
        (&done["state"], &done["actions"][0]["comment"]),
        (&json!("approved"), &json!("fine by me"))
    );
    assert_eq!(states(&done), ["skipped", "approved"]);
    assert_eq!(done["deciders"], json!([]));
    assert!(!company.is_there(&contact).await);
    let late = company
        .approve(&sales, &request)
        .await
        .expect_code(409, "CONFLICT");
    assert_eq!(late["details"]["state"], "approved");
    let requester = company
        .mails()
        .await
        .into_iter()
        .filter(|mail| mail.to == email(&manager));
    assert_eq!(requester.count(), 1, "the requester hears of the decision");
    assert_eq!(
        company.events(&request).await,
        ["approval.requested", "approval.decided", "approval.executed"]
    );
}

#[tokio::test]
async fn sequential_steps_open_one_after_the_other() {
    let steps = [
        role("sales_manager"),
        role("finance_manager"),
        role("inventory_manager"),
    ];
    let company = Company::gated(json!(steps.map(|step| kind("sequential", step)))).await;
    let (sales, finance, inventory, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("inventory_manager").await,
        company.user("manager").await,
    );
    let (contact, request) = company.ask(&manager).await;
    let early = company
        .approve(&finance, &request)
        .await
        .expect_code(403, "FORBIDDEN");
    assert_eq!(early["details"]["reason"], "not_an_approver");
    let after = company.approve(&sales, &request).await.expect(200);
    assert_eq!(
        (states(&after), &after["current_step"]),
        (
            vec!["approved".into(), "open".into(), "waiting".into()],
            &json!(2)
        )
    );
    company
        .approve(&sales, &request)
        .await
        .expect_code(403, "FORBIDDEN");
    let to_finance = company
        .mails()
        .await
        .into_iter()
        .filter(|mail| mail.to == email(&finance));
    assert_eq!(to_finance.count(), 1, "whoever comes next is asked");
    company.approve(&finance, &request).await.expect(200);
    assert!(company.is_there(&contact).await);
    company.approve(&inventory, &request).await.expect(200);
    assert!(!company.is_there(&contact).await);
}

#[tokio::test]
async fn parallel_steps_need_everybody_and_a_quorum_so_many() {
    let company = Company::new().await;
    let (one, two, three, manager) = (
        company.user("sales_manager").await,
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    let board = company.group(&[&one, &two]).await;
    let steps = json!([
        kind("parallel", group(board)),
        kind("parallel", user(&three)),
        kind("sequential", user(&one))
    ]);
    let made = company.policy(json!({ "steps": steps })).await;
    let (contact, request) = company.ask(&manager).await;
    assert_eq!(company.deciders(&request).await, sorted(&[&one, &two, &three]));
    company.approve(&three, &request).await.expect(200);
    company.approve(&one, &request).await.expect(200);
    let again = company.approve(&one, &request).await;
    again.expect_code(409, "CONFLICT");
    let waits = company
        .approvals
        .get(&one, &format!("{REQUESTS}?mine=to_decide"))
        .await
        .expect(200);
    assert_eq!(waits["data"], json!([]), "who has approved is not asked again");
    let after = company.approve(&two, &request).await.expect(200);
    assert_eq!(states(&after), ["approved", "approved", "open"]);
    company.approve(&one, &request).await.expect(200);
    assert!(!company.is_there(&contact).await);

    let steps = json!([with(kind("parallel", role("sales_manager")), "quorum", json!(2))]);
    let path = format!("{}/{}", super::setup::POLICIES, super::setup::id(&made));
    company
        .approvals
        .patch(&company.admin, &path, &json!({ "steps": steps }))
        .await
        .expect(200);
    company.user("sales_manager").await;
    let (contact, request) = company.ask(&manager).await;
    company.approve(&one, &request).await.expect(200);
    assert!(company.is_there(&contact).await);
    company.approve(&two, &request).await.expect(200);
    assert!(!company.is_there(&contact).await, "two of three");
}

#[tokio::test]
async fn who_has_left_is_not_waited_for() {
    let company = Company::gated(json!([kind("parallel", role("sales_manager"))])).await;
    let (one, two, manager) = (
        company.user("sales_manager").await,
        company.user("sales_manager").await,
        company.user("manager").await,
    );
    let (contact, request) = company.ask(&manager).await;
    company.approve(&one, &request).await.expect(200);
    company
        .sql(
            "UPDATE users SET status = 'deactivated' WHERE tenant_id = $1 AND id = $2",
            two.user_id,
        )
        .await;
    assert!(company.is_there(&contact).await);
    let done = company.approve(&one, &request).await.expect(200);
    assert_eq!(
        (&done["state"], done["actions"].as_array().unwrap().len()),
        (&json!("approved"), 1)
    );
}

#[tokio::test]
async fn one_rejection_ends_it_and_nothing_is_done() {
    let steps = json!([
        kind("parallel", role("sales_manager")),
        kind("parallel", role("finance_manager")),
        kind("sequential", role("admin"))
    ]);
    let company = Company::gated(steps).await;
    let (sales, finance, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    let (contact, request) = company.ask(&manager).await;
    company.approve(&sales, &request).await.expect(200);
    company
        .decide(&sales, &request, "reject")
        .await
        .expect_code(409, "CONFLICT");
    let done = company.decide(&finance, &request, "reject").await.expect(200);
    assert_eq!(done["state"], "rejected");
    assert_eq!(states(&done), ["skipped", "rejected", "skipped"]);
    assert!(done["decided_at"].is_string() && done["executed_at"].is_null());
    company
        .approve(&finance, &request)
        .await
        .expect_code(409, "CONFLICT");
    company
        .decide(&manager, &request, "cancel")
        .await
        .expect_code(409, "CONFLICT");
    assert!(company.is_there(&contact).await);
    assert_eq!(company.events(&request).await.last().unwrap(), "approval.decided");
    let to_requester = company
        .mails()
        .await
        .into_iter()
        .filter(|mail| mail.to == email(&manager));
    assert_eq!(to_requester.count(), 1);
}

#[tokio::test]
async fn own_requests_are_for_others_to_decide_unless_the_policy_says_otherwise() {
    let company = Company::new().await;
    let (me, colleague) = (company.user("manager").await, company.user("manager").await);
    let first = company.policy(json!({ "steps": [role("manager")] })).await;
    let (contact, request) = company.ask(&me).await;
    assert_eq!(company.deciders(&request).await, [colleague.user_id]);
    for what in ["approve", "reject"] {
        let refused = company
            .decide(&me, &request, what)
            .await
            .expect_code(403, "FORBIDDEN");
        assert_eq!(refused["details"]["reason"], "own_request");
    }
    company.approve(&colleague, &request).await.expect(200);
    assert!(!company.is_there(&contact).await);

    let path = format!("{}/{}", super::setup::POLICIES, super::setup::id(&first));
    let allow = json!({ "self_approval_allowed": true });
    company
        .approvals
        .patch(&company.admin, &path, &allow)
        .await
        .expect(200);
    let (contact, request) = company.ask(&me).await;
    assert!(company.is_there(&contact).await, "it waits all the same");
    company.approve(&me, &request).await.expect(200);
    assert!(!company.is_there(&contact).await);
}

#[tokio::test]
async fn todays_members_decide_whatever_they_were_when_it_was_asked() {
    let company = Company::new().await;
    let (member, newcomer, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    let board = company.group(&[&member]).await;
    company.policy(json!({ "steps": [group(board)] })).await;
    let (_, request) = company.ask(&manager).await;
    company
        .approve(&newcomer, &request)
        .await
        .expect_code(403, "FORBIDDEN");
    company
        .sql(
            "UPDATE group_members SET user_id = $2 WHERE tenant_id = $1",
            newcomer.user_id,
        )
        .await;
    company
        .approve(&member, &request)
        .await
        .expect_code(403, "FORBIDDEN");
    assert_eq!(company.deciders(&request).await, [newcomer.user_id]);
    company
        .sql(
            "UPDATE groups SET is_active = false WHERE tenant_id = $1 AND id = $2",
            board,
        )
        .await;
    assert_eq!(
        company.deciders(&request).await,
        [company.admin.user_id],
        "a group out of use has no members"
    );
    company
        .approve(&newcomer, &request)
        .await
        .expect_code(403, "FORBIDDEN");
    company
        .sql(
            "UPDATE groups SET is_active = true WHERE tenant_id = $1 AND id = $2",
            board,
        )
        .await;
    company.approve(&newcomer, &request).await.expect(200);
}

#[tokio::test]
async fn a_role_is_held_through_groups_and_inheritance_too() {
    let company = Company::gated(json!([role("finance_manager")])).await;
    let (heir, member, manager) = (
        company.user("inventory_manager").await,
        company.user("sales_manager").await,
        company.user("manager").await,
    );
    let (group, own_role) = (company.group(&[&member]).await, testkit::unique());
    company
        .sql(
            "INSERT INTO roles (tenant_id, id, code, name) VALUES ($1, $2, 'heir', 'Heir')",
            own_role,
        )
        .await;
    company
        .sql(
            "INSERT INTO group_roles (tenant_id, group_id, role_id, created_at)
                 SELECT $1, $2, id, now() FROM roles WHERE tenant_id IS NULL AND code = 'finance_manager'",
            group,
        )
        .await;
    company
        .sql(
            "INSERT INTO role_hierarchy (tenant_id, parent_role_id, child_role_id, created_at)
                 SELECT $1, id, $2, now() FROM roles WHERE tenant_id IS NULL AND code = 'finance_manager'",
            own_role,
        )
        .await;
    company
        .sql(
            "INSERT INTO user_roles (tenant_id, user_id, role_id)
                 SELECT $1, $2, id FROM roles WHERE tenant_id = $1 AND code = 'heir'",
            heir.user_id,
        )
        .await;
    let (_, request) = company.ask(&manager).await;
    assert_eq!(company.deciders(&request).await, sorted(&[&heir, &member]));
    company.approve(&heir, &request).await.expect(200);
}

#[tokio::test]
async fn dynamic_approvers_are_found_by_the_object_or_the_requester() {
    let company = Company::gated(json!([
        kind("sequential", dynamic("owner.manager")),
        kind("sequential", role("marketing_manager"))
    ]))
    .await;
    let (boss, owner, manager, other_boss) = (
        company.user("sales_manager").await,
        company.user("staff").await,
        company.user("manager").await,
        company.user("finance_manager").await,
    );
    company.manages(&boss, &owner).await;
    company.manages(&other_boss, &manager).await;
    let contact = company
        .contact_with(json!({ "owner_user_id": owner.user_id }))
        .await;
    let owned = super::setup::id(&company.delete(&manager, &contact).await.expect(202));
    assert_eq!(company.deciders(&owned).await, [boss.user_id]);
    let (_, unowned) = company.ask(&manager).await;
    assert_eq!(
        company.deciders(&unowned).await,
        [other_boss.user_id],
        "nobody owns it: the requester's manager"
    );
    // a new manager counts from now on
    company.manages(&other_boss, &owner).await;
    company.approve(&boss, &owned).await.expect_code(403, "FORBIDDEN");
    company.approve(&other_boss, &owned).await.expect(200);
    assert_eq!(
        company.deciders(&owned).await,
        [company.admin.user_id],
        "there is no such manager"
    );
    let done = company.approve(&company.admin, &owned).await.expect(200);
    assert_eq!(done["state"], "approved");
}

#[tokio::test]
async fn where_nobody_named_can_approve_super_admins_do() {
    let company = Company::new().await;
    let (staff, manager) = (company.user("staff").await, company.user("manager").await);
    let empty = company.group(&[]).await;
    for step in [
        role("marketing_manager"),
        group(empty),
        user(&staff),
        dynamic("owner.manager"),
        user(&manager),
    ] {
        let made = company.policy(json!({ "steps": [step] })).await;
        let (contact, request) = company.ask(&manager).await;
        assert_eq!(
            company.deciders(&request).await,
            [company.admin.user_id],
            "{step}"
        );
        assert_eq!(company.request(&request).await["deciders"][0]["escalated"], true);
        company
            .approve(&staff, &request)
            .await
            .expect_code(403, "FORBIDDEN");
        company.approve(&company.admin, &request).await.expect(200);
        assert!(!company.is_there(&contact).await);
        let path = format!("{}/{}", super::setup::POLICIES, super::setup::id(&made));
        company.approvals.delete(&company.admin, &path).await.expect(204);
    }
}

#[tokio::test]
async fn two_who_decide_at_once_leave_one_outcome() {
    for _ in 0..5 {
        let company = Company::gated(json!([role("sales_manager")])).await;
        let (one, two, manager) = (
            company.user("sales_manager").await,
            company.user("sales_manager").await,
            company.user("manager").await,
        );
        let (contact, request) = company.ask(&manager).await;
        let (yes, no) = join(
            company.approve(&one, &request),
            company.decide(&two, &request, "reject"),
        )
        .await;
        let mut statuses = [yes.status, no.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        let found = company.request(&request).await;
        let expected = if yes.status == 200 { "approved" } else { "rejected" };
        assert_eq!(found["state"], expected);
        assert_eq!(found["actions"].as_array().unwrap().len(), 1);
        assert_eq!(company.is_there(&contact).await, expected == "rejected");
    }
}

#[tokio::test]
async fn a_request_is_taken_back_by_who_made_it_or_manages_policies() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    let (approver, manager, other) = (
        company.user("sales_manager").await,
        company.user("manager").await,
        company.user("manager").await,
    );
    let (contact, request) = company.ask(&manager).await;
    for stranger in [&other, &approver] {
        let refused = company
            .decide(stranger, &request, "cancel")
            .await
            .expect_code(403, "FORBIDDEN");
        assert_eq!(refused["details"]["permission"], "approvals.policies.manage");
    }
    let mails = company.mails().await.len();
    let cancelled = company.decide(&manager, &request, "cancel").await.expect(200);
    let told =
        "SELECT array_agg(user_id) FROM inbox_messages WHERE tenant_id = $1 AND kind = 'approval_withdrawn'";
    let admin = company.world.admin_sql().await;
    let in_inbox = async || -> Vec<Uuid> {
        let row = admin.query_one(told, &[&company.world.tenant.0]).await.unwrap();
        row.get::<_, Option<Vec<Uuid>>>(0).unwrap_or_default()
    };
    assert_eq!(in_inbox().await, [approver.user_id], "its link leads nowhere now");
    assert_eq!(company.mails().await.len(), mails, "and nobody is mailed");
    assert_eq!(
        (&cancelled["state"], &states(&cancelled)[..]),
        (&json!("cancelled"), &["skipped".to_owned()][..])
    );
    company
        .decide(&manager, &request, "cancel")
        .await
        .expect_code(409, "CONFLICT");
    company
        .approve(&approver, &request)
        .await
        .expect_code(409, "CONFLICT");
    assert!(company.is_there(&contact).await);
    assert_eq!(
        company.events(&request).await,
        ["approval.requested", "approval.cancelled"]
    );
    let mails = company.mails().await.len();
    let (_, request) = company.ask(&manager).await;
    company
        .decide(&company.admin, &request, "cancel")
        .await
        .expect(200);
    let told = company.mails().await.split_off(mails);
    let to: Vec<String> = told.iter().map(|mail| mail.to.clone()).collect();
    assert_eq!(
        to,
        [email(&approver), email(&manager)],
        "asked, and told that somebody else took it back"
    );
    assert!(told[1].text.contains("cancelled"), "{}", told[1].text);
    assert_eq!(in_inbox().await, [approver.user_id; 2]);
}

/// Who has approved is told too, but not of what they took back themselves.
#[tokio::test]
async fn everybody_who_was_asked_learns_that_a_request_was_taken_back() {
    let company = Company::gated(json!([
        kind("sequential", role("sales_manager")),
        kind("sequential", role("finance_manager")),
        kind("sequential", role("admin"))
    ]))
    .await;
    let (sales, finance, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    company.user("admin").await;
    let (_, request) = company.ask(&manager).await;
    company.approve(&sales, &request).await.expect(200);
    company.decide(&manager, &request, "cancel").await.expect(200);
    let admin = company.world.admin_sql().await;
    let told = "SELECT user_id FROM inbox_messages
                WHERE tenant_id = $1 AND kind = 'approval_withdrawn' AND link_url LIKE '%/' || $2 ORDER BY user_id";
    let params: [&(dyn db::ToSql + Sync); 2] = [&company.world.tenant.0, &request];
    let rows = admin.query(told, &params).await.unwrap();
    let people: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(people, sorted(&[&sales, &finance]));
}

#[tokio::test]
async fn who_may_do_nothing_privileged_now_takes_back_only_what_is_their_own() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    company.user("sales_manager").await;
    let (me, manager) = (&company.admin, company.user("manager").await);
    let (_, theirs) = company.ask(&manager).await;
    let (_, own) = company.ask(me).await;
    let unverified = "UPDATE users SET email_verified_at = NULL WHERE tenant_id = $1 AND id = $2";
    company.sql(unverified, me.user_id).await;
    company
        .decide(me, &theirs, "cancel")
        .await
        .expect_code(403, "AUTH_EMAIL_UNVERIFIED");
    let verified = "UPDATE users SET email_verified_at = now() WHERE tenant_id = $1 AND id = $2";
    company.sql(verified, me.user_id).await;
    let (twofa, phone) = ("twofa_required_from", "phone_required_from");
    for (owed, other, code) in [
        (twofa, phone, "AUTH_2FA_SETUP_REQUIRED"),
        (phone, twofa, "AUTH_PHONE_UNVERIFIED"),
    ] {
        let owes = format!(
            "UPDATE tenants SET {other} = NULL, {owed} = now() - interval '1 day' WHERE id = $1 AND $2::uuid IS NOT NULL"
        );
        company.sql(&owes, me.user_id).await;
        company.decide(me, &theirs, "cancel").await.expect_code(403, code);
    }
    let taken_back = company.decide(me, &own, "cancel").await.expect(200);
    assert_eq!(taken_back["state"], "cancelled");
    company.decide(&manager, &theirs, "cancel").await.expect(200);
}

#[tokio::test]
async fn a_comment_has_its_bounds_and_a_body_no_other_field() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    let (approver, manager) = (company.user("sales_manager").await, company.user("manager").await);
    let (_, request) = company.ask(&manager).await;
    let path = format!("{REQUESTS}/{request}/approve");
    for body in [
        json!({ "comment": "x".repeat(2001) }),
        json!({ "comment": "a\u{0}" }),
        json!({ "comment": 1 }),
        json!({ "step": 1 }),
    ] {
        let refused = company.approvals.post(&approver, &path, &body).await;
        refused.expect_code(422, "VALIDATION_FAILED");
    }
    assert_eq!(company.request(&request).await["actions"], json!([]));
}

#[tokio::test]
async fn who_wants_no_mail_or_is_not_to_be_disturbed_finds_the_request_in_the_inbox() {
    let company = Company::gated(json!([role("finance_manager")])).await;
    let (told, silent, away) = (
        company.user("finance_manager").await,
        company.user("finance_manager").await,
        company.user("finance_manager").await,
    );
    let prefer = "INSERT INTO notification_preferences (tenant_id, user_id, prefs, updated_at) VALUES ($1, $2, $3, now())";
    let admin = company.world.admin_sql().await;
    for (user, prefs) in [
        (&silent, json!({ "transactional_email": false })),
        (&away, json!({ "dnd_until": "2999-01-01T00:00:00Z" })),
        (&told, json!({ "dnd_until": "2020-01-01T00:00:00Z" })),
    ] {
        let params: [&(dyn db::ToSql + Sync); 3] = [&company.world.tenant.0, &user.user_id, &prefs];
        admin.execute(prefer, &params).await.unwrap();
    }
    let asking = company.user("manager").await;
    company.ask(&asking).await;
    let mails = company.mails().await;
    let mailed = |user| mails.iter().filter(|mail| mail.to == email(user)).count();
    assert_eq!((mailed(&told), mailed(&silent), mailed(&away)), (1, 0, 0));
    let inbox = "SELECT count(*) FROM inbox_messages WHERE tenant_id = $1 AND kind = 'approval_requested'";
    assert_eq!(company.count(inbox).await, 3);
}
