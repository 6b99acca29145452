//! Helpers: what was sent to people, authenticator apps, verified phones.

use crate::auth::setup::{Company, PASSWORD};
use crate::support::{Answer, Api, Login, World};
use kernel::TenantId;
use serde_json::{Value, json};
use testkit::TestDb;
use totp_rs::Totp;

pub const PHONE: &str = "+201001234567";

/// A delivery that waits to be sent.
#[derive(Debug)]
pub struct Sent {
    pub channel: String,
    pub to: String,
    pub text: String,
}

/// What was sent in a company, oldest first.
pub async fn sent(world: &World) -> Vec<Sent> {
    let sql = "SELECT channel, recipient_sealed, content_sealed FROM messages_outbox WHERE tenant_id = $1 ORDER BY id";
    let rows = world
        .admin_sql()
        .await
        .query(sql, &[&world.tenant.0])
        .await
        .unwrap();
    let open = |what: &str, sealed: &[u8]| {
        let context = format!("{}/messages_outbox.{what}", world.tenant);
        world.test.db.sealer().open_text(&context, sealed).unwrap()
    };
    let sent = rows.iter().map(|row| Sent {
        channel: row.get(0),
        to: open("recipient", row.get(1)),
        text: open("content", row.get(2)),
    });
    sent.collect()
}

/// The tokens of links to a page that were sent, oldest first.
pub async fn links(world: &World, page: &str) -> Vec<String> {
    let before = format!("https://app.test/{page}?token=");
    let token = |text: &str| {
        let rest = text.split_once(&before)?.1;
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .unwrap_or(rest.len());
        Some(rest[..end].to_owned())
    };
    sent(world)
        .await
        .iter()
        .filter(|message| message.channel == "email")
        .filter_map(|message| token(&message.text))
        .collect()
}

/// The newest link to a page.
pub async fn link(company: &Company, page: &str) -> String {
    links(&company.world, page).await.pop().expect("a link was sent")
}

/// The 6 digits of the newest message to a phone.
pub async fn code(company: &Company, channel: &str) -> String {
    let sent = sent(&company.world).await;
    let newest = sent.iter().rev().find(|message| message.channel == channel);
    let newest = newest.expect("a code was sent");
    assert_eq!(newest.to, PHONE);
    newest
        .text
        .split(|c: char| !c.is_ascii_digit())
        .find(|digits| digits.len() == 6)
        .expect("six digits")
        .to_owned()
}

/// Six digits that are not these.
pub fn wrong(code: &str) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:06}", (number + 7) % 1_000_000)
}

pub async fn post(company: &Company, me: &Login, path: &str, body: &Value) -> Answer {
    company.api.post(me, &format!("/v1/auth/{path}"), body).await
}

/// A person with an authenticator app in use.
pub struct Person {
    pub company: Company,
    pub me: Login,
    pub app: Totp,
    pub backup_codes: Vec<String>,
}

impl Person {
    pub async fn new() -> Self {
        Self::of(Company::new().await).await
    }

    pub async fn of(company: Company) -> Self {
        company.verify_email().await;
        let me = company.login(&company.signed_up);
        let setup = post(&company, &me, "totp/setup", &json!({})).await.expect(200);
        let app = Totp::from_url(setup["otpauth_uri"].as_str().unwrap()).unwrap();
        let code = app.generate(now(&company)).to_string();
        let confirmed = post(&company, &me, "totp/confirm", &json!({ "code": code }))
            .await
            .expect(200);
        company.wait(30);
        Self {
            backup_codes: strings(&confirmed["backup_codes"]),
            company,
            me,
            app,
        }
    }

    /// What the app shows now.
    pub fn shown(&self) -> String {
        self.shown_at(0)
    }

    /// What an app shows whose clock differs by so many seconds.
    pub fn shown_at(&self, offset: i64) -> String {
        let at = now(&self.company).checked_add_signed(offset).unwrap();
        self.app.generate(at).to_string()
    }

    /// The token of a login whose password was right.
    pub async fn challenge(&self) -> String {
        challenge(&self.company).await
    }

    pub async fn second_step(&self, challenge: &str, method: &str, code: &str) -> Answer {
        second_step(&self.company.api, challenge, method, code).await
    }
}

pub async fn challenge(company: &Company) -> String {
    let error = company
        .log_in(PASSWORD)
        .await
        .expect_code(401, "AUTH_2FA_REQUIRED");
    error["details"]["challenge_token"].as_str().unwrap().to_owned()
}

pub async fn second_step(api: &Api, challenge: &str, method: &str, code: &str) -> Answer {
    let body = json!({ "challenge_token": challenge, "method": method, "code": code, "delivery": "body" });
    crate::auth::setup::post(api, "login/2fa", &[], &body).await
}

pub fn now(company: &Company) -> u64 {
    u64::try_from(company.world.test.db.clock().now().as_second()).unwrap()
}

pub fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

/// Verifies [`PHONE`].
pub async fn verify_phone(company: &Company, me: &Login) {
    let body = json!({ "e164": PHONE, "channel": "whatsapp" });
    post(company, me, "phone/verify/start", &body).await.expect(202);
    let body = json!({ "e164": PHONE, "code": code(company, "whatsapp").await });
    post(company, me, "phone/verify/confirm", &body).await.expect(200);
}

/// Verifies [`PHONE`] and has login codes sent to it by SMS.
pub async fn turn_on_sms(company: &Company, me: &Login) {
    verify_phone(company, me).await;
    post(company, me, "twofa/sms/enable", &json!({}))
        .await
        .expect(200);
}

/// The kinds of notices in a user's inbox, oldest first.
pub async fn inbox(company: &Company, me: &Login) -> Vec<String> {
    let sql = "SELECT kind FROM inbox_messages WHERE tenant_id = $1 AND user_id = $2 ORDER BY id";
    let admin = company.world.admin_sql().await;
    let rows = admin.query(sql, &[&company.world.tenant.0, &me.user_id]).await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

/// What the newest e-mail to a company's owner says.
pub async fn mail(company: &Company) -> String {
    let sent = sent(&company.world).await;
    let newest = sent.into_iter().rfind(|message| message.channel == "email");
    let newest = newest.expect("a mail was sent");
    assert_eq!(newest.to, company.email);
    newest.text
}

/// Whether a user's audit log names an action.
pub async fn count(company: &Company, action: &str) -> usize {
    let actions = company.actions().await;
    actions.iter().filter(|found| *found == action).count()
}

/// Runs SQL about a company as the administrator; `$1` is the company.
pub async fn number(world: &World, sql: &str) -> i64 {
    let admin = world.admin_sql().await;
    admin.query_one(sql, &[&world.tenant.0]).await.unwrap().get(0)
}

/// The same database, for a tenant of it.
pub fn again(world: &World, tenant: TenantId) -> World {
    let TestDb { settings, admin, db } = &world.test;
    let test = TestDb {
        settings: settings.clone(),
        admin: admin.clone(),
        db: db.clone(),
    };
    World { test, tenant }
}
