//! The admin function in process, with a bucket of the test's own.

use crate::messaging::stack::{aws_env, digits, endpoint, s3};
use crate::support::{Answer, Api, Login, World};
use axum::body::Body;
use cloud::Cloud;
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayV2httpRequestContext, ApiGatewayV2httpRequestContextHttpDescription,
};
use lambda_http::request::RequestContext;
use serde_json::Value;
use std::io::Read;
use std::time::Duration;
use tokio::sync::oneshot;
use tower::ServiceExt;

/// A company with its admin, and where its exports go.
pub struct Office {
    pub world: World,
    pub me: Login,
    pub app: admin_function::App,
    pub api: Api,
    pub bucket: String,
}

impl Office {
    pub async fn new() -> Self {
        Self::of(World::new().await).await
    }

    pub async fn of(world: World) -> Self {
        let bucket = bucket().await;
        let app = app(&world, &bucket);
        Self {
            me: world.admin().await,
            api: Api(admin_function::routes().into_service(app.clone())),
            app,
            bucket,
            world,
        }
    }

    /// Adds lines to the audit log, whose entities are new and whose data is `{"text": …}`.
    pub async fn audit(&self, lines: i32, text: &str) {
        let admin = self.world.admin_sql().await;
        let enter = "SELECT set_config('app.current_tenant_id', $1, false)";
        admin
            .query(enter, &[&self.world.tenant.to_string()])
            .await
            .unwrap();
        let add = "SELECT count(app.audit('test.done', 'test', gen_random_uuid(), NULL, jsonb_build_object('text', $2::text)))
                   FROM generate_series(1, $1)";
        let mut left = lines;
        // One transaction keeps every version of the chain's row, so a long one is slow.
        while left > 0 {
            let batch = left.min(500);
            admin.query(add, &[&batch, &text]).await.unwrap();
            left -= batch;
        }
    }

    /// The first position at which the chain does not hold.
    pub async fn break_at(&self) -> Option<i64> {
        let caller = testkit::TestDb::system(self.world.tenant);
        let found = self.world.test.db.read(&caller, async |tx| {
            tx.query_one("SELECT app.audit_chain_break()", &[]).await
        });
        found.await.unwrap().get(0)
    }

    /// The actions of the audit log, oldest first.
    pub async fn actions(&self) -> Vec<String> {
        let sql = "SELECT action FROM audit_logs WHERE tenant_id = $1 ORDER BY seq";
        let admin = self.world.admin_sql().await;
        let rows = admin.query(sql, &[&self.world.tenant.0]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

pub fn app(world: &World, bucket: &str) -> admin_function::App {
    let cloud = Cloud::connect(&aws_env(&endpoint())).unwrap();
    admin_function::App {
        db: world.test.db.clone(),
        web: world.web(),
        bucket: cloud.bucket(bucket),
        links: world.links(&cloud, "none", cloud::LINKS),
        mails: world.any_mails(&cloud),
        app_url: "https://app.test".into(),
        is_dev: true,
    }
}

pub fn admin(world: &World, bucket: &str) -> Api {
    Api(admin_function::routes().into_service(app(world, bucket)))
}

pub async fn bucket() -> String {
    let name = format!("compliance-{}", digits());
    s3().create_bucket().bucket(&name).send().await.unwrap();
    name
}

/// Every object of a bucket: its key, and what it holds; of a zip, what its files hold.
pub async fn objects(bucket: &str) -> Vec<(String, Vec<u8>)> {
    let listed = s3().list_objects_v2().bucket(bucket).send().await.unwrap();
    let mut found = Vec::new();
    for object in listed.contents() {
        let key = object.key().unwrap().to_owned();
        let got = s3().get_object().bucket(bucket).key(&key).send().await.unwrap();
        let bytes = got.body.collect().await.unwrap().to_vec();
        let is_zip = key.to_lowercase().ends_with(".zip");
        found.push((
            key,
            if is_zip {
                unzipped(&bytes)
                    .into_iter()
                    .flat_map(|(_, text)| text.into_bytes())
                    .collect()
            } else {
                bytes
            },
        ));
    }
    found
}

/// The files of a zip: their names and texts.
pub fn unzipped(bytes: &[u8]) -> Vec<(String, String)> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    (0..zip.len())
        .map(|at| {
            let mut file = zip.by_index(at).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            (file.name().unwrap().into_owned(), text)
        })
        .collect()
}

/// What a presigned link leads to.
pub async fn download(answer: &Value) -> Vec<u8> {
    let got = fetch(answer["url"].as_str().unwrap()).await;
    assert_eq!(got.status(), 200);
    got.bytes().await.unwrap().to_vec()
}

/// A transaction that stays open until it is told to end: the side within, and the side without.
pub fn held_open() -> (Within, Without) {
    let ((opened, is_open), (release, released)) = (oneshot::channel(), oneshot::channel());
    (Within(opened, released), Without(is_open, release))
}

pub struct Within(oneshot::Sender<()>, oneshot::Receiver<()>);
pub struct Without(oneshot::Receiver<()>, oneshot::Sender<()>);

impl Within {
    /// Says that what others wait for is held, and stays.
    pub async fn stay(self) {
        self.0.send(()).unwrap();
        self.1.await.unwrap();
    }
}

impl Without {
    /// Does something that has to wait, once it is held, and lets go when it had the time to begin.
    pub async fn meanwhile<T>(self, work: impl Future<Output = T>) -> T {
        self.0.await.unwrap();
        let let_go = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.1.send(()).unwrap();
        };
        futures::join!(work, let_go).0
    }
}

/// As a browser follows a link.
pub async fn fetch(url: &str) -> reqwest::Response {
    // The first test of the process installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::get(url).await.unwrap()
}

/// A request through the gateway, from this address and agent.
pub async fn call_from(
    api: &Api,
    login: Option<&Login>,
    (ip, agent): (&str, &str),
    (method, path): (&str, &str),
    body: &Value,
) -> Answer {
    let mut context = ApiGatewayV2httpRequestContext::default();
    context.http = ApiGatewayV2httpRequestContextHttpDescription::default();
    context.http.source_ip = Some(ip.to_owned());
    let mut request = axum::http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("user-agent", agent)
        .extension(RequestContext::ApiGatewayV2(context));
    if let Some(login) = login {
        request = request.header("authorization", format!("Bearer {}", login.token));
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = api.0.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned()));
    let headers = headers.collect();
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
