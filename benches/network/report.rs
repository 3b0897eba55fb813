//! What was measured: rows of figures, as a table for people and as CSV.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::Result;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) nodes: usize,
    pub(crate) scenario: String,
    pub(crate) measure: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
}

/// The figures of one network.
pub(crate) struct Report {
    nodes: usize,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(nodes: usize) -> Report {
        Report {
            nodes,
            rows: Vec::new(),
        }
    }

    /// A figure, which is also shown at once: a large network takes its time.
    pub(crate) fn add(&mut self, scenario: &str, measure: &str, value: f64, unit: &str) {
        eprintln!(
            "{} nodes, {scenario}: {measure} {} {unit}",
            self.nodes,
            short(value)
        );
        self.rows.push(Row {
            nodes: self.nodes,
            scenario: scenario.into(),
            measure: measure.into(),
            value,
            unit: unit.into(),
        });
    }

    /// How many of `all` there were, in percent.
    pub(crate) fn share(&mut self, scenario: &str, measure: &str, some: usize, all: usize) {
        let share = 100.0 * some as f64 / all.max(1) as f64;
        self.add(scenario, measure, share, "%");
    }

    /// The middle and the 99th of a hundred.
    pub(crate) fn times(&mut self, scenario: &str, measure: &str, times: &[Duration]) {
        let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            return;
        }
        for (name, part) in [("median", 0.5), ("p99", 0.99)] {
            let value = quantile(&sorted, part);
            self.add(scenario, &format!("{measure}, {name}"), value, "ms");
        }
    }

    /// Says why something failed, each reason once.
    pub(crate) fn failures(&self, scenario: &str, failures: &[String]) {
        let mut kinds: Vec<(String, usize)> = Vec::new();
        for failure in failures {
            // The same but for names: what stands between them is the reason.
            let kind: Vec<&str> = failure.split(' ').filter(|word| word.len() < 40).collect();
            let kind = kind.join(" ");
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((kind, 1)),
            }
        }
        for (kind, count) in kinds.iter().take(10) {
            eprintln!("{} nodes, {scenario}: {count} failed: {kind}", self.nodes);
        }
    }
}

/// The smallest value that at least this part of all is no larger than.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let n = (sorted.len() as f64 * part).ceil() as usize;
    sorted[n.clamp(1, sorted.len()) - 1]
}

/// With as many digits as say something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        0.0 => "0".into(),
        _ => format!("{value:.4}"),
    }
}

const HEAD: &str = "nodes,scenario,measure,value,unit";

/// Puts rows into the file, in place of those of the same network and scenario.
pub(crate) fn save(path: &Path, rows: &[Row]) -> Result<()> {
    let mut all = load(path)?;
    all.retain(|old| {
        let same = |new: &Row| new.nodes == old.nodes && new.scenario == old.scenario;
        !rows.iter().any(same)
    });
    all.extend_from_slice(rows);
    all.sort_by_key(|row| row.nodes);
    let mut text = format!("{HEAD}\n");
    for row in &all {
        // Names of measures have commas of their own.
        let measure = row.measure.replace(',', ";");
        writeln!(
            text,
            "{},{},{measure},{},{}",
            row.nodes, row.scenario, row.value, row.unit
        )?;
    }
    std::fs::write(path, text)?;
    Ok(())
}

/// The rows of a file; none when there is no such file.
pub(crate) fn load(path: &Path) -> Result<Vec<Row>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err(format!("{} is not a file of figures", path.display()).into());
    }
    lines.map(parse).collect()
}

fn parse(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split(',').collect();
    let [nodes, scenario, measure, value, unit] = fields[..] else {
        return Err(format!("not a row of figures: {line}").into());
    };
    Ok(Row {
        nodes: nodes.parse()?,
        scenario: scenario.into(),
        measure: measure.replace(';', ","),
        value: value.parse()?,
        unit: unit.into(),
    })
}

/// A table with a column for each size of the network.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.nodes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut measures: Vec<(&str, &str, &str)> = Vec::new();
    for row in rows {
        let key = (&*row.scenario, &*row.measure, &*row.unit);
        if !measures.contains(&key) {
            measures.push(key);
        }
    }
    measures.sort_by_key(|(scenario, ..)| crate::SCENARIOS.iter().position(|s| s == scenario));
    let mut text = String::from("| scenario | measure |");
    for size in &sizes {
        let _ = write!(text, " {size} |");
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(sizes.len()));
    for (scenario, measure, unit) in measures {
        let comma = if unit.is_empty() { "" } else { ", " };
        let _ = write!(text, "\n| {scenario} | {measure}{comma}{unit} |");
        for size in &sizes {
            let found = rows.iter().find(|row| {
                row.nodes == *size && row.scenario == scenario && row.measure == measure
            });
            let value = found.map_or("-".into(), |row| short(row.value));
            let _ = write!(text, " {value} |");
        }
    }
    text.push('\n');
    text
}
