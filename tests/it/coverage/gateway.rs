//! template.yaml hands every request to the function whose table has it.

use super::{endpoints, filled};
use std::collections::BTreeSet;
use std::path::Path;
use yaml_rust2::{Yaml, YamlLoader};

/// A route of the HTTP API, and the function behind it.
struct Route {
    method: String,
    /// Of segments; the last may be greedy, `{proxy+}`. `$default` takes what no other does.
    path: String,
    function: String,
}

/// What template.yaml says of the doors.
struct Doors {
    routes: Vec<Route>,
    /// The functions with an address of their own, which get every path.
    urls: BTreeSet<String>,
}

fn doors() -> Doors {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let template = YamlLoader::load_from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut doors = Doors {
        routes: Vec::new(),
        urls: BTreeSet::new(),
    };
    for resource in template[0]["Resources"].as_hash().unwrap().values() {
        if resource["Type"].as_str() != Some("AWS::Serverless::Function") {
            continue;
        }
        let binary = &resource["Metadata"]["BuildProperties"]["Binary"];
        let function = binary.as_str().unwrap().to_owned();
        let properties = &resource["Properties"];
        if properties["FunctionUrlConfig"].as_hash().is_some() {
            doors.urls.insert(function.clone());
        }
        let events = properties["Events"]
            .as_hash()
            .into_iter()
            .flat_map(|events| events.values());
        for event in events.filter(|event| event["Type"].as_str() == Some("HttpApi")) {
            let said = |name: &str, otherwise: &str| {
                let value: &Yaml = &event["Properties"][name];
                value.as_str().unwrap_or(otherwise).to_owned()
            };
            doors.routes.push(Route {
                method: said("Method", "ANY"),
                path: said("Path", "$default"),
                function: function.clone(),
            });
        }
    }
    doors
}

impl Route {
    /// How exactly it fits, to be compared with how others do; `None` when it does not. API Gateway takes a
    /// full match before a greedy one and both before `$default`, and of several the most specific.
    fn fit(&self, method: &str, path: &str) -> Option<Vec<u8>> {
        const GREEDY: u8 = 1;
        const VARIABLE: u8 = 2;
        const SAME: u8 = 3;
        if self.method != "ANY" && self.method != method {
            return None;
        }
        let mut fit = Vec::new();
        if self.path == "$default" {
            return Some(fit);
        }
        let mut given = path.split('/');
        for wanted in self.path.split('/') {
            let segment = given.next()?;
            if wanted.ends_with("+}") {
                fit.push(GREEDY);
                return (!segment.is_empty()).then_some(fit);
            }
            match wanted {
                _ if wanted == segment => fit.push(SAME),
                _ if wanted.starts_with('{') => fit.push(VARIABLE),
                _ => return None,
            }
        }
        fit.push(u8::from(self.method == method));
        given.next().is_none().then_some(fit)
    }
}

/// The function that the gateway hands a request to.
fn function<'a>(routes: &'a [Route], method: &str, path: &str) -> Option<&'a str> {
    let fits = routes
        .iter()
        .filter_map(|route| Some((route.fit(method, path)?, route)));
    Some(fits.max_by_key(|(fit, _)| fit.clone())?.1.function.as_str())
}

#[test]
fn every_request_reaches_the_function_whose_table_has_it() {
    let doors = doors();
    let mut with_a_door = doors.urls.clone();
    with_a_door.extend(doors.routes.iter().map(|route| route.function.clone()));
    let with_a_table: BTreeSet<String> = endpoints()
        .iter()
        .map(|endpoint| endpoint.function.to_owned())
        .collect();
    assert_eq!(with_a_table, with_a_door);
    for endpoint in endpoints() {
        let ids = vec!["an-id"; endpoint.path.matches('{').count()];
        let path = filled(endpoint.path, &ids);
        if !doors.urls.contains(endpoint.function) {
            let reached = function(&doors.routes, endpoint.method.as_str(), &path);
            assert_eq!(
                reached,
                Some(endpoint.function),
                "{} {}",
                endpoint.method,
                endpoint.path
            );
        }
    }
}

#[test]
fn the_most_specific_route_takes_a_request() {
    let routes: Vec<Route> = [
        ("ANY", "$default", "default"),
        ("ANY", "/{proxy+}", "all"),
        ("ANY", "/v1/pets/{proxy+}", "pets"),
        ("ANY", "/v1/pets/{id}", "any pet"),
        ("GET", "/v1/pets/{id}", "a pet"),
        ("GET", "/v1/pets/cat", "the cat"),
    ]
    .map(|(method, path, function)| Route {
        method: method.to_owned(),
        path: path.to_owned(),
        function: function.to_owned(),
    })
    .into();
    for (method, path, reached) in [
        ("GET", "/v1/pets/cat", "the cat"),
        ("GET", "/v1/pets/dog", "a pet"),
        ("POST", "/v1/pets/dog", "any pet"),
        ("GET", "/v1/pets/dog/name", "pets"),
        ("GET", "/v1/pets", "all"),
        ("GET", "/", "default"),
    ] {
        assert_eq!(function(&routes, method, path), Some(reached), "{method} {path}");
    }
}
