//! A parser of the Prometheus text format, which reads the figures shown by `/metrics`.
//!
//! The text was written by this program, possibly in another version. A line that is not
//! understood is skipped.

use std::collections::BTreeMap;

use super::quantile::{Bucket, quantile};

/// One line of the text: a name, its labels and a value.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        let (_, value) = self.labels.iter().find(|(n, _)| n == name)?;
        Some(value)
    }
}

/// All samples of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Parses the text format, version 0.0.4.
    pub fn parse(text: &str) -> Samples {
        Samples(text.lines().filter_map(line).collect())
    }

    /// Returns the sum of all series called `name`, or `None` when there is no such
    /// series.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.sum_where(name, &[])
    }

    /// Returns the sum of the series called `name` that have all of `labels`.
    pub fn sum_where(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.0
            .iter()
            .filter(|s| s.name == name)
            .filter(|s| labels.iter().all(|(n, v)| s.label(n) == Some(v)))
            .map(|s| s.value)
            .reduce(|a, b| a + b)
    }

    /// Returns the series called `name`, summed by the values of `label`.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.0.iter().filter(|s| s.name == name) {
            if let Some(value) = sample.label(label) {
                *sums.entry(value.to_owned()).or_insert(0.0) += sample.value;
            }
        }
        sums
    }

    /// Returns only the series whose `label` has one of `values`.
    pub fn only(&self, label: &str, values: &[&str]) -> Samples {
        let kept = self.0.iter().filter(|s| {
            let value = s.label(label);
            value.is_some_and(|v| values.contains(&v))
        });
        Samples(kept.cloned().collect())
    }

    /// Returns only the series whose `label` does not have `value`.
    pub fn without(&self, label: &str, value: &str) -> Samples {
        let kept = self.0.iter().filter(|s| s.label(label) != Some(value));
        Samples(kept.cloned().collect())
    }

    /// Returns the number of observations above `bound`, which must be the bound of a
    /// bucket of the histogram `name`. When it is not, all observations are counted.
    pub fn above(&self, bound: f64, name: &str) -> f64 {
        let buckets = self.buckets(name);
        let all = buckets.last().map_or(0.0, |b| b.count);
        let within = buckets.iter().find(|b| b.le == bound);
        all - within.map_or(0.0, |b| b.count)
    }

    /// Returns the buckets of the histogram `name`, summed over all other labels.
    pub fn buckets(&self, name: &str) -> Vec<Bucket> {
        let mut sums: Vec<Bucket> = Vec::new();
        for (le, count) in self.by(&format!("{name}_bucket"), "le") {
            if let Some(le) = number(&le) {
                sums.push(Bucket { le, count });
            }
        }
        sums.sort_by(|a, b| a.le.total_cmp(&b.le));
        sums
    }

    /// Returns the quantile `q` of the histogram `name` over all its series, and the
    /// number of observations on which it is based. It is `None` when there are none.
    pub fn quantile(&self, q: f64, name: &str) -> Option<(f64, f64)> {
        let buckets = self.buckets(name);
        Some((quantile(q, &buckets)?, buckets.last()?.count))
    }

    /// Returns how much every series has grown since `earlier`. This is useful only for
    /// counters and histograms. A series that is not in `earlier` began at zero; a series
    /// that has become smaller belongs to another run and is counted from zero.
    pub fn since(&self, earlier: &Samples) -> Samples {
        let before: BTreeMap<_, f64> = earlier
            .0
            .iter()
            .map(|s| ((&s.name, &s.labels), s.value))
            .collect();
        let since = self.0.iter().map(|s| {
            let from = before.get(&(&s.name, &s.labels)).copied().unwrap_or(0.0);
            Sample {
                value: if s.value >= from {
                    s.value - from
                } else {
                    s.value
                },
                ..s.clone()
            }
        });
        Samples(since.collect())
    }
}

/// Parses a line such as `name{label="value",…} 1.5`. Labels and a timestamp are
/// optional.
fn line(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' ', '\t'])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([' ', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.trim().to_owned(), value));
            rest = after;
        }
    }
    let value = number(rest.split_ascii_whitespace().next()?)?;
    labels.sort();
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Returns a label's value up to its closing quote, and the text that follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP d Seconds.
# TYPE d histogram
d_bucket{kind="a",le="0.1"} 50
d_bucket{kind="a",le="1"} 99
d_bucket{kind="a",le="+Inf"} 100
d_bucket{kind="b",le="0.1"} 0
d_bucket{kind="b",le="1"} 0
d_bucket{kind="b",le="+Inf"} 0
d_sum{kind="a"} 7.5
plain 12
odd{a="x\"y\\z\n",b="}"} 1e3 1700000000000
nonsense
nonsense{a="b
"#;

    #[test]
    fn the_format_is_read() {
        let samples = Samples::parse(TEXT);
        assert_eq!(samples.sum("plain"), Some(12.0));
        assert_eq!(samples.sum("d_bucket"), Some(249.0));
        assert_eq!(samples.sum("nothing"), None);
        assert_eq!(
            samples.sum_where("odd", &[("a", "x\"y\\z\n"), ("b", "}")]),
            Some(1000.0)
        );
        assert_eq!(samples.sum_where("odd", &[("a", "x")]), None);
        assert_eq!(
            samples.by("d_bucket", "kind"),
            BTreeMap::from([("a".into(), 249.0), ("b".into(), 0.0)])
        );
        let (p99, count) = samples.quantile(0.99, "d").unwrap();
        assert_eq!((p99, count), (1.0, 100.0));
        assert_eq!(samples.quantile(0.99, "plain"), None);
        assert_eq!(samples.only("kind", &["b"]).sum("d_bucket"), Some(0.0));
        assert_eq!(samples.without("kind", "a").sum("d_bucket"), Some(0.0));
        assert_eq!(samples.without("kind", "a").sum("plain"), Some(12.0));
        assert_eq!(samples.above(0.1, "d"), 50.0);
        assert_eq!(samples.above(1.0, "d"), 1.0);
    }

    #[test]
    fn what_was_added_since_is_told() {
        let before = Samples::parse("c{k=\"a\"} 5\nc{k=\"b\"} 9\n");
        let now = Samples::parse("c{k=\"a\"} 7\nc{k=\"b\"} 1\nc{k=\"new\"} 3\n");
        assert_eq!(
            now.since(&before).by("c", "k"),
            BTreeMap::from([("a".into(), 2.0), ("b".into(), 1.0), ("new".into(), 3.0)])
        );
    }

    #[test]
    fn what_this_node_renders_is_understood() {
        let metrics = crate::web::metrics::Metrics::new().unwrap();
        metrics
            .node
            .dht_query_duration
            .with_label_values(&["provide"])
            .observe(3.0);
        metrics
            .node
            .connections_refused
            .with_label_values(&["P2P_MAX_CONNECTIONS"])
            .inc();
        let samples = Samples::parse(&metrics.render().unwrap());
        let (p99, count) = samples
            .quantile(0.99, "libp2p_dht_query_duration_seconds")
            .unwrap();
        assert_eq!(count, 1.0);
        assert!((p99 - 4.97).abs() < 1e-9, "{p99}");
        let refused = samples.by("p2p_connections_refused_total", "limit");
        assert_eq!(refused.get("P2P_MAX_CONNECTIONS"), Some(&1.0));
        assert!(samples.sum("process_resident_memory_bytes").unwrap() > 1e6);
    }
}
