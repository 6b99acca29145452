//! Steps that take too long, by a clock that is moved.

use super::setup::{Company, email, kind, role, with};
use crate::messaging::stack::{Stack, task};
use crate::support::{Login, World, claims_from, token};
use jiff::SignedDuration;
use kernel::Clock;
use serde_json::{Value, json};
use std::time::Duration;

/// A company in a database of its own, whose clock stands still, and its scheduler.
struct Timed {
    company: Company,
    scheduler: scheduler_function::App,
    clock: Clock,
}

impl Timed {
    async fn new(steps: Value) -> Self {
        let mut test = testkit::fresh_database(true).await;
        let clock = Clock::fixed(Clock::system().now());
        test.db = db::Db::new(&test.settings, testkit::keys::sealer(), clock.clone()).unwrap();
        let tenant = test.tenant().await;
        let stack = Stack::of(World { test, tenant }).await;
        let company = Company::of(stack.world).await;
        // the stack's own admin would be another super admin
        company
            .sql(
                "UPDATE users SET status = 'suspended' WHERE tenant_id = $1 AND id = $2",
                stack.me.user_id,
            )
            .await;
        company.policy(json!({ "steps": steps })).await;
        Self {
            company,
            scheduler: stack.scheduler,
            clock,
        }
    }

    /// Moves the clock, lets the scheduler's minute pass twice, and returns the new e-mails.
    async fn after(&self, minutes: i64) -> Vec<String> {
        self.clock.advance(SignedDuration::from_mins(minutes));
        let before = self.company.mails().await.len();
        self.scheduler.handle(task("minute")).await.unwrap();
        self.scheduler.handle(task("minute")).await.unwrap();
        let new = self.company.mails().await.into_iter().skip(before);
        let mut to: Vec<String> = new.map(|mail| mail.to).collect();
        to.sort();
        to
    }

    /// The same person with a token of now.
    fn again(&self, login: &Login) -> Login {
        let (tenant, times) = (self.company.world.tenant, claims_from(&self.clock));
        Login {
            token: token(tenant, login.user_id, login.session_id, &times),
            ..login.clone()
        }
    }
}

#[tokio::test]
async fn a_late_step_is_reminded_of_once_and_escalated_once_to_the_manager() {
    let timed = Timed::new(json!([with(role("sales_manager"), "sla_hours", json!(4))])).await;
    let company = &timed.company;
    let (approver, boss, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    company.manages(&boss, &approver).await;
    let (contact, request) = company.ask(&manager).await;
    assert_eq!(
        timed.after(179).await,
        Vec::<String>::new(),
        "three quarters of four hours are three"
    );
    assert_eq!(timed.after(1).await, [email(&approver)]);
    assert_eq!(timed.after(59).await, Vec::<String>::new());
    let boss = timed.again(&boss);
    company
        .approve(&boss, &request)
        .await
        .expect_code(403, "FORBIDDEN");
    assert_eq!(timed.after(1).await, [email(&boss)]);
    assert_eq!(timed.after(600).await, Vec::<String>::new(), "each once");
    let (boss, admin) = (timed.again(&boss), timed.again(&company.admin));
    let path = format!("{}/{request}", super::setup::REQUESTS);
    let found = company.approvals.get(&admin, &path).await.expect(200);
    let escalated: Vec<bool> = found["deciders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["escalated"] == true)
        .collect();
    assert_eq!(
        escalated.iter().filter(|escalated| **escalated).count(),
        1,
        "the approver may still decide"
    );
    assert_eq!(escalated.len(), 2);
    company.approve(&boss, &request).await.expect(200);
    let gone = company
        .contacts
        .get(&admin, &format!("/v1/contacts/{contact}"))
        .await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn without_a_manager_super_admins_are_told_also_when_the_scheduler_was_away() {
    let timed = Timed::new(json!([with(
        kind("parallel", role("sales_manager")),
        "sla_hours",
        json!(1)
    )]))
    .await;
    let company = &timed.company;
    let (approver, manager) = (company.user("sales_manager").await, company.user("manager").await);
    company.user("sales_manager").await;
    let (_, request) = company.ask(&manager).await;
    company.approve(&approver, &request).await.expect(200);
    assert_eq!(
        timed.after(5000).await,
        [email(&company.admin)],
        "no reminder of what is escalated"
    );
    assert_eq!(timed.after(5000).await, Vec::<String>::new());
    let admin = timed.again(&company.admin);
    let done = company.approve(&admin, &request).await.expect(200);
    assert_eq!(
        done["state"], "approved",
        "who it was escalated to decides the step"
    );
}

#[tokio::test]
async fn the_hours_of_a_step_run_from_its_opening_and_end_with_it() {
    let steps = json!([
        with(kind("sequential", role("sales_manager")), "sla_hours", json!(2)),
        with(kind("sequential", role("finance_manager")), "sla_hours", json!(2)),
        kind("sequential", role("inventory_manager")),
    ]);
    let timed = Timed::new(steps).await;
    let company = &timed.company;
    let (sales, finance, manager) = (
        company.user("sales_manager").await,
        company.user("finance_manager").await,
        company.user("manager").await,
    );
    company.user("inventory_manager").await;
    let (_, request) = company.ask(&manager).await;
    assert_eq!(timed.after(60).await, Vec::<String>::new());
    company.approve(&timed.again(&sales), &request).await.expect(200);
    assert_eq!(
        timed.after(61).await,
        Vec::<String>::new(),
        "the first step is over, the second is young"
    );
    assert_eq!(timed.after(30).await, [email(&finance)]);
    company
        .approve(&timed.again(&finance), &request)
        .await
        .expect(200);
    assert_eq!(
        timed.after(100_000).await,
        Vec::<String>::new(),
        "the last step has no hours"
    );
}

/// Of whom a step waits for, only those are left who approved it: they are reminded, and repeat it.
#[tokio::test]
async fn when_the_others_have_left_those_who_approved_are_reminded() {
    let steps = json!([with(
        kind("parallel", role("sales_manager")),
        "sla_hours",
        json!(4)
    )]);
    let timed = Timed::new(steps).await;
    let company = &timed.company;
    let (one, two, manager) = (
        company.user("sales_manager").await,
        company.user("sales_manager").await,
        company.user("manager").await,
    );
    let (contact, request) = company.ask(&manager).await;
    company.approve(&one, &request).await.expect(200);
    let leave = "UPDATE users SET status = 'deactivated' WHERE tenant_id = $1 AND id = $2";
    company.sql(leave, two.user_id).await;
    assert_eq!(timed.after(180).await, [email(&one)]);
    let one = timed.again(&one);
    assert_eq!(
        company.approve(&one, &request).await.expect(200)["state"],
        "approved"
    );
    let admin = timed.again(&company.admin);
    let path = format!("/v1/contacts/{contact}");
    assert_eq!(company.contacts.get(&admin, &path).await.status, 404);
}

/// Who can't decide is not reminded, and nobody else decides for them. Paid, or let in again, they have all
/// of the hours: also for what was asked for shortly before, and was not late yet.
#[tokio::test]
async fn the_hours_stand_still_while_the_company_can_not_act_and_begin_anew() {
    let status = |status: &str| {
        format!("UPDATE tenants SET status = '{status}' WHERE id = $1 AND $2::uuid IS NOT NULL")
    };
    let plan = |set: &str| {
        format!("UPDATE tenant_subscription SET {set} WHERE tenant_id = $1 AND $2::uuid IS NOT NULL")
    };
    for (stop, start) in [
        (status("suspended"), status("active")),
        (
            plan("status = 'past_due', grace_ends_at = now() - interval '1 second'"),
            plan("status = 'active', grace_ends_at = NULL"),
        ),
        (
            plan("status = 'past_due', grace_ends_at = NULL"),
            plan("status = 'active'"),
        ),
    ] {
        let steps = json!([
            with(kind("parallel", role("sales_manager")), "sla_hours", json!(4)),
            with(kind("parallel", role("finance_manager")), "sla_hours", json!(8)),
            with(
                kind("sequential", role("inventory_manager")),
                "sla_hours",
                json!(1)
            )
        ]);
        let timed = Timed::new(steps).await;
        let company = &timed.company;
        let (sales, finance, manager) = (
            company.user("sales_manager").await,
            company.user("finance_manager").await,
            company.user("manager").await,
        );
        company.user("inventory_manager").await;
        let nobody = Vec::<String>::new();
        let (_, request) = company.ask(&manager).await;
        let me = company.admin.user_id;
        assert_eq!(timed.after(100).await, nobody);
        company.sql(&stop, me).await;
        assert_eq!(timed.after(79).await, nobody);
        company.sql(&start, me).await;
        assert_eq!(
            timed.after(1).await,
            nobody,
            "three hours are over, and not three in which to decide"
        );
        assert_eq!(timed.after(179).await, nobody);
        assert_eq!(timed.after(1).await, [email(&sales)]);
        company.sql(&stop, me).await;
        assert_eq!(timed.after(10_000).await, nobody, "nothing is escalated");
        let escalated =
            "SELECT count(*) FROM approval_request_steps WHERE tenant_id = $1 AND escalated_at IS NOT NULL";
        assert_eq!(company.count(escalated).await, 0);
        company.sql(&start, me).await;
        assert_eq!(timed.after(1).await, nobody);
        assert_eq!(timed.after(180).await, [email(&sales)], "reminded again");
        let path = format!("{}/{request}", super::setup::REQUESTS);
        let admin = timed.again(&company.admin);
        let found = company.approvals.get(&admin, &path).await.expect(200);
        let opened = |field: &str| {
            found["steps"][0][field]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .unwrap()
        };
        assert_eq!(
            opened("due_at").duration_since(opened("reminded_at")),
            SignedDuration::from_hours(1)
        );
        assert!(
            found["steps"][2]["due_at"].is_null(),
            "what waits has no hours yet"
        );
        assert_eq!(timed.after(60).await, [email(&company.admin)]);
        assert_eq!(timed.after(120).await, [email(&finance)]);
    }
}

#[tokio::test]
async fn in_the_days_of_grace_the_hours_run() {
    let timed = Timed::new(json!([with(role("sales_manager"), "sla_hours", json!(4))])).await;
    let company = &timed.company;
    let (approver, manager) = (company.user("sales_manager").await, company.user("manager").await);
    company.ask(&manager).await;
    let grace =
        "UPDATE tenant_subscription SET status = 'past_due', grace_ends_at = now() + interval '200 minutes'
                 WHERE tenant_id = $1 AND $2::uuid IS NOT NULL";
    company.sql(grace, company.admin.user_id).await;
    assert_eq!(timed.after(180).await, [email(&approver)]);
    assert_eq!(timed.after(60).await, Vec::<String>::new(), "it is over");
}

/// Who decides holds the request, then its steps; the scheduler in the other order would wait for
/// them while they wait for it.
#[tokio::test]
async fn the_scheduler_waits_for_who_decides_and_reminds_of_nothing_that_is_decided() {
    let timed = Timed::new(json!([with(role("sales_manager"), "sla_hours", json!(4))])).await;
    let company = &timed.company;
    company.user("sales_manager").await;
    let manager = company.user("manager").await;
    let (_, request) = company.ask(&manager).await;
    let request: uuid::Uuid = request.parse().unwrap();
    let (tenant, before) = (company.world.tenant.0, company.mails().await.len());
    timed.clock.advance(SignedDuration::from_mins(200));
    let (mut admin, watch) = (company.world.admin_sql().await, company.world.admin_sql().await);
    let params: [&(dyn db::ToSql + Sync); 2] = [&tenant, &request];
    let deciding = admin.transaction().await.unwrap();
    let lock = "SELECT FROM approval_requests WHERE tenant_id = $1 AND id = $2 FOR UPDATE";
    deciding.query(lock, &params).await.unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let steps =
        "UPDATE approval_request_steps SET state = 'approved' WHERE tenant_id = $1 AND request_id = $2";
    let decided = "UPDATE approval_requests SET state = 'approved', decided_at = now() WHERE tenant_id = $1 AND id = $2";
    let decide = async {
        for _ in 0..100 {
            let waits: i64 = watch.query_one(waiting, &[]).await.unwrap().get(0);
            if waits > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for change in [steps, decided] {
            deciding.execute(change, &params).await.unwrap();
        }
        deciding.commit().await.unwrap();
    };
    let (minute, ()) = futures::join!(timed.scheduler.handle(task("minute")), decide);
    minute.unwrap();
    assert_eq!(company.mails().await.len(), before, "nobody is reminded");
}
