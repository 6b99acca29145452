//! How lists are answered. Each is called as a client calls it, on the one connection of a pool, and what it
//! sent is read back from there: the plan is that of the very text.

use crate::coverage::{functions, records::Records};
use crate::messaging::stack::Stack;
use crate::support::{Api, Login, World};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use config::Database;
use db::Db;
use kernel::Clock;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::TestDb;
use tokio_postgres::Client;

/// Lists without an index in their order: they read all that the company has in a table, which is not much
/// (some roles, at most 500 edges between them, at most 500 words), and what everybody has.
const SMALL: &[(&str, &str)] = &[
    ("/v1/admin/roles", "roles"),
    ("/v1/admin/roles/hierarchy", "role_hierarchy"),
    ("/v1/admin/job-title-codes", "dictionary_codes"),
    ("/v1/admin/department-codes", "dictionary_codes"),
];

/// Lists of what belongs to no company.
const EVERYBODYS: &[&str] = &["/v1/admin/releases"];

/// A statement as it was sent: its text, and the types of its parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sent {
    text: String,
    types: Vec<String>,
}

/// A company whose functions share one connection.
struct Narrow {
    stack: Stack,
    me: Login,
}

impl Narrow {
    async fn of(records: &Records) -> Self {
        let wide = &records.stack.world;
        let settings = Database {
            max_connections: 1,
            ..wide.test.settings.clone()
        };
        let world = World {
            test: TestDb {
                db: Db::new(&settings, testkit::keys::sealer(), Clock::system()).unwrap(),
                settings,
                admin: wide.test.admin.clone(),
            },
            tenant: wide.tenant,
        };
        Self {
            me: records.stack.me.clone(),
            stack: Stack::of(world).await,
        }
    }

    /// How often each statement was run on the connection.
    async fn runs(&self) -> BTreeMap<Sent, i64> {
        let sql = "SELECT statement, parameter_types::text[], generic_plans + custom_plans FROM pg_prepared_statements";
        let world = &self.stack.world;
        let caller = TestDb::system(world.tenant);
        let rows = world
            .test
            .db
            .read(&caller, async |tx| tx.query(sql, &[]).await)
            .await;
        let run = |row: &tokio_postgres::Row| {
            let sent = Sent {
                text: row.get(0),
                types: row.get(1),
            };
            (sent, row.get(2))
        };
        rows.unwrap().iter().map(run).collect()
    }

    /// The statement of the page that this request asks for; `None` when it answers no page.
    async fn page(&self, api: &Api, path: &str) -> Option<Sent> {
        let before = self.runs().await;
        let answer = api.get(&self.me, path).await;
        if answer.status != 200 || !answer.json()["data"].is_array() {
            return None;
        }
        let after = self.runs().await;
        let ran = |sent: &Sent| after[sent] > before.get(sent).copied().unwrap_or(0);
        let pages: Vec<&Sent> = after
            .keys()
            .filter(|sent| sent.text.contains(" LIMIT $") && ran(sent))
            .collect();
        assert_eq!(pages.len(), 1, "{path} sent {pages:#?}");
        Some(pages[0].clone())
    }
}

/// What a list can be sorted by, as it says when it is asked for something else.
async fn sorts(api: &Api, me: &Login, path: &str) -> Vec<String> {
    let error = api
        .get(me, &format!("{path}?sort=nothing"))
        .await
        .expect_code(422, "VALIDATION_FAILED");
    let message = error["details"]["fields"][0]["message"].as_str().unwrap();
    let names = message
        .strip_prefix("sort is one of ")
        .unwrap()
        .trim_end_matches('.');
    names.split(", ").map(str::to_owned).collect()
}

/// What leads to a second page in this order, had the first ended with a record of this key.
fn cursor(order: &str, key: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json!([order, key, testkit::unique()]).to_string())
}

#[tokio::test]
async fn every_list_is_a_range_of_an_index_of_the_tenant() {
    let records = Records::new().await;
    let narrow = Narrow::of(&records).await;
    let planner = planner(&records.stack.world).await;
    let (mut lists, mut plans) = (0, 0);
    for (endpoints, api) in functions(&narrow.stack).await {
        for endpoint in endpoints {
            if endpoint.method != "GET" || endpoint.access == web::Access::Operator {
                continue;
            }
            let path = records.path(endpoint.path);
            if narrow.page(&api, &path).await.is_none() {
                continue;
            }
            lists += 1;
            for sort in sorts(&api, &narrow.me, &path).await {
                for order in [sort.clone(), format!("-{sort}")] {
                    let mut sent = None;
                    // A list is sorted by times, names or ids, and refuses another's cursor.
                    for key in [json!("2026-05-01T10:00:00Z"), json!(testkit::unique())] {
                        let asked = format!("{path}?sort={order}&cursor={}", cursor(&order, &key));
                        sent = narrow.page(&api, &asked).await.or(sent);
                    }
                    let sent = sent.unwrap_or_else(|| panic!("{path} has no second page in order {order}"));
                    let plan = plan(&planner, &records.stack.world, &sent).await;
                    check(endpoint.path, &sent, &plan);
                    plans += 1;
                }
            }
        }
    }
    assert!(
        lists >= 16 && plans >= 40,
        "only {plans} plans of {lists} lists were looked at"
    );
}

/// A connection as the application role, so that the policies take part, whose planner goes through an
/// index wherever there is one that fits.
async fn planner(world: &World) -> Client {
    let client = world.as_application().await;
    let settings =
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_sort = off;
         SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off";
    client.batch_execute(settings).await.unwrap();
    let enter = "SELECT set_config('app.current_tenant_id', $1, false)";
    client.query(enter, &[&world.tenant.to_string()]).await.unwrap();
    client
}

/// The plan that the statement has for any values.
async fn plan(planner: &Client, world: &World, sent: &Sent) -> Value {
    let values = sent.types.iter().map(|kind| match kind.as_str() {
        "uuid" => format!("'{}'", world.tenant),
        "timestamp with time zone" => "now()".to_owned(),
        "text" => "'a'".to_owned(),
        "bigint" => "51".to_owned(),
        other => panic!("add a value of type {other}"),
    });
    let values: Vec<String> = values.collect();
    let prepare = format!("PREPARE page ({}) AS {}", sent.types.join(", "), sent.text);
    planner.batch_execute(&prepare).await.unwrap();
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE page ({})", values.join(", "));
    let explained: Value = planner.query_one(&explain, &[]).await.unwrap().get(0);
    planner.batch_execute("DEALLOCATE page").await.unwrap();
    explained[0]["Plan"].clone()
}

/// A node and what its rows come from, in their order; not what is looked up for each of them.
fn driving<'a>(node: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(node);
    for input in node["Plans"].as_array().into_iter().flatten() {
        if ["Outer", "Member", "Subquery"].contains(&input["Parent Relationship"].as_str().unwrap()) {
            driving(input, found);
        }
    }
}

fn every<'a>(node: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(node);
    for input in node["Plans"].as_array().into_iter().flatten() {
        every(input, found);
    }
}

fn check(path: &str, sent: &Sent, plan: &Value) {
    let text = |node: &Value, field: &str| node[field].as_str().unwrap_or_default().to_owned();
    let told = || {
        format!(
            "{path}: {}\n{}",
            sent.text,
            serde_json::to_string_pretty(plan).unwrap()
        )
    };
    let (mut nodes, mut sources) = (Vec::new(), Vec::new());
    every(plan, &mut nodes);
    driving(plan, &mut sources);
    for node in &nodes {
        let is_whole = text(node, "Node Type") == "Seq Scan";
        assert!(!is_whole, "it reads a whole table: {}", told());
    }
    if let Some((_, table)) = SMALL.iter().find(|(list, _)| *list == path) {
        let scans = nodes.iter().filter(|node| node["Relation Name"] == *table);
        let own = scans
            .clone()
            .filter(|node| text(node, "Index Cond").contains("(tenant_id = $1)"));
        let shared = scans
            .clone()
            .filter(|node| text(node, "Index Cond").contains("(tenant_id IS NULL)"));
        let ours = own.clone().count() + shared.count();
        assert!(
            own.count() == 1 && ours == scans.count(),
            "it reads other companies' rows: {}",
            told()
        );
        return;
    }
    for node in sources {
        let (kind, condition) = (text(node, "Node Type"), text(node, "Index Cond"));
        assert!(!kind.contains("Sort"), "it sorts before it cuts: {}", told());
        if !node["Plans"].is_array() {
            let of_the_tenant = condition.contains("(tenant_id = $1)") || EVERYBODYS.contains(&path);
            let is_range = of_the_tenant && condition.contains("ROW(");
            assert!(is_range, "it is no range of an index of the tenant: {}", told());
        }
    }
}
