//! The metrics that the code writes, read from its source.
//!
//! Calls are taken in the order in which they stand: from `Metrics::of` to `.emit` they say one line of metrics,
//! whatever stands between them. A name that is a parameter is whatever literal its function is called with in
//! the same file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use anyhow::Result;
use proc_macro2::{TokenStream, TokenTree};

use crate::source;

/// A metric that the code writes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// The function whose source it is in; `None` in a library that several share.
    pub function: Option<String>,
    pub name: String,
    /// The names of its dimensions.
    pub dimensions: BTreeSet<String>,
}

/// Every metric of the functions and of what they share.
pub fn written(root: &Path) -> Result<BTreeSet<Metric>> {
    let mut metrics = BTreeSet::new();
    for folder in [
        "functions",
        "shared/platform/web/src",
        "shared/platform/worker/src",
    ] {
        for file in source::files(&root.join(folder))? {
            let mut inside = file.strip_prefix(root)?.components().map(Component::as_os_str);
            let is_function = inside.next().is_some_and(|first| first == "functions");
            let name = inside.next().map(|name| name.to_string_lossy().into_owned());
            metrics.extend(of_file(
                source::tokens(&file)?,
                name.filter(|_| is_function).as_deref(),
            ));
        }
    }
    Ok(metrics)
}

fn of_file(tokens: TokenStream, function: Option<&str>) -> BTreeSet<Metric> {
    let mut reader = Reader::default();
    reader.read(tokens);
    let mut metrics = BTreeSet::new();
    for line in &reader.lines {
        let named = line.named_by.iter().filter_map(|caller| reader.calls.get(caller));
        for name in line.names.iter().chain(named.flatten()) {
            for dimensions in line.dimension_sets() {
                metrics.insert(Metric {
                    function: function.map(str::to_owned),
                    name: name.clone(),
                    dimensions,
                });
            }
        }
    }
    metrics
}

/// What one `.emit` writes.
#[derive(Default)]
struct Line {
    dimensions: Vec<String>,
    names: Vec<String>,
    /// The functions that have a metric's name as a parameter.
    named_by: Vec<String>,
}

impl Line {
    /// As `telemetry` writes them: a metric in detail is there by function too.
    fn dimension_sets(&self) -> Vec<BTreeSet<String>> {
        let set = |names: &[String]| names.iter().cloned().collect();
        vec![set(&self.dimensions[..1]), set(&self.dimensions)]
    }
}

#[derive(Default)]
struct Reader {
    lines: Vec<Line>,
    open: Option<Line>,
    /// The function that is being read.
    inside: String,
    /// The literals that functions are called with first, by their names.
    calls: BTreeMap<String, Vec<String>>,
}

impl Reader {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let before = |back: usize| at.checked_sub(back).map(|at| tokens[at].to_string());
            if let (TokenTree::Ident(name), Some("fn")) = (token, before(1).as_deref()) {
                self.inside = name.to_string();
            }
            let TokenTree::Group(arguments) = token else {
                continue;
            };
            if let Some(TokenTree::Ident(called)) = at.checked_sub(1).map(|at| &tokens[at]) {
                let owner = (before(2).as_deref() == Some(":")).then(|| before(4)).flatten();
                self.call(&called.to_string(), owner.as_deref(), arguments.stream());
            }
            self.read(arguments.stream());
        }
    }

    fn call(&mut self, called: &str, owner: Option<&str>, arguments: TokenStream) {
        let first = arguments.into_iter().next();
        let literal = match &first {
            Some(TokenTree::Literal(literal)) => source::string(literal),
            _ => None,
        };
        match (called, &mut self.open) {
            ("of", _) if owner == Some("Metrics") => {
                self.open = Some(Line {
                    dimensions: vec!["Function".to_owned()],
                    ..Line::default()
                });
            }
            ("dimension", Some(line)) => line.dimensions.extend(literal),
            ("metric" | "count", Some(line)) => match (literal, first) {
                (Some(name), _) => line.names.push(name),
                (None, Some(TokenTree::Ident(_))) => line.named_by.push(self.inside.clone()),
                _ => {}
            },
            ("emit", open) => self.lines.extend(open.take()),
            _ => {
                if let Some(literal) = literal {
                    self.calls.entry(called.to_owned()).or_default().push(literal);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn found(source: &str) -> Vec<(String, Vec<String>)> {
        let metrics = of_file(TokenStream::from_str(source).unwrap(), Some("contacts"));
        let plain = |metric: Metric| (metric.name, metric.dimensions.into_iter().collect());
        metrics.into_iter().map(plain).collect()
    }

    fn metric(name: &str, dimensions: &[&str]) -> (String, Vec<String>) {
        (
            name.to_owned(),
            dimensions.iter().map(|&name| name.to_owned()).collect(),
        )
    }

    #[test]
    fn a_metric_is_found_with_its_dimensions_and_by_function() {
        let source = r#"
            fn note(&self) {
                if rows.iter().count() > 0 { return; }
                Metrics::of(NAME).dimension("Provider", provider).count("Sends")
                    .metric("SendFailures", f64::from(u8::from(true)), Unit::Count).emit(clock);
            }"#;
        let detail = ["Function", "Provider"];
        assert_eq!(
            found(source),
            [
                metric("SendFailures", &["Function"]),
                metric("SendFailures", &detail),
                metric("Sends", &["Function"]),
                metric("Sends", &detail),
            ]
        );
    }

    #[test]
    fn a_name_may_be_added_later_or_given_by_who_calls() {
        let source = r#"
            fn report() {
                let mut metrics = Metrics::of(function).metric("Records", 1.0, Unit::Count);
                if let Some(age) = age { metrics = metrics.metric("Age", age, Unit::Seconds); }
                metrics.emit(clock);
                self.tell("Published", sent.len());
            }
            fn tell(&self, name: &'static str, count: usize) {
                Metrics::of(NAME).metric(name, count, Unit::Count).emit(clock);
            }"#;
        assert_eq!(
            found(source),
            [
                metric("Age", &["Function"]),
                metric("Published", &["Function"]),
                metric("Records", &["Function"]),
            ]
        );
    }
}
