"""Curves over time as plain SVG: panels one below the other, each with its axis and unit. Readable on light and on dark.

Nothing but text comes out, so that a picture in the repository can be read, compared and made again.
"""

import dataclasses
import html
import math

WIDTH, PANEL_HEIGHT, GAP = 860, 150, 44
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 44, 46
TICKS = 4
POINTS_MAX = 600  # more than a screen shows would only make the file large

STYLE = """
  text { font: 12px system-ui, Helvetica, Arial, sans-serif; fill: #57606a }
  .title { font-size: 14px; fill: #24292f }
  .name { font-size: 13px; font-weight: 600; fill: #24292f }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .curve { fill: none; stroke: #0969da; stroke-width: 1.5; stroke-linejoin: round }
  .area { fill: #0969da; fill-opacity: .08; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #8b949e } .title, .name { fill: #e6edf3 } .grid { stroke: #30363d }
    .curve { stroke: #58a6ff } .area { fill: #58a6ff }
  }
"""


@dataclasses.dataclass
class Panel:
    """A curve: what it shows, its unit, and a value for each point of time."""

    name: str
    unit: str
    values: list


def step_for(most):
    """A round number, of which about TICKS cover the range."""
    if most <= 0:
        return 1
    rough = most / TICKS
    power = 10 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)


def number(value):
    return f"{value:,.10g}"


def thinned(times, values):
    """The highest value of each group of neighbours: peaks are what such a curve is looked at for."""
    group = math.ceil(len(times) / POINTS_MAX)
    return [(times[at], max(values[at:at + group])) for at in range(0, len(times), group)]


def draw(title, times, time_unit, panels):
    """The picture, as text. All curves begin at 0 on both axes."""
    height = TOP + len(panels) * (PANEL_HEIGHT + GAP) - GAP + BOTTOM
    end = max(times[-1], 1e-9)
    inner = WIDTH - LEFT - RIGHT
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
           f"<title>{html.escape(title)}</title>", f"<style>{STYLE}</style>",
           f'<text class="title" x="{LEFT}" y="18">{html.escape(title)}</text>']
    for index, panel in enumerate(panels):
        top = TOP + index * (PANEL_HEIGHT + GAP)
        out += draw_panel(panel, times, end, top, inner)
        if index == len(panels) - 1:
            out += draw_times(end, time_unit, top + PANEL_HEIGHT, inner)
    return "\n".join([*out, "</svg>", ""])


def draw_panel(panel, times, end, top, inner):
    step = step_for(max(panel.values))
    most = step * max(1, math.ceil(max(panel.values) / step))
    x = lambda time: f"{LEFT + inner * time / end:.1f}"
    y = lambda value: f"{top + PANEL_HEIGHT * (1 - value / most):.1f}"
    name = f"{panel.name}, {panel.unit}" if panel.unit else panel.name
    out = [f'<text class="name" x="{LEFT}" y="{top - 8}">{html.escape(name)}</text>']
    for tick in range(round(most / step) + 1):
        at = y(tick * step)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + inner}" y1="{at}" y2="{at}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{float(at) + 4:.1f}" text-anchor="end">{number(tick * step)}</text>')
    points = [f"{x(time)},{y(value)}" for time, value in thinned(times, panel.values)]
    bottom, (first, last) = y(0), (points[0].split(",")[0], points[-1].split(",")[0])
    out.append(f'<polygon class="area" points="{first},{bottom} {" ".join(points)} {last},{bottom}"/>')
    out.append(f'<polyline class="curve" points="{" ".join(points)}"/>')
    return out


def draw_times(end, unit, bottom, inner):
    step = step_for(end * TICKS / 8)
    out = []
    for tick in range(math.floor(end / step + 1e-9) + 1):
        at = LEFT + inner * tick * step / end
        out.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{number(tick * step)}</text>')
    out.append(f'<text x="{LEFT + inner / 2:.1f}" y="{bottom + 38}" text-anchor="middle">{html.escape(unit)}</text>')
    return out
