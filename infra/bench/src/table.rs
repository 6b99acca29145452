//! The table that is printed: what was measured, what it should be, whether it is.

use std::fmt::{self, Display};

/// What a figure has to be.
#[derive(Clone, Copy)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// Reported beside the others.
    None,
}

struct Row {
    what: String,
    target: Target,
    value: f64,
    unit: &'static str,
    detail: String,
}

/// Rows in the order they were measured.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Adds a figure, and shows it at once: the whole takes minutes.
    pub fn add(
        &mut self,
        what: impl Into<String>,
        target: Target,
        value: f64,
        unit: &'static str,
        detail: impl Into<String>,
    ) {
        let row = Row {
            what: what.into(),
            target,
            value,
            unit,
            detail: detail.into(),
        };
        crate::complain(&format!("  {row}"));
        self.0.push(row);
    }

    /// How many figures miss their target.
    pub fn misses(&self) -> usize {
        self.0.iter().filter(|row| row.verdict() == "miss").count()
    }
}

impl Row {
    fn verdict(&self) -> &'static str {
        match self.target {
            Target::AtMost(most) if self.value > most => "miss",
            Target::AtLeast(least) if self.value < least => "miss",
            Target::None => "",
            Target::AtMost(_) | Target::AtLeast(_) => "pass",
        }
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            value,
            unit,
            detail,
            ..
        } = self;
        let target = match self.target {
            Target::AtMost(most) => format!("≤ {most}{unit}"),
            Target::AtLeast(least) => format!("≥ {least}{unit}"),
            Target::None => String::new(),
        };
        write!(
            f,
            "| {what} | {target} | {value:.2}{unit} | {} | {detail} |",
            self.verdict()
        )
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what | target | measured | | how it came about |\n|---|---|---|---|---|"
        )?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
