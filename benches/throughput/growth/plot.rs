//! Log-log plots as SVG, in which linear growth rises by 45 degrees.
//!
//! Readable on white and on black.

use std::fmt::Write as _;

pub(super) struct Panel<'a> {
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) lines: Vec<Line<'a>>,
}

pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Width and height of a panel in units per power of ten.
const DECADE: f64 = 90.;
/// Range of sources: 1,000 to 100,000.
const FROM: f64 = 3.;
const DECADES: f64 = 2.;
/// Decades of the measured value.
const RISE: f64 = 4.;
const LEFT: f64 = 72.;
const TOP: f64 = 30.;
const WIDTH: f64 = LEFT + DECADES * DECADE + 28.;
const HEIGHT: f64 = TOP + RISE * DECADE + 34.;

const STYLE: &str = "text{font:11px sans-serif;fill:#1f2328}.title{font-weight:bold}.grid{stroke:#d0d7de}\
.line{fill:none;stroke-width:2}.a{stroke:#0969da}.b{stroke:#bc4c00;stroke-dasharray:7 3}\
.c{stroke:#1a7f37;stroke-dasharray:2 3}.even{stroke:#8c959f}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}.a{stroke:#58a6ff}.b{stroke:#f0883e}\
.c{stroke:#3fb950}.even{stroke:#6e7681}}";

/// Returns the slope of the best fit with both axes logarithmic.
///
/// 1 is linear growth.
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.log10(), y.max(1e-3).log10())).collect();
    let count = logs.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let together = mean(&|point| (point.0 - x) * (point.1 - y));
    together / mean(&|point| (point.0 - x).powi(2))
}

pub(super) fn svg(panels: &[Panel<'_>]) -> String {
    let (width, height) = (WIDTH * panels.len() as f64, HEIGHT + 24.);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>Growth with the number of sources, both axes logarithmic</title>\n<style>{STYLE}</style>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", WIDTH * n as f64);
        draw(&mut svg, panel);
        svg.push_str("</g>\n");
    }
    let names = panels.first().map(|panel| &panel.lines[..]).unwrap_or_default();
    let even = [("even growth", "even")];
    let known = names.iter().map(|line| line.name).zip(["a", "b", "c"]);
    for (n, (name, class)) in known.chain(even).enumerate() {
        let (x, y) = (LEFT + 250. * n as f64, HEIGHT + 8.);
        let _ = writeln!(
            svg,
            "<path class=\"line {class}\" d=\"M{x} {y}h28\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            x + 34.,
            y + 4.
        );
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, panel: &Panel<'_>) {
    let all = || panel.lines.iter().flat_map(|line| &line.points);
    let least = all().map(|point| point.1).fold(f64::INFINITY, f64::min).max(1e-3).log10();
    let most = all().map(|point| point.1).fold(0., f64::max).max(1e-3).log10();
    // Centres the lines vertically.
    let bottom = ((least + most - RISE) / 2.).round();
    let x = |sources: f64| LEFT + (sources.log10() - FROM) * DECADE;
    let y = |value: f64| TOP + (RISE - (value.max(1e-3).log10() - bottom)) * DECADE;
    let (right, floor) = (LEFT + DECADES * DECADE, TOP + RISE * DECADE);
    let _ = writeln!(svg, "<text class=\"title\" x=\"{LEFT}\" y=\"18\">{}</text>", panel.title);
    for power in 0..=RISE as i32 {
        let value = 10_f64.powf(bottom + f64::from(power));
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {0}H{right}\"/><text x=\"{1}\" y=\"{2}\" text-anchor=\"end\">{value} {3}</text>",
            y(value),
            LEFT - 5.,
            y(value) + 4.,
            panel.unit
        );
    }
    for (sources, text) in [(1e3, "1,000"), (1e4, "10,000"), (1e5, "100,000")] {
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{0} {TOP}V{floor}\"/><text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\">{text}</text>",
            x(sources),
            floor + 16.
        );
    }
    // Linear growth, from the beginning of the first line to the edge of the panel.
    if let Some((first, value)) = panel.lines.first().and_then(|line| line.points.first()) {
        let times = (1e5 / first).min(10_f64.powf(bottom + RISE) / value);
        let _ = writeln!(
            svg,
            "<path class=\"line even\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>",
            x(*first),
            y(*value),
            x(first * times),
            y(value * times)
        );
    }
    for (line, class) in panel.lines.iter().zip(["a", "b", "c"]) {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(sources, value)| format!("{:.1} {:.1}", x(*sources), y(*value)))
            .collect();
        let _ = writeln!(svg, "<path class=\"line {class}\" d=\"M{}\"/>", points.join("L"));
    }
}
