//! Which crate may depend on which.
//!
//! Cargo keeps dependencies acyclic; this keeps them pointing the right way: doors know the domain, the domain knows
//! the database, and nobody below knows who calls.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::cargo;
use crate::paths::root;
use crate::process::output;

/// The place of a crate, told by its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Function,
    Domain,
    Kernel,
    Config,
    Db,
    Cloud,
    Web,
    Worker,
    Providers,
    /// Logs and metrics, written down without I/O of its own; stands beside config.
    Telemetry,
    /// Stands beside the layers: others may have it as a dev-dependency only.
    Testkit,
    /// `tests/` and `infra/*`: not deployed, free to use everything.
    Tool,
}

/// One dependency as a manifest states it.
struct Edge {
    from: String,
    to: String,
    /// The folder of `to` when it is a crate of this workspace.
    folder: Option<String>,
    is_dev: bool,
}

/// Libraries that do I/O or speak HTTP or AWS, by the start of their names; kernel and domain do without them.
const OUTSIDE_WORLD: [&str; 8] = [
    "aws-config",
    "aws-sdk-",
    "aws_lambda_events",
    "lambda_",
    "axum",
    "hyper",
    "reqwest",
    "aide",
];

/// Fails with one line for every dependency that the layers forbid.
pub fn run() -> Result<()> {
    let text = output(cargo().args(["metadata", "--locked", "--no-deps", "--format-version", "1"]))
        .context("Cargo.lock is out of date, or a manifest is broken")?;
    let problems = problems(&serde_json::from_str(&text)?, &root())?;
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"));
}

fn problems(metadata: &Value, root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for package in metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?
    {
        let name = text(&package["name"])?;
        let folder = relative(
            text(&package["manifest_path"])?.trim_end_matches("/Cargo.toml"),
            root,
        );
        let Some(from) = layer(&folder) else {
            problems.push(format!(
                "{name} ({folder}) is in no known layer: give it a place in infra/xtask/src/check/edges.rs, on purpose"
            ));
            continue;
        };
        let edges = edges(package, name, root)?;
        problems.extend(edges.iter().filter_map(|edge| problem(from, edge)));
        let doors = edges
            .iter()
            .filter(|edge| edge.to == "web" || edge.to == "worker")
            .count();
        if from == Layer::Function && doors > 1 {
            problems.push(format!(
                "{name} ─► web and worker: a function is one door; split what HTTP and what the queue does"
            ));
        }
    }
    Ok(problems)
}

fn edges(package: &Value, name: &str, root: &Path) -> Result<Vec<Edge>> {
    let dependencies = package["dependencies"]
        .as_array()
        .context("a package without a list of dependencies")?;
    dependencies
        .iter()
        .map(|dependency| {
            Ok(Edge {
                from: name.to_owned(),
                to: text(&dependency["name"])?.to_owned(),
                folder: dependency["path"].as_str().map(|path| relative(path, root)),
                is_dev: dependency["kind"] == "dev",
            })
        })
        .collect()
}

/// What is wrong with a dependency, and what to do instead.
fn problem(from: Layer, edge: &Edge) -> Option<String> {
    let advice = match &edge.folder {
        None => {
            let is_inner = matches!(from, Layer::Kernel | Layer::Domain) && !edge.is_dev;
            if !is_inner || !OUTSIDE_WORLD.iter().any(|start| edge.to.starts_with(start)) {
                return None;
            }
            "kernel and domain crates know no HTTP and no AWS; write a row that a consumer acts on, or move the code to \
             a platform crate"
        }
        Some(folder) => {
            let to = layer(folder)?;
            if allowed(from, to, edge.is_dev) {
                return None;
            }
            advice(from, to)
        }
    };
    Some(format!("{} ─► {}: {advice}", edge.from, edge.to))
}

fn allowed(from: Layer, to: Layer, is_dev: bool) -> bool {
    use Layer::{
        Cloud, Config, Db, Domain, Function, Kernel, Providers, Telemetry, Testkit, Tool, Web, Worker,
    };
    match (from, to) {
        (Tool, _) => return true,
        (_, Testkit) => return is_dev,
        (_, Tool | Function) => return false,
        _ => {}
    }
    match from {
        // It joins everything below: it holds the Db and names permissions itself.
        Function => true,
        Domain => matches!(to, Domain | Db | Kernel),
        Web | Worker => matches!(to, Db | Config | Telemetry | Kernel),
        Cloud | Db => matches!(to, Config | Kernel),
        Providers | Config | Telemetry => to == Kernel,
        Testkit => to != Domain,
        Kernel | Tool => false,
    }
}

fn advice(from: Layer, to: Layer) -> &'static str {
    use Layer::{Domain, Function, Testkit};
    match (from, to) {
        (Function, Function) => {
            "functions never depend on functions; move what both need into a domain crate"
        }
        (_, Testkit) => "testkit is for tests; make it a dev-dependency",
        (Domain, _) => {
            "domain crates depend on db, kernel and each other only; take the value as an argument, or write a row that \
             a consumer acts on"
        }
        (_, Domain) => "platform crates know no business; the function that uses both joins them",
        _ => {
            "platform crates depend on kernel only, cloud and db also on config, web and worker on db, config and \
             telemetry; let the function pass the value in"
        }
    }
}

fn layer(folder: &str) -> Option<Layer> {
    let parts: Vec<&str> = folder.split('/').collect();
    Some(match parts.as_slice() {
        ["functions", _] => Layer::Function,
        ["shared", "domain", _] => Layer::Domain,
        ["shared", "platform", name] => match *name {
            "kernel" => Layer::Kernel,
            "config" => Layer::Config,
            "db" => Layer::Db,
            "cloud" => Layer::Cloud,
            "web" => Layer::Web,
            "worker" => Layer::Worker,
            "providers" => Layer::Providers,
            "telemetry" => Layer::Telemetry,
            "testkit" => Layer::Testkit,
            _ => return None,
        },
        ["tests"] | ["infra", _] => Layer::Tool,
        _ => return None,
    })
}

fn relative(path: &str, root: &Path) -> String {
    Path::new(path)
        .strip_prefix(root)
        .unwrap_or(Path::new(path))
        .to_string_lossy()
        .into_owned()
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .context("cargo metadata has another form than expected")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The problems of a workspace with one crate, in `folder`, that has these dependencies (name, folder or "", kind).
    fn check(folder: &str, dependencies: &[(&str, &str, Option<&str>)]) -> Vec<String> {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|(name, folder, kind)| {
                let path = (!folder.is_empty()).then(|| format!("/repo/{folder}"));
                json!({ "name": name, "path": path, "kind": kind })
            })
            .collect();
        let name = folder.rsplit('/').next().unwrap();
        let manifest = format!("/repo/{folder}/Cargo.toml");
        let package = json!({ "name": name, "manifest_path": manifest, "dependencies": dependencies });
        problems(&json!({ "packages": [package] }), Path::new("/repo")).unwrap()
    }

    #[test]
    fn the_edges_of_the_design_pass() {
        let platform = |name: &'static str| format!("shared/platform/{name}");
        let passes = [
            ("functions/contacts", "web", platform("web")),
            (
                "functions/contacts",
                "contacts",
                "shared/domain/contacts".to_owned(),
            ),
            (
                "shared/domain/contacts",
                "audit",
                "shared/domain/audit".to_owned(),
            ),
            ("shared/domain/contacts", "db", platform("db")),
            ("shared/platform/web", "config", platform("config")),
            ("shared/platform/worker", "db", platform("db")),
            ("shared/platform/cloud", "kernel", platform("kernel")),
            ("tests", "contacts-function", "functions/contacts".to_owned()),
        ];
        for (from, to, folder) in passes {
            assert_eq!(
                check(from, &[(to, &folder, None)]),
                Vec::<String>::new(),
                "{from} to {to}"
            );
        }
    }

    #[test]
    fn every_other_edge_is_named_with_what_to_do() {
        let refused = [
            (
                "functions/contacts",
                "auth-function",
                "functions/auth",
                "into a domain crate",
            ),
            (
                "functions/contacts",
                "testkit",
                "shared/platform/testkit",
                "dev-dependency",
            ),
            (
                "shared/domain/contacts",
                "web",
                "shared/platform/web",
                "domain crates depend on",
            ),
            (
                "shared/domain/contacts",
                "cloud",
                "shared/platform/cloud",
                "domain crates depend on",
            ),
            (
                "shared/domain/contacts",
                "config",
                "shared/platform/config",
                "domain crates depend on",
            ),
            (
                "shared/platform/db",
                "contacts",
                "shared/domain/contacts",
                "know no business",
            ),
            (
                "shared/platform/web",
                "cloud",
                "shared/platform/cloud",
                "platform crates depend on",
            ),
            (
                "shared/platform/kernel",
                "db",
                "shared/platform/db",
                "platform crates depend on",
            ),
            ("shared/domain/contacts", "aws-sdk-sqs", "", "no AWS"),
            ("shared/platform/kernel", "axum", "", "no HTTP"),
        ];
        for (from, to, folder, advice) in refused {
            let found = check(from, &[(to, folder, None)]);
            assert_eq!(found.len(), 1, "{from} to {to}: {found:?}");
            let name = from.rsplit('/').next().unwrap();
            assert!(found[0].starts_with(&format!("{name} ─► {to}: ")), "{found:?}");
            assert!(found[0].contains(advice), "{found:?}");
        }
    }

    #[test]
    fn testkit_is_fine_in_tests() {
        let dependency = ("testkit", "shared/platform/testkit", Some("dev"));
        assert_eq!(
            check("shared/domain/contacts", &[dependency]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_dev_dependency_does_not_open_another_layer() {
        assert_eq!(
            check(
                "shared/domain/contacts",
                &[("web", "shared/platform/web", Some("dev"))]
            )
            .len(),
            1
        );
    }

    #[test]
    fn a_function_is_one_door() {
        let both = [
            ("web", "shared/platform/web", None),
            ("worker", "shared/platform/worker", None),
        ];
        let found = check("functions/contacts", &both);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("web and worker"), "{found:?}");
    }

    #[test]
    fn a_crate_outside_the_layers_is_told() {
        assert!(check("shared/platform/extras", &[])[0].contains("no known layer"));
    }
}
