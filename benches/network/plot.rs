//! The figures over the size of the network, as one SVG: a panel for each question,
//! a line for each answer to it.

use std::fmt::Write as _;

use crate::report::{Row, short};

/// Where the y axis begins and how it goes on.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    /// From zero to the largest value.
    Linear,
    /// Powers of ten.
    Log,
    /// From this to 100.
    Percent(f64),
}

struct Panel {
    title: &'static str,
    scale: Scale,
    /// Scenario, measure, and what the line is called.
    lines: &'static [(&'static str, &'static str, &'static str)],
}

const PANELS: [Panel; 9] = [
    Panel {
        title: "gets that succeed, %",
        scale: Scale::Percent(50.0),
        lines: &[
            ("content", "get succeeds", "calm"),
            ("churn", "get succeeds", "churn"),
            ("kill", "get succeeds", "30% killed"),
            ("restart", "get succeeds", "all restarted"),
            ("partition", "get across succeeds", "after a partition"),
            ("orphan", "get succeeds", "no bootstrap nodes"),
        ],
    },
    Panel {
        title: "time of a get of 300 kB, ms",
        scale: Scale::Log,
        lines: &[
            ("content", "get, median", "median"),
            ("content", "get, p99", "p99"),
            ("churn", "get, median", "churn, median"),
            ("churn", "get, p99", "churn, p99"),
        ],
    },
    Panel {
        title: "messages delivered, %",
        scale: Scale::Percent(90.0),
        lines: &[
            ("gossip", "messages delivered", "calm"),
            ("churn", "messages delivered", "churn"),
        ],
    },
    Panel {
        title: "delay of a message, ms",
        scale: Scale::Log,
        lines: &[
            ("gossip", "delay of a message, median", "median"),
            ("gossip", "delay of a message, p99", "p99"),
            ("churn", "delay of a message, median", "churn, median"),
            ("churn", "delay of a message, p99", "churn, p99"),
        ],
    },
    Panel {
        title: "a lookup",
        scale: Scale::Linear,
        lines: &[
            ("lookup", "requests", "requests"),
            ("lookup", "hops", "hops"),
            ("lookup", "log2 of the nodes", "log2 of the nodes"),
        ],
    },
    Panel {
        title: "memory of an idle node, KiB",
        scale: Scale::Linear,
        lines: &[("quiet", "memory a node", "anonymous")],
    },
    Panel {
        title: "CPU of an idle node, ms a second",
        scale: Scale::Linear,
        lines: &[("quiet", "CPU a node and second", "all threads")],
    },
    Panel {
        title: "traffic of an idle node, B a second",
        scale: Scale::Linear,
        lines: &[("quiet", "bytes a node and second", "sent")],
    },
    Panel {
        title: "connections of an idle node",
        scale: Scale::Linear,
        lines: &[
            ("quiet", "peers of a node", "peers, mean"),
            ("quiet", "fewest peers of a node", "peers, fewest"),
            (
                "quiet",
                "handshakes a node and minute",
                "handshakes a minute",
            ),
        ],
    },
];

/// Colours that differ for those who do not see all of them, too.
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];

const COLUMNS: usize = 3;
const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 250.0;
/// Of the drawing within its panel.
const LEFT: f64 = 48.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 26.0;

/// Draws them.
pub(crate) fn draw(rows: &[Row]) -> String {
    let (w, h) = (
        WIDTH * COLUMNS as f64,
        HEIGHT * PANELS.len().div_ceil(COLUMNS) as f64,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{w}\" height=\"{h}\" fill=\"#fff\"/>\n"
    );
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.nodes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for (n, panel) in PANELS.iter().enumerate() {
        let (x, y) = ((n % COLUMNS) as f64 * WIDTH, (n / COLUMNS) as f64 * HEIGHT);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel.draw(&mut svg, rows, &sizes);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String, rows: &[Row], sizes: &[usize]) {
        let lines: Vec<(&str, Vec<(usize, f64)>)> = self
            .lines
            .iter()
            .map(|(scenario, measure, name)| {
                let of = |row: &&Row| row.scenario == *scenario && row.measure == *measure;
                let mut points: Vec<(usize, f64)> = rows
                    .iter()
                    .filter(of)
                    .map(|row| (row.nodes, row.value))
                    .collect();
                points.sort_by_key(|point| point.0);
                (*name, points)
            })
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{} (nodes across)</text>",
            self.title
        );
        let values = lines.iter().flat_map(|(_, points)| points).map(|p| p.1);
        let (low, high) = self.range(values);
        let across = |nodes: usize| {
            let log = |n: usize| (n as f64).log10();
            let (first, last) = (sizes.first().copied(), sizes.last().copied());
            let (first, last) = (log(first.unwrap_or(1)), log(last.unwrap_or(10)));
            let part = (log(nodes) - first) / (last - first).max(1e-9);
            LEFT + part * (WIDTH - LEFT - RIGHT)
        };
        let up = |value: f64| {
            let part = match self.scale {
                Scale::Log => (value.max(low).log10() - low.log10()) / (high.log10() - low.log10()),
                _ => (value.max(low) - low) / (high - low),
            };
            HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
        };
        for tick in self.ticks(low, high) {
            let y = up(tick);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 5.0,
                y + 4.0,
                short(tick).trim_end_matches(".00").trim_end_matches(".0")
            );
        }
        for size in sizes {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#444\">{size}</text>",
                across(*size),
                HEIGHT - BOTTOM + 15.0
            );
        }
        for (n, (name, points)) in lines.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let path: Vec<String> = points
                .iter()
                .map(|(nodes, value)| format!("{:.1} {:.1}", across(*nodes), up(*value)))
                .collect();
            let _ = writeln!(
                svg,
                "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join("L")
            );
            for (nodes, value) in points {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                    across(*nodes),
                    up(*value)
                );
            }
            // The names stand where lines rarely are: low where success is high.
            let rows_down = match self.scale {
                Scale::Percent(_) => HEIGHT - BOTTOM - 8.0 - 13.0 * (lines.len() - 1 - n) as f64,
                _ => TOP + 12.0 + 13.0 * n as f64,
            };
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{rows_down}\" fill=\"{colour}\" stroke=\"#fff\" \
                 stroke-width=\"3\" paint-order=\"stroke\">{name}</text>",
                LEFT + 6.0
            );
        }
    }

    fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let (mut low, mut high) = (f64::MAX, f64::MIN_POSITIVE);
        for value in values {
            (low, high) = (low.min(value), high.max(value));
        }
        match self.scale {
            // The names have their place above the lines.
            Scale::Linear => (0.0, high * 1.35),
            Scale::Percent(least) => (low.min(least), 100.0),
            Scale::Log => {
                let low = low.max(0.1).log10().floor();
                let high = (high.log10() + 0.5).ceil().max(low + 1.0);
                (10f64.powf(low), 10f64.powf(high))
            }
        }
    }

    fn ticks(&self, low: f64, high: f64) -> Vec<f64> {
        if self.scale == Scale::Log {
            let (from, to) = (low.log10() as i32, high.log10() as i32);
            return (from..=to).map(|power| 10f64.powi(power)).collect();
        }
        let rough = (high - low) / 5.0;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * unit)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }
}
