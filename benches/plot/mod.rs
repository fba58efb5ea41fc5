//! Line charts as SVG: as much of it as the benches need.

use std::fmt::Write as _;

/// One line: its name and its points.
pub type Series = (String, Vec<(f64, f64)>);

/// A chart over a logarithmic horizontal axis.
pub struct Chart<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    /// Whether the vertical axis is logarithmic too.
    pub is_log: bool,
    pub series: &'a [Series],
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Around the plot: left, right, above, below.
const MARGINS: [f64; 4] = [64.0, 150.0, 32.0, 44.0];
const COLOURS: [&str; 5] = ["#1b6ca8", "#d1495b", "#2e8b57", "#8d5a97", "#c77d0a"];

impl Chart<'_> {
    /// The chart as a file.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let range = |of: fn(&(f64, f64)) -> f64| {
            let values = || points().map(of);
            (
                values().fold(f64::MAX, f64::min),
                values().fold(f64::MIN, f64::max),
            )
        };
        let (x, y) = (range(|p| p.0), range(|p| p.1));
        let y = if self.is_log {
            (y.0.max(1e-3), y.1)
        } else {
            (0.0, y.1 * 1.05)
        };
        let place = |value: f64, (least, most): (f64, f64), is_log: bool| {
            let scale = |v: f64| if is_log { v.max(least).ln() } else { v };
            (scale(value) - scale(least)) / (scale(most) - scale(least)).max(1e-9)
        };
        let [left, right, above, below] = MARGINS;
        let at_x = |v| left + place(v, x, true) * (WIDTH - left - right);
        let at_y = |v| HEIGHT - below - place(v, y, self.is_log) * (HEIGHT - above - below);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        let mut add = |line: String| {
            svg.push_str(&line);
            svg.push('\n');
        };
        let text = |x: f64, y: f64, anchor: &str, text: &str| {
            format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>")
        };
        add(format!(
            "<text x=\"{left}\" y=\"18\" font-size=\"13\">{}</text>",
            self.title
        ));
        add(text(
            (left + WIDTH - right) / 2.0,
            HEIGHT - 8.0,
            "middle",
            self.x,
        ));
        add(format!(
            "<text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (above + HEIGHT - below) / 2.0,
            self.y
        ));
        for tick in ticks(y, self.is_log) {
            let y = at_y(tick);
            add(format!(
                "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>",
                WIDTH - right
            ));
            add(text(left - 6.0, y + 4.0, "end", &tick.to_string()));
        }
        for tick in ticks(x, true) {
            add(text(
                at_x(tick),
                HEIGHT - below + 16.0,
                "middle",
                &tick.to_string(),
            ));
        }
        for (i, (name, points)) in self.series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let mut path = String::new();
            for &(x, y) in points {
                let _ = write!(path, "{:.1},{:.1} ", at_x(x), at_y(y));
            }
            add(format!(
                "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            ));
            let y = above + 16.0 * i as f64 + 10.0;
            add(format!(
                "<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{name}</text>",
                WIDTH - right + 10.0
            ));
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Round numbers within a range.
fn ticks((least, most): (f64, f64), is_log: bool) -> Vec<f64> {
    let round = |v: f64| (v * 1e6).round() / 1e6;
    let power = |v: f64| 10f64.powf(v.log10().floor());
    if is_log {
        let powers = std::iter::successors(Some(power(least)), |p| {
            (p * 10.0 <= most).then_some(p * 10.0)
        });
        let all = powers.flat_map(|p| [p, 2.0 * p, 5.0 * p]);
        return all
            .map(round)
            .filter(|v| (least..=most).contains(v))
            .collect();
    }
    let step = [0.1, 0.2, 0.5, 1.0, 2.0].map(|part| part * power(most));
    let step = step
        .into_iter()
        .find(|step| most / step <= 6.0)
        .unwrap_or(most);
    (0..=(most / step) as usize)
        .map(|i| round(i as f64 * step))
        .collect()
}
