//! What a function says about itself: JSON log lines, and metrics in `CloudWatch`'s embedded format,
//! both on standard output. Neither carries personal data, message bodies or secrets.

use kernel::Clock;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::io::Write as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The namespace of every metric.
pub const NAMESPACE: &str = "M3CoreCRM";

/// Starts logging; called once, first thing in `main`. `RUST_LOG` sets the levels, by target.
pub fn init() {
    #[expect(
        clippy::disallowed_methods,
        reason = "logging starts before the settings are read"
    )]
    let levels = std::env::var("RUST_LOG").ok();
    let levels = levels.and_then(|levels| levels.parse().ok());
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(std::io::stdout);
    // Targets, not an EnvFilter: that one compiles regular expressions at every cold start.
    let targets = levels.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    // A second call, as in tests, changes nothing.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(targets)
        .try_init();
}

/// What a metric counts in.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    Count,
    Milliseconds,
    Seconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
            Self::Seconds => "Seconds",
        }
    }
}

/// Metrics of one moment, as one line of the embedded metric format.
#[derive(Debug)]
pub struct Metrics {
    dimensions: Vec<&'static str>,
    definitions: Vec<Value>,
    fields: Map<String, Value>,
}

impl Metrics {
    /// Metrics of one function.
    #[must_use]
    pub fn of(function: &'static str) -> Self {
        Self {
            dimensions: Vec::new(),
            definitions: Vec::new(),
            fields: Map::new(),
        }
        .dimension("Function", function)
    }

    /// Another dimension; its values must be few (a code, a provider), never an id.
    #[must_use]
    pub fn dimension(mut self, name: &'static str, value: &str) -> Self {
        self.dimensions.push(name);
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn metric(mut self, name: &'static str, value: f64, unit: Unit) -> Self {
        self.definitions
            .push(json!({ "Name": name, "Unit": unit.name() }));
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// One of something.
    #[must_use]
    pub fn count(self, name: &'static str) -> Self {
        self.metric(name, 1.0, Unit::Count)
    }

    /// A field beside the metrics, for searching in the log.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Writes the line.
    pub fn emit(self, clock: &Clock) {
        let line = self.line(clock);
        let mut stdout = std::io::stdout().lock();
        // Metrics are worth less than the request they tell of.
        let _ = writeln!(stdout, "{line}");
    }

    /// CloudWatch adds nothing up over dimensions, so a metric in detail is also there by function.
    fn line(self, clock: &Clock) -> Value {
        let mut dimensions = vec![self.dimensions.clone()];
        if self.dimensions.len() > 1 {
            dimensions.insert(0, self.dimensions[..1].to_vec());
        }
        let mut line = self.fields;
        line.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": clock.now().as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": dimensions,
                    "Metrics": self.definitions,
                }],
            }),
        );
        Value::Object(line)
    }
}

/// An error and everything behind it, for a log line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_cloudwatch_reads() {
        let clock = Clock::fixed("2026-05-01T10:00:00Z".parse().unwrap());
        let line = Metrics::of("contacts")
            .metric("Latency", 12.5, Unit::Milliseconds)
            .field("status", 200)
            .line(&clock);
        let expected = json!({
            "_aws": { "Timestamp": 1_777_629_600_000_i64, "CloudWatchMetrics": [{
                "Namespace": "M3CoreCRM",
                "Dimensions": [["Function"]],
                "Metrics": [{ "Name": "Latency", "Unit": "Milliseconds" }],
            }]},
            "Function": "contacts", "Latency": 12.5, "status": 200,
        });
        assert_eq!(line, expected);
        let detailed = Metrics::of("contacts")
            .dimension("Code", "OK")
            .count("Sends")
            .line(&clock);
        let sets = &detailed["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
        assert_eq!(*sets, json!([["Function"], ["Function", "Code"]]));
    }
}
