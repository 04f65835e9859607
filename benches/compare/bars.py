"""Bars and curves as plain SVG, on a logarithmic scale where brokers are far apart. Readable on light and on dark."""

import html
import math

from plot import STYLE, number, step_for

WIDTH, LEFT, RIGHT = 860, 210, 90
BAR, GAP = 13, 10
COLOURS = ("#0969da", "#d1570a", "#1a7f37", "#8250df", "#bf3989", "#57606a", "#9a6700")


def opening(title, height):
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
            f"<title>{html.escape(title)}</title>", f"<style>{STYLE}</style>",
            f'<text class="title" x="10" y="18">{html.escape(title)}</text>']


def legend(names, y):
    """In as many lines as it needs; returns the last one's place, too."""
    out, x = [], 10
    for name, colour in zip(names, COLOURS):
        if x + 16 + 7 * len(name) > WIDTH:
            x, y = 10, y + 18
        out.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{colour}"/>')
        out.append(f'<text x="{x + 16}" y="{y}">{html.escape(name)}</text>')
        x += 34 + 7 * len(name)
    return out, y


def draw(title, brokers, rows):
    """Groups of bars, logarithmic: `rows` are (name, a value for each broker)."""
    values = [value for _, row in rows for value in row if value]
    most, least = max(values), min(values) / 2
    scale = (WIDTH - LEFT - RIGHT) / math.log10(most / least)
    group_height = BAR * len(brokers) + GAP
    names, bottom = legend(brokers, 38)
    top_of_all = bottom + 12
    out = opening(title, top_of_all + group_height * len(rows) + 10) + names
    for index, (name, row) in enumerate(rows):
        top = top_of_all + index * group_height
        out.append(f'<text x="{LEFT - 8}" y="{top + group_height / 2}" text-anchor="end">{html.escape(name)}</text>')
        for place, (value, colour) in enumerate(zip(row, COLOURS)):
            if value:
                length, y = scale * math.log10(value / least), top + place * BAR
                out.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{colour}"/>')
                out.append(f'<text x="{LEFT + length + 5:.1f}" y="{y + 10}">{shown(value)}</text>')
    return "\n".join([*out, "</svg>", ""])


def shown(value):
    digits = 2 - int(f"{value:e}".split("e")[1])
    return f"{round(value, digits):,.{max(0, digits)}f}"


def draw_curves(title, count, panels):
    """Seconds over messages: `panels` are (name, [(line's name, seconds at each tenth)])."""
    height, left, width = 220, 70, WIDTH - 70 - 40
    names, bottom = legend([name for name, _ in panels[0][1]], 38)
    out = opening(title, bottom + 12 + len(panels) * (height + 60)) + names
    for index, (panel, lines) in enumerate(panels):
        top = bottom + 34 + index * (height + 60)
        most = max(seconds[-1] for _, seconds in lines)
        step = step_for(most)
        most = step * math.ceil(most / step)
        out.append(f'<text class="name" x="{left}" y="{top - 6}">{panel}, seconds</text>')
        for tick in range(round(most / step) + 1):
            y = top + height * (1 - tick * step / most)
            out.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
            out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{number(tick * step)}</text>')
        for tenth in range(0, 11, 2):
            x = left + width * tenth / 10
            out.append(f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle">{count * tenth // 10:,}</text>')
        for (_, seconds), colour in zip(lines, COLOURS):
            points = [f"{left + width * (tenth + 1) / 10:.1f},{top + height * (1 - at / most):.1f}" for tenth, at in enumerate(seconds)]
            start = f"{left},{top + height}"
            out.append(f'<polyline points="{start} {" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    return "\n".join([*out, "</svg>", ""])
