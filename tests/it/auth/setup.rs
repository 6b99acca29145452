//! The auth function in process, with a real table for its counters.

use crate::support::{AUDIENCE, Answer, Api, ISSUER, Login, World, pkcs8, public_key, verifier};
use auth_function::{App, Guard, Limits, Oauth, Tokens};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use axum::body::Body;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use cloud::Cloud;
use config::{Env, OauthProviders};
use jiff::SignedDuration;
use kernel::{Clock, TenantId};
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayV2httpRequestContext, ApiGatewayV2httpRequestContextHttpDescription,
};
use lambda_http::request::RequestContext;
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::TestDb;
use tower::ServiceExt;
use web::Web;

pub const PASSWORD: &str = "violet tram lantern";

/// A company that signed up, and the function it did so with. The clock stands still.
pub struct Company {
    pub world: World,
    pub api: Api,
    pub email: String,
    /// What the signup answered, delivered in the body.
    pub signed_up: Value,
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by their environment which AWS to use"
)]
pub fn endpoint() -> String {
    std::env::var("M3_TEST_AWS_ENDPOINT")
        .unwrap_or_else(|_| panic!("M3_TEST_AWS_ENDPOINT is not set; `cargo xtask test` sets it"))
}

pub fn cloud(endpoint: &str) -> Cloud {
    let pairs = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    Cloud::connect(&Env::from_pairs(pairs)).unwrap()
}

/// A table of the test's own.
async fn state_table() -> String {
    let settings = aws_sdk_dynamodb::config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint())
        .credentials_provider(Credentials::new("test", "test", None, None, "test"));
    let name = format!("state-{}", testkit::unique());
    let mut request = aws_sdk_dynamodb::Client::from_conf(settings.build())
        .create_table()
        .table_name(&name);
    for (column, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let text = AttributeDefinition::builder()
            .attribute_name(column)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap();
        let key = KeySchemaElement::builder()
            .attribute_name(column)
            .key_type(kind)
            .build()
            .unwrap();
        request = request.attribute_definitions(text).key_schema(key);
    }
    request
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    name
}

/// The keys that `support` verifies with, as the secrets hold them.
pub fn tokens() -> Tokens {
    let signing =
        json!({ "active": "test", "keys": [{ "kid": "test", "private_key": STANDARD.encode(pkcs8()) }] });
    let published =
        json!({ "keys": [{ "kid": "test", "public_key": URL_SAFE_NO_PAD.encode(public_key()) }] });
    let (signing, published) = (
        serde_json::from_value(signing).unwrap(),
        serde_json::from_value(published).unwrap(),
    );
    Tokens::new(&signing, &published, ISSUER, AUDIENCE).unwrap()
}

impl Company {
    pub async fn new() -> Self {
        Self::on(testkit::database::database_with(Clock::fixed(Clock::system().now())).await).await
    }

    /// With a database of its own, for what sweeps over all tenants.
    pub async fn alone() -> Self {
        let clock = Clock::fixed(Clock::system().now());
        Self::on(testkit::database::fresh_database_with(true, clock).await).await
    }

    async fn on(test: TestDb) -> Self {
        let world = World {
            test,
            tenant: TenantId(testkit::unique()),
        };
        let api = function(&world, &endpoint(), &state_table().await, Limits::DEFAULT);
        let email = format!("mona-{}@example.com", testkit::unique());
        let body = json!({ "tenant_name": "Nile Homes", "full_name": "Mona Ali", "email": email, "password": PASSWORD, "delivery": "body" });
        let signed_up = post(&api, "signup", &[], &body).await.expect(201);
        let world = World {
            tenant: TenantId(signed_up["tenant"]["id"].as_str().unwrap().parse().unwrap()),
            ..world
        };
        Self {
            world,
            api,
            email,
            signed_up,
        }
    }

    /// The function with `DynamoDB` away.
    pub fn without_counters(&self) -> Api {
        function(&self.world, "http://127.0.0.1:1", "none", Limits::DEFAULT)
    }

    /// The function with a table of its own and other limits.
    pub async fn with_limits(&self, limits: Limits) -> Api {
        function(&self.world, &endpoint(), &state_table().await, limits)
    }

    /// The function with tokens that are good for as long as this environment says.
    pub async fn lasting(&self, env: &Env) -> Api {
        let table = state_table().await;
        let (limits, providers) = (Limits::DEFAULT, OauthProviders::default());
        let mut app = app(&self.world, &endpoint(), &table, limits, providers);
        app.tokens = Arc::new(tokens().lasting(env).unwrap());
        Api(auth_function::routes().into_service(app))
    }

    pub fn wait(&self, seconds: i64) {
        self.world
            .test
            .db
            .clock()
            .advance(SignedDuration::from_secs(seconds));
    }

    pub async fn post(&self, verb: &str, body: &Value) -> Answer {
        post(&self.api, verb, &[], body).await
    }

    pub async fn log_in(&self, password: &str) -> Answer {
        self.post(
            "login",
            &json!({ "email": self.email, "password": password, "delivery": "body" }),
        )
        .await
    }

    /// As if the link in the mail had been followed.
    pub async fn verify_email(&self) {
        let sql = "UPDATE users SET email_verified_at = now() WHERE tenant_id = $1 AND email_norm = $2";
        let admin = self.world.admin_sql().await;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&self.world.tenant.0, &self.email];
        assert_eq!(admin.execute(sql, &params).await.unwrap(), 1);
    }

    /// Signs another company up, with the same function; nobody verifies the address.
    pub async fn sign_up(&self, email: &str, password: &str) -> Answer {
        let body = json!({ "tenant_name": "Delta Homes", "full_name": "Omar Hassan", "email": email, "password": password, "delivery": "body" });
        self.post("signup", &body).await
    }

    pub async fn refresh(&self, token: &Value) -> Answer {
        self.post("refresh", &json!({ "refresh_token": token })).await
    }

    /// The caller that an answer with tokens makes.
    pub fn login(&self, answer: &Value) -> Login {
        let token = answer["access_token"].as_str().unwrap().to_owned();
        let claims = verifier().verify(&token, self.world.test.db.clock()).unwrap();
        Login {
            user_id: claims.sub,
            session_id: claims.sid,
            token,
        }
    }

    /// What the audit log of the company says was done, oldest first.
    pub async fn actions(&self) -> Vec<String> {
        let sql = "SELECT action FROM audit_logs WHERE tenant_id = $1 ORDER BY seq";
        let rows = self
            .world
            .admin_sql()
            .await
            .query(sql, &[&self.world.tenant.0])
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

pub fn function(world: &World, endpoint: &str, table: &str, limits: Limits) -> Api {
    function_with(world, endpoint, table, limits, OauthProviders::default())
}

/// With identity providers.
pub fn function_with(
    world: &World,
    endpoint: &str,
    table: &str,
    limits: Limits,
    providers: OauthProviders,
) -> Api {
    let app = app(world, endpoint, table, limits, providers);
    Api(auth_function::routes().into_service(app))
}

fn app(world: &World, endpoint: &str, table: &str, limits: Limits, providers: OauthProviders) -> App {
    let (cloud, db) = (cloud(endpoint), world.test.db.clone());
    App {
        web: Web::new(db.clock().clone(), Some(verifier()), "https://app.test"),
        tokens: Arc::new(tokens()),
        guard: Guard::new(&cloud, table, db.sealer().clone(), db.clock().clone(), limits),
        oauth: Oauth::new(providers, &cloud, table, db.sealer().clone(), db.clock().clone()),
        app_url: "https://app.test".into(),
        cors_origins: Arc::from(["https://app.test".to_owned()]),
        db,
    }
}

pub async fn post(api: &Api, verb: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut all = vec![("content-type", "application/json"), ("user-agent", "Firefox")];
    all.extend_from_slice(headers);
    api.call("POST", &format!("/v1/auth/{verb}"), &all, body.to_string())
        .await
}

/// As [`post`], through the gateway from this address.
pub async fn post_from(api: &Api, ip: &str, verb: &str, body: &Value) -> u16 {
    answer_from(api, ip, verb, body).await.status().as_u16()
}

pub async fn answer_from(api: &Api, ip: &str, verb: &str, body: &Value) -> axum::response::Response {
    answer_with(api, ip, None, verb, body).await
}

/// As [`answer_from`], from somebody who is signed in.
pub async fn answer_with(
    api: &Api,
    ip: &str,
    me: Option<&Login>,
    verb: &str,
    body: &Value,
) -> axum::response::Response {
    let http = ApiGatewayV2httpRequestContextHttpDescription::default();
    let mut context = ApiGatewayV2httpRequestContext::default();
    context.http = http;
    context.http.source_ip = Some(ip.to_owned());
    let mut request = axum::http::Request::post(format!("/v1/auth/{verb}"))
        .header("content-type", "application/json")
        .extension(RequestContext::ApiGatewayV2(context));
    if let Some(me) = me {
        request = request.header("authorization", format!("Bearer {}", me.token));
    }
    let request = request.body(Body::from(body.to_string()));
    api.0.clone().oneshot(request.unwrap()).await.unwrap()
}
