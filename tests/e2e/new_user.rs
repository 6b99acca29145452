//! What a new user does first: signs up, verifies the address, invites a colleague, gives them a role, turns on
//! an authenticator app, is locked out, and comes back.

use crate::logs;
use crate::stack::{Answer, Stack, unique};
use serde_json::{Value, json};
use std::time::Duration;
use totp_rs::Totp;

/// Who signs in.
struct Person {
    email: String,
    password: String,
    token: String,
}

impl Person {
    fn new(who: &str) -> Self {
        Self {
            email: format!("{who}-{}@e2e.example", unique()),
            password: format!("e2e-password-{}", unique()),
            token: String::new(),
        }
    }

    /// Takes the access token of an answer that signs in.
    fn signed_in(&mut self, answer: &Value) {
        self.token = text(&answer["access_token"]);
    }

    async fn call(&self, stack: &Stack, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        stack.api(method, path, &headers, body).await
    }

    async fn log_in(&self, stack: &Stack, password: &str) -> Answer {
        let body = json!({ "email": self.email, "password": password, "delivery": "body" });
        auth(stack, "login", &body).await
    }

    /// The token of a login whose password was right.
    async fn challenge(&self, stack: &Stack) -> String {
        let error = self
            .log_in(stack, &self.password)
            .await
            .expect_error(401, "AUTH_2FA_REQUIRED");
        text(&error["details"]["challenge_token"])
    }
}

/// A request of nobody in particular.
async fn auth(stack: &Stack, verb: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    let path = format!("/v1/auth/{verb}");
    stack.api("POST", &path, &headers, body.to_string()).await
}

async fn second_step(stack: &Stack, challenge: &str, method: &str, code: &str) -> Answer {
    let body = json!({ "challenge_token": challenge, "method": method, "code": code, "delivery": "body" });
    auth(stack, "login/2fa", &body).await
}

/// The token of the link to a page that was mailed to an address.
async fn mailed(stack: &Stack, to: &str, page: &str) -> String {
    let before = format!("/{page}?token=");
    let look = async || {
        let got = stack
            .providers("GET", "/requests?provider=brevo", &Value::Null)
            .await;
        let got = got.expect(200);
        let mails = got.as_array().unwrap().iter();
        let mut ours = mails.filter(|mail| mail["body"]["to"][0]["email"] == to);
        ours.find_map(|mail| {
            let written = mail["body"].to_string();
            let rest = written.split_once(&before)?.1;
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')?;
            Some(rest[..end].to_owned())
        })
    };
    stack.wait_for(&format!("the mail for {page}"), look).await
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

#[tokio::test]
async fn from_signup_to_coming_back_after_a_lock_out() {
    let stack = Stack::running();
    let (mut owner, mut colleague) = (Person::new("olive"), Person::new("basil"));
    signs_up_and_verifies(&stack, &mut owner).await;
    let colleague_id = invites(&stack, &owner, &mut colleague).await;
    gives_a_role(&stack, &owner, &colleague, &colleague_id).await;
    let (secret, backup_codes) = turns_on_an_app(&stack, &mut owner).await;
    is_locked_out_and_recovers(&stack, &mut owner, &backup_codes).await;
    let mut also = vec![owner.token.as_str(), &colleague.token, &secret];
    also.extend(backup_codes.iter().map(String::as_str));
    logs::tell_nothing(&also);
}

async fn signs_up_and_verifies(stack: &Stack, owner: &mut Person) {
    let body = json!({
        "tenant_name": format!("E2E {}", unique()), "full_name": "Olive Quillfeather",
        "email": owner.email, "password": owner.password, "delivery": "body",
    });
    owner.signed_in(&auth(stack, "signup", &body).await.expect(201));
    let invite = json!({ "email": Person::new("early").email, "roles": ["staff"] });
    owner
        .call(stack, "POST", "/v1/admin/users/invite", &invite)
        .await
        .expect_error(403, "AUTH_EMAIL_UNVERIFIED");
    let link = json!({ "token": mailed(stack, &owner.email, "verify-email").await });
    auth(stack, "verify-email", &link).await.expect(204);
    auth(stack, "verify-email", &link)
        .await
        .expect_error(422, "VALIDATION_FAILED");
    let me = owner.call(stack, "GET", "/v1/me", &Value::Null).await.expect(200);
    assert_eq!(me["user"]["email"], owner.email);
    // Anybody can check the token with the keys that are published.
    let header = jsonwebtoken::decode_header(&owner.token).unwrap();
    let published = stack.api("GET", "/.well-known/jwks.json", &[], "").await;
    let published = published.expect(200);
    let mut keys = published["keys"].as_array().unwrap().iter();
    assert!(
        keys.any(|key| key["kid"].as_str() == header.kid.as_deref()),
        "{published}"
    );
}

/// Invites a colleague, who joins; the colleague's id.
async fn invites(stack: &Stack, owner: &Person, colleague: &mut Person) -> String {
    let body = json!({ "email": colleague.email, "full_name": "Basil Quillfeather", "roles": ["staff"] });
    let invited = owner.call(stack, "POST", "/v1/admin/users/invite", &body).await;
    let invited = invited.expect(201);
    assert_eq!(invited["status"], "invited");
    let link = mailed(stack, &colleague.email, "accept-invite").await;
    let body = json!({ "token": link, "password": colleague.password, "delivery": "body" });
    let joined = auth(stack, "accept-invite", &body).await.expect(200);
    assert_eq!(joined["user"]["id"], invited["id"]);
    auth(stack, "accept-invite", &body)
        .await
        .expect_error(422, "VALIDATION_FAILED");
    colleague.signed_in(&joined);
    text(&invited["id"])
}

/// What the colleague could not do with the first role, the next request does with the second.
async fn gives_a_role(stack: &Stack, owner: &Person, colleague: &Person, colleague_id: &str) {
    let contact = json!({ "first_name": "Gone" });
    let contact = colleague.call(stack, "POST", "/v1/contacts", &contact).await;
    let contact = format!("/v1/contacts/{}", text(&contact.expect(201)["id"]));
    let remove = async || colleague.call(stack, "DELETE", &contact, &Value::Null).await;
    let error = remove().await.expect_error(403, "FORBIDDEN");
    assert_eq!(error["details"]["permission"], "contact.delete");
    let role = json!({ "name": "Closer", "permissions": ["contact.read", "contact.delete"] });
    colleague
        .call(stack, "POST", "/v1/admin/roles", &role)
        .await
        .expect_error(403, "FORBIDDEN");
    let role = owner
        .call(stack, "POST", "/v1/admin/roles", &role)
        .await
        .expect(201);
    let path = format!("/v1/admin/users/{colleague_id}/roles");
    let given = owner
        .call(stack, "POST", &path, &json!({ "assign": [role["id"]] }))
        .await;
    assert_eq!(given.expect(200)["roles"].as_array().unwrap().len(), 2);
    remove().await.expect(204);
}

/// Sets an authenticator app up and logs in with it; the app's secret and the backup codes.
async fn turns_on_an_app(stack: &Stack, owner: &mut Person) -> (String, Vec<String>) {
    let setup = owner
        .call(stack, "POST", "/v1/auth/totp/setup", &json!({}))
        .await
        .expect(200);
    let app = Totp::from_url(setup["otpauth_uri"].as_str().unwrap()).unwrap();
    let used = shown(&app);
    let body = json!({ "code": used });
    let confirmed = owner.call(stack, "POST", "/v1/auth/totp/confirm", &body).await;
    let confirmed = confirmed.expect(200);
    let codes: Vec<String> = confirmed["backup_codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    assert_eq!(codes.len(), 10);

    let challenge = owner.challenge(stack).await;
    let with_challenge = Person {
        token: challenge.clone(),
        ..Person::new("nobody")
    };
    with_challenge
        .call(stack, "GET", "/v1/me", &Value::Null)
        .await
        .expect_error(401, "UNAUTHENTICATED");
    second_step(stack, &challenge, "totp", &used)
        .await
        .expect_error(401, "AUTH_2FA_INVALID_CODE");
    // An app shows a code for half a minute, and this one was used.
    let look = async || Some(shown(&app)).filter(|code| *code != used);
    let next = stack.wait_for("the app's next code", look).await;
    let answer = second_step(stack, &challenge, "totp", &next).await;
    owner.signed_in(&answer.expect(200));
    (text(&setup["secret"]), codes)
}

/// What the app shows now.
fn shown(app: &Totp) -> String {
    let now = kernel::Clock::system().now().as_second();
    app.generate(u64::try_from(now).unwrap()).to_string()
}

/// Too many wrong passwords shut the right one out, too. A mailed link lifts that and ends what was open; the
/// second factor stays on, and a backup code stands in for the app.
async fn is_locked_out_and_recovers(stack: &Stack, owner: &mut Person, backup_codes: &[String]) {
    for _ in 0..5 {
        owner
            .log_in(stack, "e2e-password-of-nobody")
            .await
            .expect_error(401, "AUTH_INVALID_CREDENTIALS");
    }
    let locked = owner.log_in(stack, &owner.password).await;
    let wait = locked
        .headers
        .get("retry-after")
        .map(|wait| wait.to_str().unwrap());
    assert!(
        wait.is_some_and(|wait| wait.parse::<u64>().unwrap() <= Duration::from_mins(10).as_secs()),
        "{locked:?}"
    );
    locked.expect_error(429, "RATE_LIMITED");

    for email in [owner.email.clone(), Person::new("stranger").email] {
        let answer = auth(stack, "forgot-password", &json!({ "email": email })).await;
        assert_eq!(
            answer.expect(202),
            json!({ "accepted": true }),
            "who has an account is not told"
        );
    }
    let link = mailed(stack, &owner.email, "reset-password").await;
    let forgotten = std::mem::replace(&mut owner.password, format!("e2e-password-{}", unique()));
    let body = json!({ "token": link, "password": owner.password });
    auth(stack, "reset-password", &body).await.expect(204);
    owner
        .call(stack, "GET", "/v1/me", &Value::Null)
        .await
        .expect_error(401, "UNAUTHENTICATED");
    owner
        .log_in(stack, &forgotten)
        .await
        .expect_error(401, "AUTH_INVALID_CREDENTIALS");

    let challenge = owner.challenge(stack).await;
    let answer = second_step(stack, &challenge, "backup_code", &backup_codes[0]).await;
    owner.signed_in(&answer.expect(200));
    owner.call(stack, "GET", "/v1/me", &Value::Null).await.expect(200);
    let challenge = owner.challenge(stack).await;
    second_step(stack, &challenge, "backup_code", &backup_codes[0])
        .await
        .expect_error(401, "AUTH_2FA_INVALID_CODE");
}
