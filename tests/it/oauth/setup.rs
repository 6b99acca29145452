use super::issuer::{CLIENT, Issuer, SECRET, Token};
use crate::auth::setup::{Company, function_with};
use crate::messaging::stack::{endpoint, table};
use crate::support::{Answer, Api};
use auth_function::Limits;
use axum::body::Body;
use serde_json::{Value, json};

pub const REDIRECT: &str = "https://app.test/oauth/callback";

/// A company whose owner has a verified address, and a provider that knows the owner.
pub struct Scene {
    pub company: Company,
    pub issuer: Issuer,
    pub api: Api,
    pub subject: String,
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(Limits::DEFAULT).await
    }

    pub async fn with(limits: Limits) -> Self {
        let (company, issuer) = (Company::new().await, Issuer::start().await);
        let scene = Self {
            api: service(&company, &providers(&issuer), limits).await,
            company,
            issuer,
            subject: testkit::unique().to_string(),
        };
        scene
            .sql(
                "UPDATE users SET email_verified_at = now() WHERE email_norm = $1",
                &scene.company.email,
            )
            .await;
        scene
    }

    /// The function with the same providers, and `DynamoDB` away.
    pub fn without_table(&self) -> Api {
        let providers = serde_json::from_value(providers(&self.issuer)).unwrap();
        let (world, limits) = (&self.company.world, Limits::DEFAULT);
        function_with(world, "http://127.0.0.1:1", "none", limits, providers)
    }

    pub async fn sql(&self, sql: &str, value: &str) {
        let admin = self.company.world.admin_sql().await;
        admin.execute(sql, &[&value]).await.unwrap();
    }

    /// The owner, as the provider tells of them.
    pub fn owner(&self) -> Value {
        json!({ "sub": self.subject, "email": self.company.email, "email_verified": true })
    }

    pub async fn start(&self, provider: &str) -> String {
        let answer = start(&self.api, provider, REDIRECT).await.expect(200);
        answer["authUrl"].as_str().unwrap().to_owned()
    }

    /// A code and a state for a person at Google.
    pub async fn authorised(&self, person: &Value, change: impl FnOnce(&mut Token)) -> (String, String) {
        self.issuer.authorise(&self.start("google").await, person, change)
    }

    pub async fn callback(&self, (code, state): &(String, String)) -> Answer {
        callback(&self.api, &body("google", code, state)).await
    }

    /// All of it.
    pub async fn sign_in(&self, person: &Value) -> Answer {
        let back = self.authorised(person, |_| {}).await;
        self.callback(&back).await
    }
}

fn providers(issuer: &Issuer) -> Value {
    json!({
        "redirect_uris": [REDIRECT],
        "google": { "client_id": CLIENT, "client_secret": SECRET, "issuer": issuer.url() },
        "linkedin": { "client_id": CLIENT, "client_secret": SECRET, "issuer": issuer.url() },
    })
}

pub async fn service(company: &Company, providers: &Value, limits: Limits) -> Api {
    let providers = serde_json::from_value(providers.clone()).unwrap();
    function_with(&company.world, &endpoint(), &table().await, limits, providers)
}

pub async fn start(api: &Api, provider: &str, redirect_uri: &str) -> Answer {
    let url = reqwest::Url::parse_with_params(
        "http://x/",
        [("provider", provider), ("redirectUri", redirect_uri)],
    );
    let path = format!("/v1/auth/oauth/start?{}", url.unwrap().query().unwrap());
    api.call("GET", &path, &[], Body::empty()).await
}

pub async fn callback(api: &Api, body: &Value) -> Answer {
    crate::auth::setup::post(api, "oauth/callback", &[], body).await
}

pub fn body(provider: &str, code: &str, state: &str) -> Value {
    json!({ "provider": provider, "code": code, "state": state, "delivery": "body" })
}
