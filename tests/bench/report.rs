//! What was measured, as a table for people and as JSON for tools.
use serde_json::{Value, json};
use std::fmt::Write;

/// One figure, measured once in each round.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds the figure of a round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }
    /// The middle one; of an even number the mean of the two.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }
    /// The newest figure.
    pub fn last(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
    fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
    fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
    /// Each round's figure through the same round's figure of `other`: what both share of a slow moment falls out.
    pub fn over(&self, other: &Sample) -> Sample {
        Sample(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    fn text(&self) -> String {
        if self.0.len() < 2 {
            return number(self.median());
        }
        format!("{} ({}..{})", number(self.median()), number(self.min()), number(self.max()))
    }
    fn json(&self) -> Value {
        json!({"median": self.median(), "min": self.min(), "max": self.max(), "rounds": self.0})
    }
}

/// `12,345`, `123`, `12.3`, `1.23`
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut out = String::new();
            for (i, c) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i).is_multiple_of(3) {
                    out.push(',');
                }
                out.push(c);
            }
            out
        }
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What must be reached.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Within(f64, f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtLeast(least) => least <= value,
            Bound::AtMost(most) => value <= most,
            Bound::Within(least, most) => (least..=most).contains(&value),
        }
    }
    fn text(self) -> String {
        match self {
            Bound::AtLeast(least) => format!("≥ {}", number(least)),
            Bound::AtMost(most) => format!("≤ {}", number(most)),
            Bound::Within(least, most) => format!("{}..{}", number(least), number(most)),
        }
    }
}

/// One figure of the report.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it says, with its unit.
    pub what: String,
    pub sample: Sample,
    pub bound: Option<Bound>,
}

/// The figures of one benchmark.
#[derive(Clone, Debug)]
pub struct Report {
    pub name: &'static str,
    /// How it was measured, in a line.
    pub how: String,
    pub figures: Vec<Figure>,
}

impl Report {
    pub fn new(name: &'static str, how: impl Into<String>) -> Report {
        Report { name, how: how.into(), figures: Vec::new() }
    }
    /// A figure that is only shown: a baseline, or what explains another.
    pub fn shown(&mut self, what: impl Into<String>, sample: &Sample) {
        self.figures.push(Figure { what: what.into(), sample: sample.clone(), bound: None });
    }
    /// A figure that must reach something.
    pub fn bound(&mut self, what: impl Into<String>, sample: &Sample, bound: Bound) {
        self.figures.push(Figure { what: what.into(), sample: sample.clone(), bound: Some(bound) });
    }

    /// The report as lines.
    pub fn text(&self) -> String {
        let mut out = format!("\n{}: {}\n", self.name, self.how);
        let width = self.figures.iter().map(|f| f.what.chars().count()).max().unwrap_or_default();
        for figure in &self.figures {
            let value = figure.sample.text();
            // Writing into a string does not fail.
            let _ = write!(out, "  {:width$}  {value:>30}", figure.what);
            if let Some(bound) = figure.bound {
                let verdict = if bound.holds(figure.sample.median()) { "reached" } else { "MISSED" };
                let _ = write!(out, "  {:>14}  {verdict}", bound.text());
            }
            out.push('\n');
        }
        out
    }

    /// The report as JSON.
    pub fn json(&self) -> Value {
        let figure = |f: &Figure| {
            let mut figure = f.sample.json();
            figure["what"] = json!(f.what);
            if let Some(bound) = f.bound {
                figure["must_be"] = json!(bound.text());
                figure["reached"] = json!(bound.holds(f.sample.median()));
            }
            figure
        };
        let figures: Vec<Value> = self.figures.iter().map(figure).collect();
        json!({"name": self.name, "how": self.how, "figures": figures})
    }
}
