//! Every event that the audit log has to hold (S1.9, S12.10, S18.2), made by a real request: each line
//! says who did it, from where and with what, and of a change what was and what is.

use super::erasure::own;
use super::setup::call_from;
use crate::auth::setup::{Company, PASSWORD};
use crate::people::setup::{Office as People, service};
use crate::security::setup::{PHONE, code, link, now, wrong};
use crate::support::{Api, Login, World};
use entitlements::subscription;
use kernel::{Caller, Origin, TenantId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use totp_rs::Totp;
use uuid::Uuid;

/// By the names of the log.
const EVENTS: [&str; 50] = [
    "tenant.created",
    "user.created",
    "user.verified",
    "auth.login_failed",
    "auth.login",
    "auth.refresh_rotated",
    "auth.logout",
    "phone.verify.started",
    "phone.verify.sent",
    "phone.verify.resend",
    "phone.verify.failed",
    "phone.verify.succeeded",
    "twofa.enabled",
    "twofa.disabled",
    "user.invited",
    "invite.created",
    "user.inviteAccepted",
    "user.updated",
    "user.suspended",
    "user.reinstated",
    "user.forceLoggedOut",
    "user.deactivated",
    "role.created",
    "role.updated",
    "role.deleted",
    "role.permission.created",
    "role.permission.deleted",
    "role.hierarchy.changed",
    "role.hierarchy.created",
    "role.hierarchy.deleted",
    "user.role.changed",
    "user.role.created",
    "user.role.deleted",
    "group.created",
    "group.updated",
    "group.deleted",
    "group.member.created",
    "group.member.deleted",
    "group.role.created",
    "notification_preference.created",
    "entitlement.override.changed",
    "tenant.seat.limit_reached",
    "tenant.plan.changed",
    "tenant.subscription.updated",
    "contact.created",
    "contact.updated",
    "contact.channel.created",
    "api_key.created",
    "api_key.updated",
    "tenant.updated",
];

/// Requests, each from an address and with an agent of its own.
struct Trail {
    world: World,
    number: usize,
    seen: BTreeSet<String>,
}

/// Who a line is to name: a user, or the function that worked for nobody in particular.
#[derive(Clone, Copy)]
enum By {
    User(Uuid),
    Function(&'static str),
}

impl Trail {
    /// Makes a request and finds these events in the log, with its address and agent.
    async fn step(
        &mut self,
        (api, login): (&Api, Option<&Login>),
        (method, path, body): (&str, &str, Value),
        status: u16,
        by: By,
        actions: &[&str],
    ) -> Value {
        self.number += 1;
        let (ip, agent) = (
            format!("198.51.100.{}", self.number),
            format!("Agent/{}", self.number),
        );
        let answer = call_from(api, login, (&ip, &agent), (method, path), &body).await;
        let answer = answer.expect(status);
        if self.world.tenant.0.is_nil() {
            self.world.tenant = TenantId(answer["tenant"]["id"].as_str().unwrap().parse().unwrap());
        }
        let by = match by {
            // Of who signs up the id is not known before.
            By::User(id) if id.is_nil() => By::User(answer["user"]["id"].as_str().unwrap().parse().unwrap()),
            by => by,
        };
        self.find(&ip, &agent, by, actions).await;
        answer
    }

    async fn find(&mut self, ip: &str, agent: &str, by: By, actions: &[&str]) {
        let sql = "SELECT action, actor, actor_user_id, user_agent, before_data, after_data, request_id
                   FROM audit_logs WHERE tenant_id = $1 AND ip = $2";
        let admin = self.world.admin_sql().await;
        let lines = admin.query(sql, &[&self.world.tenant.0, &ip]).await.unwrap();
        for action in actions {
            let line = lines
                .iter()
                .find(|line| line.get::<_, &str>(0) == *action)
                .unwrap_or_else(|| {
                    let there: Vec<&str> = lines.iter().map(|line| line.get(0)).collect();
                    panic!("{action} is not among {there:?}")
                });
            let who: (&str, Option<Uuid>) = (line.get(1), line.get(2));
            match by {
                By::User(id) => assert_eq!(who, ("user", Some(id)), "{action}"),
                By::Function(name) => assert_eq!(who, (name, None), "{action}"),
            }
            assert_eq!(line.get::<_, Option<&str>>(3), Some(agent), "{action}");
            assert!(line.get::<_, Option<&str>>(6).is_some(), "{action}");
            let (was, is): (Option<Value>, Option<Value>) = (line.get(4), line.get(5));
            match action.rsplit('.').next().unwrap() {
                "updated" => assert!(was.is_some() && is.is_some() && was != is, "{action}"),
                "deleted" => assert!(was.is_some() && is.is_none(), "{action}"),
                "created" => assert!(was.is_none() && is.is_some(), "{action}"),
                _ => {}
            }
            self.seen.insert((*action).to_owned());
        }
    }
}

#[tokio::test]
async fn every_event_says_who_from_where_and_with_what() {
    let company = Company::new().await;
    let nobody = World {
        tenant: TenantId(Uuid::nil()),
        ..own(&company.world)
    };
    let mut trail = Trail {
        world: nobody,
        number: 0,
        seen: BTreeSet::new(),
    };
    let (company, me) = joined(&mut trail, &company.api).await;
    signed_in(&mut trail, &company, &me).await;
    proved(&mut trail, &company, &me).await;
    let api = service(&company.world);
    let colleague = people(&mut trail, &company, &api, &me).await;
    access(&mut trail, &api, &me, colleague).await;
    rest(&mut trail, &company, &api, &me, colleague).await;
    let missing: Vec<&&str> = EVENTS
        .iter()
        .filter(|event| !trail.seen.contains(**event))
        .collect();
    assert_eq!(missing, Vec::<&&str>::new());
}

/// Signs up, and verifies the address.
async fn joined(trail: &mut Trail, auth: &Api) -> (Company, Login) {
    let email = format!("salma-{}@example.com", testkit::unique());
    let body = json!({ "tenant_name": "Trail Homes", "full_name": "Salma Nour", "email": email, "password": PASSWORD, "delivery": "body" });
    let events = ["tenant.created", "user.created", "user.role.created"];
    let request = ("POST", "/v1/auth/signup", body);
    let signed_up = trail
        .step((auth, None), request, 201, By::User(Uuid::nil()), &events)
        .await;
    let company = Company {
        world: own(&trail.world),
        api: auth.clone(),
        email,
        signed_up,
    };
    let me = company.login(&company.signed_up);
    subscribed(trail).await;
    let token = json!({ "token": link(&company, "verify-email").await });
    let request = ("POST", "/v1/auth/verify-email", token);
    trail
        .step(
            (auth, None),
            request,
            204,
            By::User(me.user_id),
            &["user.verified"],
        )
        .await;
    (company, me)
}

/// More than a trial includes, as billing will change it.
async fn subscribed(trail: &mut Trail) {
    let (ip, agent) = ("198.51.100.201", "Billing/1");
    let origin = Origin {
        ip: Some(ip.to_owned()),
        user_agent: Some(agent.to_owned()),
        request_id: "paid".to_owned(),
        ..Origin::default()
    };
    #[expect(clippy::disallowed_methods, reason = "tests stand in for a function of ours")]
    let caller = Caller::verified_system(trail.world.tenant, "billing", origin);
    let change = async |tx| subscription::change(&tx, "dev_pro", subscription::Status::Active, None).await;
    trail.world.test.db.write(&caller, change).await.unwrap();
    let events = ["tenant.plan.changed", "tenant.subscription.updated"];
    trail.find(ip, agent, By::Function("billing"), &events).await;
}

async fn signed_in(trail: &mut Trail, company: &Company, me: &Login) {
    let (auth, by) = (&company.api, By::User(me.user_id));
    let login = |password: &str| json!({ "email": company.email, "password": password, "delivery": "body" });
    let failed = ["auth.login_failed"];
    let request = ("POST", "/v1/auth/login", login("not the one"));
    trail
        .step((auth, None), request, 401, By::Function("auth"), &failed)
        .await;
    let request = ("POST", "/v1/auth/login", login(PASSWORD));
    let answer = trail.step((auth, None), request, 200, by, &["auth.login"]).await;
    let token = json!({ "refresh_token": answer["refresh_token"] });
    let request = ("POST", "/v1/auth/refresh", token);
    let rotated = ["auth.refresh_rotated"];
    let answer = trail.step((auth, None), request, 200, by, &rotated).await;
    let token = json!({ "refresh_token": answer["refresh_token"] });
    let request = ("POST", "/v1/auth/logout", token);
    trail.step((auth, None), request, 204, by, &["auth.logout"]).await;
}

/// A verified phone, and a second factor.
async fn proved(trail: &mut Trail, company: &Company, me: &Login) {
    let (door, by) = ((&company.api, Some(me)), By::User(me.user_id));
    let start = json!({ "e164": PHONE, "channel": "sms" });
    let request = ("POST", "/v1/auth/phone/verify/start", start);
    let events = ["phone.verify.started", "phone.verify.sent"];
    trail.step(door, request, 202, by, &events).await;
    company.wait(61);
    let request = ("POST", "/v1/auth/phone/verify/resend", json!({}));
    trail.step(door, request, 202, by, &["phone.verify.resend"]).await;
    let right = code(company, "sms").await;
    for (code, status, event) in [
        (wrong(&right), 422, "phone.verify.failed"),
        (right, 200, "phone.verify.succeeded"),
    ] {
        let body = json!({ "e164": PHONE, "code": code });
        let request = ("POST", "/v1/auth/phone/verify/confirm", body);
        trail.step(door, request, status, by, &[event]).await;
    }
    let request = ("POST", "/v1/auth/totp/setup", json!({}));
    let setup = trail.step(door, request, 200, by, &["twofa.setup_started"]).await;
    let app = Totp::from_url(setup["otpauth_uri"].as_str().unwrap()).unwrap();
    let shown = || app.generate(now(company)).to_string();
    let request = ("POST", "/v1/auth/totp/confirm", json!({ "code": shown() }));
    trail.step(door, request, 200, by, &["twofa.enabled"]).await;
    company.wait(30);
    let proof = json!({ "code": shown() });
    let request = ("POST", "/v1/auth/totp/disable", proof);
    trail.step(door, request, 204, by, &["twofa.disabled"]).await;
}

/// Somebody is invited, joins, and is changed, suspended, brought back and signed out.
async fn people(trail: &mut Trail, company: &Company, api: &Api, me: &Login) -> Uuid {
    let (door, by) = ((api, Some(me)), By::User(me.user_id));
    let email = format!("basma-{}@example.com", testkit::unique());
    let body = json!({ "email": email, "full_name": "Basma Nour", "roles": ["staff"] });
    let events = [
        "user.invited",
        "user.created",
        "invite.created",
        "user.role.created",
    ];
    let request = ("POST", "/v1/admin/users/invite", body);
    let invited = trail.step(door, request, 201, by, &events).await;
    let id: Uuid = invited["id"].as_str().unwrap().parse().unwrap();
    let office = People {
        world: own(&company.world),
        api: api.clone(),
        me: me.clone(),
    };
    let token = office.links(&email).await.pop().unwrap();
    let body = json!({ "token": token, "password": PASSWORD });
    let request = ("POST", "/v1/admin/users/accept-invite", body);
    let events = ["user.inviteAccepted", "user.verified", "user.updated"];
    trail.step((api, None), request, 200, By::User(id), &events).await;
    let path = format!("/v1/admin/users/{id}");
    let request = ("PATCH", path.as_str(), json!({ "full_name": "Basma Fahmy" }));
    trail.step(door, request, 200, by, &["user.updated"]).await;
    let path = format!("/v1/admin/users/{id}/preferences");
    let request = ("PUT", path.as_str(), json!({ "locale": "ar" }));
    let event = ["notification_preference.created"];
    trail.step(door, request, 200, by, &event).await;
    for (verb, event) in [
        ("suspend", "user.suspended"),
        ("reactivate", "user.reinstated"),
        ("force-logout", "user.forceLoggedOut"),
    ] {
        let path = format!("/v1/admin/users/{id}/{verb}");
        trail
            .step(door, ("POST", &path, json!({})), 200, by, &[event])
            .await;
    }
    id
}

/// Roles, their permissions and parents, groups.
async fn access(trail: &mut Trail, api: &Api, me: &Login, colleague: Uuid) {
    let (door, by) = ((api, Some(me)), By::User(me.user_id));
    let role = |code: &str| json!({ "name": "Role", "code": code, "permissions": ["contact.read"] });
    let events = ["role.created", "role.permission.created"];
    let request = ("POST", "/v1/admin/roles", role("closers"));
    let child = trail.step(door, request, 201, by, &events).await;
    let request = ("POST", "/v1/admin/roles", role("openers"));
    let parent = trail.step(door, request, 201, by, &events).await;
    let (child, parent) = (child["id"].as_str().unwrap(), parent["id"].as_str().unwrap());
    let path = format!("/v1/admin/roles/{child}");
    let request = ("PATCH", path.as_str(), json!({ "name": "Closers" }));
    trail.step(door, request, 200, by, &["role.updated"]).await;
    let permissions = format!("{path}/permissions");
    let request = ("PUT", permissions.as_str(), json!({ "permissions": [] }));
    trail
        .step(door, request, 200, by, &["role.permission.deleted"])
        .await;
    let tree = "/v1/admin/roles/hierarchy";
    let edge = json!({ "parent_role_id": parent, "child_role_id": child });
    let events = ["role.hierarchy.changed", "role.hierarchy.created"];
    trail.step(door, ("POST", tree, edge), 201, by, &events).await;
    let edge = format!("{tree}?parent_role_id={parent}&child_role_id={child}");
    let request = ("DELETE", edge.as_str(), Value::Null);
    let events = ["role.hierarchy.changed", "role.hierarchy.deleted"];
    trail.step(door, request, 204, by, &events).await;
    let roles = format!("/v1/admin/users/{colleague}/roles");
    for (change, event) in [("assign", "user.role.created"), ("remove", "user.role.deleted")] {
        let request = ("POST", roles.as_str(), json!({ change: ["closers"] }));
        let events = ["user.role.changed", event];
        trail.step(door, request, 200, by, &events).await;
    }
    let body = json!({ "name": "Team", "code": "team", "role_ids": [parent] });
    let events = ["group.created", "group.role.created"];
    let group = trail
        .step(door, ("POST", "/v1/admin/groups", body), 201, by, &events)
        .await;
    let group = format!("/v1/admin/groups/{}", group["id"].as_str().unwrap());
    let request = ("PATCH", group.as_str(), json!({ "name": "The team" }));
    trail.step(door, request, 200, by, &["group.updated"]).await;
    let members = format!("{group}/members");
    let request = ("POST", members.as_str(), json!({ "user_ids": [colleague] }));
    trail
        .step(door, request, 201, by, &["group.member.created"])
        .await;
    let member = format!("{members}?user_id={colleague}");
    let request = ("DELETE", member.as_str(), Value::Null);
    trail
        .step(door, request, 204, by, &["group.member.deleted"])
        .await;
    let request = ("DELETE", group.as_str(), Value::Null);
    trail.step(door, request, 204, by, &["group.deleted"]).await;
    let request = ("DELETE", path.as_str(), Value::Null);
    trail.step(door, request, 204, by, &["role.deleted"]).await;
}

/// The plan, seats, records, keys, settings, and somebody who leaves.
async fn rest(trail: &mut Trail, company: &Company, api: &Api, me: &Login, colleague: Uuid) {
    let (door, by) = ((api, Some(me)), By::User(me.user_id));
    let body = json!({ "overrides": [{ "code": "users.max", "limit_value": 3 }] });
    let path = "/v1/admin/entitlements/overrides/tenant";
    let event = ["entitlement.override.changed"];
    trail.step(door, ("PUT", path, body), 200, by, &event).await;
    let body = json!({ "email": format!("last-{}@example.com", testkit::unique()), "full_name": "Last", "roles": ["staff"] });
    let request = ("POST", "/v1/admin/users/invite", body);
    trail
        .step(door, request, 201, by, &["tenant.seat.limit_reached"])
        .await;
    let contacts = company.world.contacts();
    let door_of_contacts = (&contacts, Some(me));
    let body =
        json!({ "first_name": "Omar", "channels": [{ "type": "email", "value": "omar@example.com" }] });
    let events = ["contact.created", "contact.channel.created"];
    let contact = trail
        .step(door_of_contacts, ("POST", "/v1/contacts", body), 201, by, &events)
        .await;
    let path = format!("/v1/contacts/{}", contact["id"].as_str().unwrap());
    for (method, body, status) in [
        ("PATCH", json!({ "first_name": "Omer" }), 200),
        ("DELETE", Value::Null, 204),
    ] {
        trail
            .step(
                door_of_contacts,
                (method, &path, body),
                status,
                by,
                &["contact.updated"],
            )
            .await;
    }
    let body = json!({ "name": "Sync", "scopes": ["contact.read"] });
    let request = ("POST", "/v1/admin/api-keys", body);
    let key = trail.step(door, request, 201, by, &["api_key.created"]).await;
    let path = format!("/v1/admin/api-keys/{}", key["id"].as_str().unwrap());
    let request = ("DELETE", path.as_str(), Value::Null);
    trail.step(door, request, 204, by, &["api_key.updated"]).await;
    let body = json!({ "audit_keep_months": 24 });
    let request = ("PATCH", "/v1/admin/compliance", body);
    trail.step(door, request, 200, by, &["tenant.updated"]).await;
    let path = format!("/v1/admin/users/{colleague}/deactivate");
    trail
        .step(door, ("POST", &path, json!({})), 200, by, &["user.deactivated"])
        .await;
}

/// Who follows a link in a mail has the mailbox: said once, whatever the link was for.
#[tokio::test]
async fn a_new_password_by_mail_verifies_the_address_once() {
    let company = Company::new().await;
    let me = company.login(&company.signed_up);
    for password in ["amber kite meadow 41", "copper gate meadow 42"] {
        let asked = json!({ "email": company.email });
        company.post("forgot-password", &asked).await.expect(202);
        let body = json!({ "token": link(&company, "reset-password").await, "password": password });
        company.post("reset-password", &body).await.expect(204);
    }
    let actions = company.actions().await;
    let times = |wanted: &str| actions.iter().filter(|action| *action == wanted).count();
    assert_eq!((times("auth.password_reset"), times("user.verified")), (2, 1));
    let told = "SELECT count(*) FROM event_outbox WHERE tenant_id = $1 AND entity_id = $2 AND type = 'user.verified'";
    let admin = company.world.admin_sql().await;
    let params: [&(dyn db::ToSql + Sync); 2] = [&company.world.tenant.0, &me.user_id];
    assert_eq!(admin.query_one(told, &params).await.unwrap().get::<_, i64>(0), 1);
}
