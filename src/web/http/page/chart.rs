//! Draws lines over time as inline SVG, without any script, font or request.

use std::fmt::Write as _;

/// The maximum number of points that are drawn, which is more than can be told apart on a
/// phone's screen.
const POINTS: usize = 180;

/// The width of the drawing in its own units. The drawing is stretched to the available
/// space, but the strokes keep their width.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// One line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Its class in the style sheet: `a` or `b`.
    pub(super) class: &'static str,
    /// `(seconds before now, value)`, oldest first.
    pub(super) points: &'a [(f64, f64)],
}

/// Draws `lines` over the last `window` seconds. `top` is the value at the upper edge.
/// `name` describes the chart to people who cannot see it; it must be text of this
/// program without markup.
pub(super) fn svg(name: &str, window: f64, top: f64, lines: &[Line<'_>]) -> String {
    let mut out = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{name}\"><title>{name}</title>"
    );
    for part in 0..=2 {
        let y = HEIGHT * f64::from(part) / 2.0;
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y}\" y2=\"{y}\"/>"
        );
    }
    for line in lines {
        let path = path(line.points, window, top);
        if let Some((first, last)) = ends(line.points, window) {
            let class = line.class;
            let _ = write!(
                out,
                "<path class=\"area {class}\" d=\"{path}L{last:.1},{HEIGHT}L{first:.1},{HEIGHT}Z\"/>\
                 <path class=\"line {class}\" d=\"{path}\"/>"
            );
        }
    }
    out.push_str("</svg>");
    out
}

fn x(age: f64, window: f64) -> f64 {
    (WIDTH * (1.0 - age / window)).clamp(0.0, WIDTH)
}

fn ends(points: &[(f64, f64)], window: f64) -> Option<(f64, f64)> {
    let (first, last) = (points.first()?, points.last()?);
    Some((x(first.0, window), x(last.0, window)))
}

fn path(points: &[(f64, f64)], window: f64, top: f64) -> String {
    let mut out = String::new();
    let group = points.len().div_ceil(POINTS).max(1);
    for (n, chunk) in points.chunks(group).enumerate() {
        let count = chunk.len() as f64;
        let value = chunk.iter().map(|p| p.1).sum::<f64>() / count;
        // The line begins at its first point and ends at its last one.
        let age = match n {
            0 => chunk.first(),
            _ => chunk.last(),
        };
        let x = x(age.map_or(0.0, |p| p.0), window);
        let y = (HEIGHT * (1.0 - value / top)).clamp(0.0, HEIGHT);
        let _ = write!(out, "{}{x:.1},{y:.1}", if n == 0 { 'M' } else { 'L' });
    }
    out
}

/// Returns the next round number that is not smaller, for the upper edge of a chart.
pub(super) fn round_up(value: f64) -> f64 {
    if value <= 4.0 {
        return 4.0;
    }
    let scale = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * scale >= value);
    step.unwrap_or(10.0) * scale
}

/// Does the same as [`round_up`], in steps of binary units.
pub(super) fn round_up_bytes(value: f64) -> f64 {
    let unit = 1024f64.powf((value.max(1024.0).log2() / 10.0).floor());
    unit * round_up(value / unit).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_within_its_frame_and_has_a_bounded_length() {
        let points: Vec<(f64, f64)> = (0..720)
            .map(|n| (3600.0 - f64::from(n) * 5.0, f64::from(n % 50) * 1e12))
            .collect();
        let line = Line {
            class: "a",
            points: &points,
        };
        let svg = svg("Peers", 3600.0, 8.0, &[line]);
        assert!(svg.len() < 8192, "{}", svg.len());
        let d = svg.split("<path class=\"line a\" d=\"").nth(1).unwrap();
        let d = d.split('"').next().unwrap();
        for point in d.split(['M', 'L']).skip(1) {
            let (x, y) = point.split_once(',').unwrap();
            assert!((0.0..=WIDTH).contains(&x.parse().unwrap()), "{point}");
            assert!((0.0..=HEIGHT).contains(&y.parse().unwrap()), "{point}");
        }
        assert!(d.starts_with("M0.0,") && d.contains("L599.2,"), "{d}");
    }

    #[test]
    fn nothing_to_draw_is_an_empty_frame() {
        let line = Line {
            class: "a",
            points: &[],
        };
        let svg = svg("Peers", 120.0, 4.0, &[line]);
        assert!(!svg.contains("<path") && svg.contains("class=\"grid\""));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn edges_are_round() {
        for (value, edge) in [
            (0.0, 4.0),
            (5.0, 6.0),
            (9.0, 10.0),
            (41.0, 60.0),
            (400.0, 400.0),
        ] {
            assert_eq!(round_up(value), edge, "{value}");
        }
        for (value, edge) in [(0.0, 4096.0), (5000.0, 6144.0), (1.5e6, 4.0 * 1048576.0)] {
            assert_eq!(round_up_bytes(value), edge, "{value}");
        }
    }
}
