//! The report as one page of HTML with its charts in it: nothing is loaded, no script runs.

use super::meter::Figures;
use super::report::{Report, Sample};
use plotters::prelude::{
    ChartBuilder, IntoDrawingArea, LineSeries, PathElement, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};
use std::fmt::Write;

const SIZE: (u32, u32) = (900, 320);
/// One for each line of a chart, told apart by colour-blind readers, too.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:920px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse}td{padding:.15em 1.5em .15em 0;vertical-align:top}\
    svg{width:100%;height:auto}code{overflow-wrap:anywhere}";

/// A line of a chart.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// A chart, and what its axes mean.
struct Chart {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    lines: Vec<Line>,
}

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = format!("{} {} under load", escape(&report.product), escape(&report.version));
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n<table>\n"
    );
    // Writing to a text does not fail.
    for (name, value) in report.lines() {
        writeln!(html, "<tr><td>{name}</td><td>{}</td></tr>", escape(&value)).unwrap_or_default();
    }
    html += "</table>\n";
    for chart in charts(report) {
        writeln!(html, "<h2>{}</h2>\n{}", chart.title, chart.svg()).unwrap_or_default();
    }
    let options = serde_json::to_string(&report.options).unwrap_or_default();
    html += &format!("<h2>Options</h2>\n<p><code>{}</code></p>\n</body>\n</html>\n", escape(&options));
    html
}

fn charts(report: &Report) -> Vec<Chart> {
    let rates = |name, count: fn(&Sample) -> u64| {
        let zero = Sample::default();
        let before = std::iter::once(&zero).chain(&report.samples);
        // What is left behind the last whole interval is no rate.
        let is_whole =
            |before: &Sample, now: &Sample| now.seconds - before.seconds > report.options.interval / 2.0;
        let pairs = before.zip(&report.samples).filter(|(before, now)| is_whole(before, now));
        let points = pairs.map(|(before, now)| {
            (now.seconds, (count(now) - count(before)) as f64 / (now.seconds - before.seconds))
        });
        Line { name, points: points.collect() }
    };
    let latencies = |name, of: fn(&Sample) -> Option<Figures>, figure: fn(Figures) -> f64| {
        let points = report.samples.iter().filter_map(|sample| Some((sample.seconds, figure(of(sample)?))));
        Line { name, points: points.collect() }
    };
    let over_time = |title, of: fn(&Sample) -> Option<Figures>| Chart {
        title,
        x: "seconds",
        y: "ms",
        lines: vec![
            latencies("p50", of, |figures| figures.p50),
            latencies("p99", of, |figures| figures.p99),
            latencies("p99.9", of, |figures| figures.p999),
            latencies("most", of, |figures| figures.max),
        ],
    };
    let curve = |name, points: &[(f64, f64)]| Line { name, points: points.to_vec() };
    let all = [
        Chart {
            title: "Messages a second",
            x: "seconds",
            y: "messages a second",
            lines: vec![
                rates("published", |sample| sample.published),
                rates("confirmed", |sample| sample.confirmed),
                rates("received", |sample| sample.received),
            ],
        },
        over_time("Latency", |sample| sample.latency_ms),
        over_time("Time until confirmed", |sample| sample.confirm_latency_ms),
        Chart {
            title: "Latency by percentile",
            x: "nines (1: 90 %, 2: 99 %, 3: 99.9 %)",
            y: "ms",
            lines: vec![
                curve("received", &report.latency_curve),
                curve("confirmed", &report.confirm_latency_curve),
            ],
        },
    ];
    let shown = all.into_iter().map(|mut chart| {
        chart.lines.retain(|line| line.points.iter().any(|(_, y)| *y > 0.0));
        chart
    });
    shown.filter(|chart| !chart.lines.is_empty()).collect()
}

impl Chart {
    /// The chart as an element of the page.
    fn svg(&self) -> String {
        let mut svg = String::new();
        match self.draw(&mut svg) {
            Ok(()) => svg,
            Err(error) => format!("<p>This chart cannot be drawn: {}</p>", escape(&error.to_string())),
        }
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_min = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min).min(0.0);
        let x_max = points().map(|(x, _)| *x).fold(x_min + 0.1, f64::max);
        // Above the lines there is room for their names.
        let y_max = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max) * 1.4;
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(90)
            .build_cartesian_2d(x_min..x_max, 0.0..y_max)?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .x_desc(self.x)
            .y_desc(self.y)
            .y_label_formatter(&short)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let series = LineSeries::new(line.points.iter().copied(), colour);
            let drawn = chart.draw_series(series)?;
            drawn.label(line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour));
        }
        let labels = &mut chart.configure_series_labels();
        labels
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(WHITE)
            .draw()?;
        area.present()?;
        drop(chart);
        Ok(())
    }
}

/// A number as an axis has room for.
fn short(value: &f64) -> String {
    match *value {
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 10_000.0 => format!("{:.0} k", value / 1e3),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_lines_and_names_and_texts_are_escaped() {
        let points = vec![(0.0, 0.0), (1.0, 1_500_000.0)];
        let chart =
            Chart { title: "t", x: "seconds", y: "rate", lines: vec![Line { name: "published", points }] };
        let svg = chart.svg();
        assert!(svg.starts_with("<svg") && svg.contains("published") && svg.contains("polyline"), "{svg}");
        assert_eq!(escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
        let texts = [0.0, 0.25, 12.0, 15_000.0, 1_500_000.0].map(|value| short(&value));
        assert_eq!(texts, ["0", "0.25", "12", "15 k", "1.50 M"]);
    }
}
