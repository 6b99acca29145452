//! A world to test in: a tenant with users, their tokens, and a client without sockets.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::Router;
use axum::body::Body;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::{Clock, TenantId};
use serde_json::Value;
use std::collections::HashMap;
use testkit::TestDb;
use tower::ServiceExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use uuid::Uuid;
use web::{Claims, TokenVerifier, Web};

pub const ISSUER: &str = "https://api.test";
pub const AUDIENCE: &str = "m3corecrm";

/// A tenant, and a way to call functions as its users.
pub struct World {
    pub test: TestDb,
    pub tenant: TenantId,
}

/// Somebody who can call the API.
#[derive(Clone)]
pub struct Login {
    pub user_id: Uuid,
    pub session_id: Uuid,
    pub token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    #[track_caller]
    pub fn expect_text(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        self.text
    }

    #[track_caller]
    pub fn expect_code(self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["error"]["code"], code, "{body}");
        body["error"].clone()
    }
}

/// Where the suite's logs go, for the tool that searches them for personal data afterwards.
fn log() {
    let Some(folder) = config::Env::from_process()
        .optional("M3_TEST_LOGS")
        .map(str::to_owned)
    else {
        return;
    };
    let file = std::path::Path::new(&folder).join(format!("{}.log", std::process::id()));
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file)
        .unwrap();
    let levels: tracing_subscriber::filter::Targets =
        "debug,hyper=info,h2=info,rustls=info,aws_smithy_runtime=info"
            .parse()
            .unwrap();
    let lines = tracing_subscriber::fmt::layer().json().with_writer(file);
    let _ = tracing_subscriber::registry().with(lines).with(levels).try_init();
}

impl World {
    pub async fn new() -> Self {
        log();
        let test = testkit::database().await;
        let tenant = test.tenant().await;
        Self { test, tenant }
    }

    /// Another tenant of the same database.
    pub async fn neighbour(&self) -> Self {
        Self::new().await
    }

    /// A user with one of the system roles.
    pub async fn user(&self, role: &str) -> Login {
        let clock = self.test.db.clock();
        let (user_id, session_id, now) = (clock.id(), clock.id(), clock.now());
        let email = format!("{user_id}@example.com");
        let tenant = self.tenant.0;
        let caller = TestDb::system(self.tenant);
        let write = self.test.db.write(&caller, async |tx| {
            tx.execute(
                "INSERT INTO users (tenant_id, id, email, email_norm, full_name, email_verified_at, password_hash)
                 VALUES ($1, $2, $3, $3, 'Test User', now(), 'of a password that nobody knows')",
                &[&tenant, &user_id, &email],
            )
            .await?;
            tx.execute(
                "INSERT INTO user_roles (tenant_id, user_id, role_id) SELECT $1, $2, id FROM roles WHERE code = $3",
                &[&tenant, &user_id, &role],
            )
            .await?;
            tx.execute(
                "INSERT INTO sessions (tenant_id, id, user_id, created_at, last_used_at, expires_at)
                 VALUES ($1, $2, $3, $4, $4, $4::timestamptz + interval '30 days')",
                &[&tenant, &session_id, &user_id, &now],
            )
            .await
        });
        write.await.unwrap();
        Login {
            user_id,
            session_id,
            token: token(self.tenant, user_id, session_id, &claims_from(clock)),
        }
    }

    pub async fn admin(&self) -> Login {
        self.user("super_admin").await
    }

    pub fn web(&self) -> Web {
        Web::new(self.test.db.clock().clone(), Some(verifier()), "https://app.test")
    }

    /// The admin function, in a developer's environment.
    pub fn administration(&self) -> Api {
        self.administration_with(|_| ())
    }

    /// Counts followed links in a table.
    pub fn links(
        &self,
        cloud: &cloud::Cloud,
        table: &str,
        limit: cloud::RateLimit,
    ) -> admin_function::people::links::Links {
        let (clock, sealer) = (self.test.db.clock().clone(), self.test.db.sealer().clone());
        admin_function::people::links::Links::new(cloud.rate_limiter(table, clock), limit, sealer)
    }

    /// Counts mailed links in a table.
    pub fn mails(
        &self,
        cloud: &cloud::Cloud,
        table: &str,
        limits: admin_function::people::mails::Limits,
    ) -> admin_function::people::mails::Mails {
        let (clock, sealer) = (self.test.db.clock().clone(), self.test.db.sealer().clone());
        admin_function::people::mails::Mails::new(cloud.rate_limiter(table, clock), limits, sealer)
    }

    /// As [`World::mails`], for tests that are about something else.
    pub fn any_mails(&self, cloud: &cloud::Cloud) -> admin_function::people::mails::Mails {
        let limits = admin_function::people::mails::Limits::times(u32::MAX);
        self.mails(cloud, crate::messaging::stack::shared_table(), limits)
    }

    /// The admin function, set up otherwise.
    pub fn administration_with(&self, change: impl FnOnce(&mut admin_function::App)) -> Api {
        let cloud = cloud::Cloud::connect(&crate::messaging::stack::aws_env(
            &crate::messaging::stack::endpoint(),
        ))
        .unwrap();
        let mut app = admin_function::App {
            db: self.test.db.clone(),
            web: self.web(),
            bucket: cloud.bucket(crate::messaging::stack::BUCKET),
            links: self.links(&cloud, "none", cloud::LINKS),
            mails: self.any_mails(&cloud),
            app_url: "https://app.test".into(),
            is_dev: true,
        };
        change(&mut app);
        Api(admin_function::routes().into_service(app))
    }

    pub fn contacts(&self) -> Api {
        let app = contacts_function::App {
            db: self.test.db.clone(),
            web: self.web(),
            app_url: "https://app.test".into(),
        };
        Api(contacts_function::routes().into_service(app))
    }

    pub fn approvals(&self) -> Api {
        let app = approvals_function::App {
            db: self.test.db.clone(),
            web: self.web(),
            app_url: "https://app.test".into(),
        };
        Api(approvals_function::routes().into_service(app))
    }

    pub fn me(&self) -> Api {
        let app = me_function::App {
            db: self.test.db.clone(),
            jwks: serde_json::json!({ "keys": [] }).into(),
            web: self.web(),
        };
        Api(me_function::routes().into_service(app))
    }

    /// A plain connection as the application role, outside `db`.
    pub async fn as_application(&self) -> tokio_postgres::Client {
        testkit::admin_client(&self.test.settings).await
    }

    /// Runs SQL as the administrator, past row-level security.
    pub async fn admin_sql(&self) -> tokio_postgres::Client {
        testkit::admin_client(&self.test.admin).await
    }
}

/// A function's service, called without a socket.
#[derive(Clone)]
pub struct Api(pub Router);

impl Api {
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = axum::http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .0
            .clone()
            .oneshot(request.body(body.into()).unwrap())
            .await
            .unwrap();
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_str().unwrap_or("").to_owned()))
            .collect();
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap()
            .to_bytes();
        Answer {
            status,
            headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub async fn json(
        &self,
        login: &Login,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let bearer = format!("Bearer {}", login.token);
        let mut all = vec![
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        all.extend_from_slice(headers);
        self.call(method, path, &all, body.to_string()).await
    }

    pub async fn get(&self, login: &Login, path: &str) -> Answer {
        let bearer = format!("Bearer {}", login.token);
        self.call("GET", path, &[("authorization", &bearer)], Body::empty())
            .await
    }

    pub async fn post(&self, login: &Login, path: &str, body: &Value) -> Answer {
        self.json(login, "POST", path, &[], body).await
    }

    pub async fn patch(&self, login: &Login, path: &str, body: &Value) -> Answer {
        self.json(login, "PATCH", path, &[], body).await
    }

    pub async fn put(&self, login: &Login, path: &str, body: &Value) -> Answer {
        self.json(login, "PUT", path, &[], body).await
    }

    pub async fn delete(&self, login: &Login, path: &str) -> Answer {
        let bearer = format!("Bearer {}", login.token);
        self.call("DELETE", path, &[("authorization", &bearer)], Body::empty())
            .await
    }
}

/// `iat` and `exp` of a token made now.
pub fn claims_from(clock: &Clock) -> (i64, i64) {
    let now = clock.now().as_second();
    (now, now + 900)
}

pub fn token(tenant: TenantId, user_id: Uuid, session_id: Uuid, (iat, exp): &(i64, i64)) -> String {
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: user_id,
        tid: tenant.0,
        sid: session_id,
        iat: *iat,
        exp: *exp,
    };
    let header = Header {
        kid: Some("test".to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(pkcs8().as_ref())).unwrap()
}

pub fn verifier() -> TokenVerifier {
    let keys = serde_json::json!({ "keys": [{ "kid": "test", "public_key": URL_SAFE_NO_PAD.encode(public_key()) }] });
    TokenVerifier::new(&serde_json::from_value(keys).unwrap(), ISSUER, AUDIENCE).unwrap()
}

/// The same signing key in every test process.
pub fn pkcs8() -> Vec<u8> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    pair.to_pkcs8().unwrap().as_ref().to_vec()
}

pub fn public_key() -> Vec<u8> {
    Ed25519KeyPair::from_seed_unchecked(&[5; 32])
        .unwrap()
        .public_key()
        .as_ref()
        .to_vec()
}
