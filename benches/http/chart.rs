//! Draws messages a second and CPU time a message as bars.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{report::Figures, servers::Kind};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 230.0;
const BAR: f64 = 16.0;
const LONGEST: f64 = WIDTH - LEFT - 90.0;

/// An SVG that fits a light and a dark page.
pub fn draw(medians: &BTreeMap<(usize, Kind), Figures>) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    group(&mut body, &mut y, "Messages a second", medians, |one| {
        one.per_second
    });
    y += 14.0;
    let title = "CPU time a message, in microseconds";
    group(&mut body, &mut y, title, medians, |one| one.cpu);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" \
         role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">Messages a second and CPU time a message, by server and connections</title>\n\
         <style>text {{ font: 13px sans-serif; fill: #24292f }} .name {{ text-anchor: end }} \
         .head {{ font-weight: bold }} .own {{ fill: #0969da }} .other {{ fill: #8c959f }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .own {{ fill: #58a6ff }} \
         .other {{ fill: #6e7681 }} }}</style>\n{body}</svg>\n"
    )
}

fn group(
    body: &mut String,
    y: &mut f64,
    title: &str,
    medians: &BTreeMap<(usize, Kind), Figures>,
    value: fn(&Figures) -> f64,
) {
    writeln!(
        body,
        "<text class=\"head\" x=\"8\" y=\"{y}\">{title}</text>"
    )
    .unwrap();
    *y += 12.0;
    let most = medians.values().map(value).fold(0.0, f64::max);
    for ((connections, kind), figures) in medians {
        let value = value(figures);
        let class = if *kind == Kind::Purgefront {
            "own"
        } else {
            "other"
        };
        let (name, base) = (kind.name(), *y + BAR - 3.0);
        let length = LONGEST * value / most;
        let end = LEFT + length + 6.0;
        writeln!(
            body,
            "<text class=\"name\" x=\"{:.0}\" y=\"{base:.0}\">{name}, {connections} connections</text>\
             <rect class=\"{class}\" x=\"{LEFT:.0}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{BAR:.0}\"/>\
             <text x=\"{end:.0}\" y=\"{base:.0}\">{value:.0}</text>",
            LEFT - 8.0
        )
        .unwrap();
        *y += BAR + 5.0;
    }
}
