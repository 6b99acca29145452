//! All that is done about approvals is in the audit log (S3A.9): who did it, from where and with what, what
//! was and what is.

use super::setup::call_from;
use crate::approvals::setup::{Company, POLICIES, REQUESTS, email, id, policy, role, with};
use crate::messaging::stack::{Stack, task};
use crate::support::{Api, Login, World};
use jiff::SignedDuration;
use kernel::Clock;
use serde_json::{Value, json};
use uuid::Uuid;

/// A line of the audit log.
#[derive(Debug)]
struct Line {
    action: String,
    entity_id: Option<Uuid>,
    by: (String, Option<Uuid>),
    ip: Option<String>,
    agent: Option<String>,
    was: Option<Value>,
    is: Option<Value>,
}

impl Line {
    /// What a field was, and what it is.
    fn change(&self, field: &str) -> (Value, Value) {
        let of = |data: &Option<Value>| data.as_ref().map_or(Value::Null, |data| data[field].clone());
        (of(&self.was), of(&self.is))
    }
}

async fn lines(world: &World, column: &str, value: &str) -> Vec<Line> {
    let sql = format!(
        "SELECT action, entity_id, actor, actor_user_id, ip, user_agent, before_data, after_data, request_id
         FROM audit_logs WHERE tenant_id = $1 AND {column} = $2 ORDER BY seq"
    );
    let admin = world.admin_sql().await;
    let rows = admin.query(&sql, &[&world.tenant.0, &value]).await.unwrap();
    let line = |row: &tokio_postgres::Row| {
        let request: Option<&str> = row.get(8);
        assert!(request.is_some_and(|request| !request.is_empty()));
        Line {
            action: row.get(0),
            entity_id: row.get(1),
            by: (row.get(2), row.get(3)),
            ip: row.get(4),
            agent: row.get(5),
            was: row.get(6),
            is: row.get(7),
        }
    };
    rows.iter().map(line).collect()
}

/// Requests, each from an address and with an agent of its own.
struct Trail<'a> {
    company: &'a Company,
    number: u8,
}

impl Trail<'_> {
    /// Makes a request; what it answered, and the lines that it left. Those about approvals are the caller's,
    /// from there, and are these and no others.
    async fn step(
        &mut self,
        (api, login): (&Api, &Login),
        (method, path, body): (&str, &str, Value),
        status: u16,
        actions: &[&str],
    ) -> (Value, Vec<Line>) {
        self.number += 1;
        let (ip, agent) = (
            format!("198.51.100.{}", self.number),
            format!("Agent/{}", self.number),
        );
        let answer = call_from(api, Some(login), (&ip, &agent), (method, path), &body).await;
        let request = answer.headers["x-request-id"].clone();
        let answer = answer.expect(status);
        let lines = lines(&self.company.world, "request_id", &request).await;
        let what = format!("{method} {path}");
        let about = lines.iter().filter(|line| line.action.starts_with("approval."));
        let mut found: Vec<&str> = about.clone().map(|line| line.action.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, actions, "{what}");
        for line in about {
            let what = format!("{what}: {line:?}");
            assert_eq!(line.by, ("user".to_owned(), Some(login.user_id)), "{what}");
            assert_eq!(line.ip.as_deref(), Some(ip.as_str()), "{what}");
            assert_eq!(line.agent.as_deref(), Some(agent.as_str()), "{what}");
            let (was, is) = (line.was.is_some(), line.is.is_some());
            match line.action.rsplit('.').next().unwrap() {
                "created" => assert_eq!((was, is), (false, true), "{what}"),
                "updated" => assert!(was && is && line.was != line.is, "{what}"),
                "deleted" => assert_eq!((was, is), (true, false), "{what}"),
                _ => panic!("{what}"),
            }
        }
        (answer, lines)
    }
}

/// The one line with this action.
fn only<'a>(lines: &'a [Line], action: &str) -> &'a Line {
    let mut found = lines.iter().filter(|line| line.action == action);
    let line = found.next().unwrap_or_else(|| panic!("no {action}: {lines:?}"));
    assert!(found.next().is_none(), "{action} twice: {lines:?}");
    line
}

#[tokio::test]
async fn a_policy_is_made_changed_disabled_and_deleted_by_name() {
    let company = Company::new().await;
    let door = (&company.approvals, &company.admin);
    let mut trail = Trail {
        company: &company,
        number: 0,
    };
    let events = ["approval.policy.created", "approval.step.created"];
    let request = ("POST", POLICIES, policy(json!({})));
    let (made, told) = trail.step(door, request, 201, &events).await;
    let made = id(&made);
    let created = only(&told, "approval.policy.created");
    assert_eq!(created.entity_id, made.parse().ok());
    assert_eq!(created.change("name"), (Value::Null, json!("Deletions")));
    let step = only(&told, "approval.step.created");
    assert_eq!(step.change("approver_ref").1, "sales_manager");

    let path = format!("{POLICIES}/{made}");
    let body = json!({ "name": "Removals", "steps": [role("finance_manager")] });
    let events = [
        "approval.policy.updated",
        "approval.step.created",
        "approval.step.deleted",
    ];
    let (_, told) = trail.step(door, ("PATCH", &path, body), 200, &events).await;
    let renamed = only(&told, "approval.policy.updated");
    assert_eq!(renamed.change("name"), (json!("Deletions"), json!("Removals")));
    let gone = only(&told, "approval.step.deleted");
    assert_eq!(gone.change("approver_ref").0, "sales_manager");
    let step = only(&told, "approval.step.created");
    assert_eq!(step.change("approver_ref").1, "finance_manager");

    let event = ["approval.policy.updated"];
    for (body, was, is) in [
        (json!({ "active": false }), true, false),
        (json!({ "active": true }), false, true),
    ] {
        let (_, told) = trail.step(door, ("PATCH", &path, body), 200, &event).await;
        let change = only(&told, "approval.policy.updated").change("active");
        assert_eq!(change, (json!(was), json!(is)));
    }
    let request = ("DELETE", path.as_str(), Value::Null);
    let (_, told) = trail.step(door, request, 204, &event).await;
    let (was, is) = only(&told, "approval.policy.updated").change("archived_at");
    assert!(was.is_null() && is.is_string());
}

#[tokio::test]
async fn asking_approving_rejecting_and_taking_back_say_who_did_it_and_from_where() {
    let company = Company::gated(json!([role("sales_manager")])).await;
    let (approver, requester) = (company.user("sales_manager").await, company.user("manager").await);
    let mut trail = Trail {
        company: &company,
        number: 0,
    };
    let asked = ["approval.request.created", "approval.request_step.created"];
    let decided = [
        "approval.action.created",
        "approval.request.updated",
        "approval.request_step.updated",
    ];
    let cancelled = ["approval.request.updated", "approval.request_step.updated"];
    for (verb, by, events, state) in [
        ("approve", &approver, decided.as_slice(), "approved"),
        ("reject", &approver, &decided, "rejected"),
        ("cancel", &requester, &cancelled, "cancelled"),
    ] {
        let contact = company.contact().await;
        let path = format!("/v1/contacts/{contact}");
        let door = (&company.contacts, &requester);
        let request = ("DELETE", path.as_str(), Value::Null);
        let (waiting, told) = trail.step(door, request, 202, &asked).await;
        let waiting = id(&waiting);
        let created = only(&told, "approval.request.created");
        assert_eq!(created.entity_id, waiting.parse().ok());
        assert_eq!(created.change("state"), (Value::Null, json!("pending")));
        let done = |told: &[Line]| told.iter().any(|line| line.action.starts_with("contact"));
        assert!(!done(&told), "nothing was done yet: {told:?}");

        let path = format!("{REQUESTS}/{waiting}/{verb}");
        let request = ("POST", path.as_str(), json!({}));
        let (_, told) = trail.step((&company.approvals, by), request, 200, events).await;
        let updated = only(&told, "approval.request.updated");
        assert_eq!(updated.change("state"), (json!("pending"), json!(state)));
        let step = only(&told, "approval.request_step.updated");
        assert_eq!(step.change("state").0, "open");
        if verb != "cancel" {
            let action = only(&told, "approval.action.created");
            assert_eq!(action.change("decision").1, verb);
            assert_eq!(action.change("approver_user_id").1, json!(by.user_id));
        }
        assert_eq!(done(&told), verb == "approve", "{verb}: {told:?}");
        if verb == "approve" {
            // Who asked for it does it, and not from where the approver sits.
            let deed = only(&told, "contact.updated");
            assert_eq!(deed.entity_id, contact.parse().ok());
            assert_eq!(deed.by, ("user".to_owned(), Some(requester.user_id)));
            assert_eq!((&deed.ip, &deed.agent), (&None, &None));
            let (was, is) = deed.change("archived_at");
            assert!(was.is_null() && is.is_string(), "{deed:?}");
        }
    }
}

#[tokio::test]
async fn reminders_and_escalations_are_the_schedulers() {
    let mut test = testkit::fresh_database(true).await;
    let clock = Clock::fixed(Clock::system().now());
    test.db = db::Db::new(&test.settings, testkit::keys::sealer(), clock.clone()).unwrap();
    let tenant = test.tenant().await;
    let stack = Stack::of(World { test, tenant }).await;
    let company = Company::of(stack.world).await;
    let steps = json!([with(role("sales_manager"), "sla_hours", json!(4))]);
    company.policy(json!({ "steps": steps })).await;
    let (approver, requester) = (company.user("sales_manager").await, company.user("manager").await);
    company.ask(&requester).await;
    let mut before = 0;
    for (minutes, field) in [(180, "reminded_at"), (60, "escalated_at")] {
        clock.advance(SignedDuration::from_mins(minutes));
        let mails = company.mails().await.len();
        stack.scheduler.handle(task("minute")).await.unwrap();
        let told: Vec<String> = company.mails().await.into_iter().map(|mail| mail.to).collect();
        assert!(told.len() > mails, "somebody is told");
        assert!(field == "escalated_at" || told[mails..] == [email(&approver)]);
        let lines = lines(&company.world, "actor", "scheduler").await;
        let new: Vec<&Line> = lines[before..].iter().collect();
        before = lines.len();
        let [line] = new.as_slice() else {
            panic!("one step changed: {new:?}")
        };
        assert_eq!(line.action, "approval.request_step.updated");
        assert_eq!(line.by, ("scheduler".to_owned(), None));
        assert_eq!((&line.ip, &line.agent), (&None, &None));
        let (was, is) = line.change(field);
        assert!(was.is_null() && is.is_string(), "{field}: {line:?}");
    }
}
